"""The Gram engine against one plain backward pass per objective and unit."""

import pytest
import torch
from torch import Tensor, nn

from geometry import (
    IMAGE_VIEW,
    OBJECTIVES,
    Cotangents,
    Gramian,
    adam_metric,
    angles_deg,
    cotangents,
    five_from_four,
    norms,
    total,
)
from tests.geometry.problems import ModuleStudent, TinyStudent, normal

Student = TinyStudent | ModuleStudent
TOKENS = torch.eye(5, dtype=torch.float64)
WHOLE = torch.full((1, 5), 0.2, dtype=torch.float64)
MIXED = torch.tensor([[0.5, 0.0, -2.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]).double()


def plain_gradient(student: Student, objective: str, weights: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """One forward and one backward for one objective: its gradient `[n]` over the parameters."""
    logits = student.image_logits() if objective in IMAGE_VIEW else student.text_logits()
    loss = (weights.unsqueeze(-1) * getattr(student.cotangents(), objective) * logits).sum()
    grads = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in grads])


def plain_grams(student: Student, weights: Tensor) -> dict[str, Tensor]:
    """Every Gram matrix from five dense gradients a unit."""
    grams = {}
    for name, members in student.groups().items():
        units = [torch.stack([plain_gradient(student, k, row, members) for k in OBJECTIVES]) for row in weights]
        grams[name] = torch.stack([rows @ rows.T for rows in units])
    return grams


def grams_of(student: Student, weights: Tensor, **options: int | bool) -> dict[str, Tensor]:
    engine = Gramian(student, student.groups(), **options)
    return engine.units(student.image_logits, student.text_logits, student.cotangents(), weights)


@pytest.mark.parametrize("weights", [TOKENS[:1], TOKENS, WHOLE, MIXED], ids=["token", "tokens", "all", "mixed"])
@pytest.mark.parametrize("chunk", [1, 2, 4, 100])
@pytest.mark.parametrize("batched", [True, False], ids=["batched", "looped"])
def test_equals_plain_autograd(weights: Tensor, chunk: int, batched: bool) -> None:
    student = TinyStudent()
    expected = plain_grams(student, weights)
    grams = grams_of(student, weights, chunk=chunk, batched=batched)
    assert list(grams) == list(expected)
    for name, gram in grams.items():
        torch.testing.assert_close(gram, expected[name], rtol=1e-11, atol=1e-11, msg=name)


def test_whole_model_is_the_sum_over_groups() -> None:
    student = TinyStudent()
    everything = list(student.parameters())
    rows = torch.stack([plain_gradient(student, k, WHOLE[0], everything) for k in OBJECTIVES])
    grams = grams_of(student, WHOLE)
    torch.testing.assert_close(total(grams)[0], rows @ rows.T)
    torch.testing.assert_close(total(grams, ["layer", "head"]), grams["layer"] + grams["head"])


def test_attached_visual_gradient_is_autograd_through_the_target() -> None:
    student = TinyStudent()
    q_image, q_text = (view.log_softmax(-1) for view in student.teacher())
    p_image, p_text = student.image_logits().log_softmax(-1), student.text_logits().log_softmax(-1)
    target = (p_text + q_image - q_text).log_softmax(-1)
    loss = (p_image.exp() * (p_image - target)).sum(-1).mean()
    through = torch.autograd.grad(loss, student.tied)[0].flatten()
    visual, shift = (plain_gradient(student, k, WHOLE[0], [student.tied]) for k in ("visual", "shift"))
    torch.testing.assert_close(visual + shift, through, rtol=0, atol=1e-12)


def test_parameters_that_a_view_does_not_reach_have_gradient_zero() -> None:
    vision = grams_of(TinyStudent(), TOKENS)["vision"]
    assert (norms(vision)[:, [1, 4]] == 0).all() and (norms(vision)[:, [0, 2, 3]] > 0).all()
    assert angles_deg(vision)[:, 1].isnan().all()


def test_equal_views_run_once_and_leave_no_visual_gradient() -> None:
    student, calls = TinyStudent(), []

    def logits(positions: Tensor) -> Tensor:
        calls.append(len(positions))
        return student.text_logits(positions)

    teacher = student.teacher()[1]
    view = student.text_logits()
    engine = Gramian(student, student.groups())
    gram = total(engine.units(logits, logits, cotangents(view, view, teacher, teacher), TOKENS))
    assert calls == [5, 5]  # once to look at the graph, once in earnest
    assert (norms(gram)[:, [2, 4]] == 0).all()
    torch.testing.assert_close(angles_deg(gram)[:, 0, 1], torch.zeros(5).double(), rtol=0, atol=1e-5)


def test_float32_gradients_are_multiplied_in_float64() -> None:
    """Against float64 products of the same float32 gradients; a float32 product would be off."""
    weight = nn.Parameter(normal(1 << 20).float())
    signs = normal(3, 1 << 20, seed=1).float()

    def logits(positions: Tensor) -> Tensor:
        return (weight * signs).sum(-1, keepdim=True).T * torch.ones(1, 3)

    one = torch.tensor([[1.0, 0.0, 0.0]])
    cots = Cotangents(standard=one, language=one, visual=one, prior=0 * one, shift=0 * one)
    model = nn.ParameterList([weight])
    gram = Gramian(model, {"all": [weight]}).units(logits, logits, cots, torch.ones(1, 1))["all"]
    assert gram[0, 0, 1].item() == pytest.approx(signs[0].double().square().sum().item(), rel=1e-11)


def test_mapping_from_four_to_five_is_that_of_the_vectors() -> None:
    visual, prior, language, shift = four = normal(4, 9)
    five = torch.stack([visual + prior, language, visual, prior, shift])
    torch.testing.assert_close(five_from_four(four @ four.T), five @ five.T)


def test_grads_of_the_module_are_left_alone_and_no_grad_does_not_matter() -> None:
    student = TinyStudent()
    with torch.no_grad():
        inside = grams_of(student, WHOLE)
    assert all(parameter.grad is None for parameter in student.parameters())
    assert torch.equal(total(inside), total(grams_of(student, WHOLE)))


def test_refusals() -> None:
    student = TinyStudent()
    views = student.image_logits, student.text_logits
    cots = student.cotangents()
    with pytest.raises(ValueError, match="`groups` must hold a parameter once, .* in 'a' and in 'b'"):
        Gramian(student, {"a": [student.tied], "b": [student.mix, student.tied]})
    with pytest.raises(ValueError, match="`groups` must hold at least one parameter"):
        Gramian(student, {"a": []})
    with pytest.raises(ValueError, match="`chunk` must be at least 1 unit, got 0"):
        Gramian(student, student.groups(), chunk=0)
    engine = Gramian(student, student.groups())
    with pytest.raises(ValueError, match=r"`weights` must have one a token, got 4 and 5 tokens"):
        engine.units(*views, cots, WHOLE[:, :4])
    with pytest.raises(ValueError, match="`text_logits` must return logits with a graph"):
        engine.units(views[0], lambda positions: views[1](positions).detach(), cots, WHOLE)
    with pytest.raises(ValueError, match=r"`image_logits` must return logits .* got \(4, 6\) for \(5, 6\)"):
        engine.units(lambda positions: views[0](positions)[:4], views[1], cots, WHOLE)
    with pytest.raises(ValueError, match="`names` must be groups among"):
        total(grams_of(student, WHOLE), ["tower"])
    student.bias.requires_grad_(False)
    with pytest.raises(ValueError, match=r"`groups` must hold trainable parameters, .* in 'layer'"):
        Gramian(student, student.groups())


MODULES = {
    "tied": {},
    "untied": {"tied": False},
    "no-bias": {"bias": False},
    "one-picture": {"n_pictures": 1},
    "no-picture": {"n_pictures": 0},
}


@pytest.mark.parametrize("weights", [TOKENS[:1], TOKENS, WHOLE, MIXED], ids=["token", "tokens", "all", "mixed"])
@pytest.mark.parametrize("built", MODULES.values(), ids=MODULES)
@pytest.mark.parametrize("options", [{}, {"chunk": 2}, {"chunk": 3, "batched": False}], ids=["auto", "two", "looped"])
def test_modules_equal_plain_autograd(built: dict, weights: Tensor, options: dict) -> None:
    student = ModuleStudent(**built)
    expected = plain_grams(student, weights)
    grams = grams_of(student, weights, **options)
    assert list(grams) == list(expected)
    for name, gram in grams.items():
        torch.testing.assert_close(gram, expected[name], rtol=1e-11, atol=1e-12, msg=name)


def test_weights_used_without_their_module_are_found() -> None:
    student = ModuleStudent()
    engine = Gramian(student, student.groups())
    assert student.shared.weight in engine.capture.known
    engine.units(student.image_logits, student.text_logits, student.cotangents(), TOKENS)
    rest = set(engine.capture.rest)
    assert student.shared.weight in rest
    known = {student.embedding.weight, student.patches.weight, student.place.weight, student.twice.weight}
    assert known <= engine.capture.known
    assert {student.blur.weight, student.doubled.weight, student.norm.weight} <= rest
    assert engine.unreached() == ["unused.weight", "unused.bias"]


@pytest.mark.parametrize("chosen", [["twice"], ["patches"], ["norm", "head"], ["embedding", "shared"]])
def test_some_groups_alone(chosen: list[str]) -> None:
    student = ModuleStudent(tied=False)
    groups = {name: student.groups()[name] for name in chosen}
    expected = plain_grams(student, TOKENS)
    engine = Gramian(student, groups)
    grams = engine.units(student.image_logits, student.text_logits, student.cotangents(), TOKENS)
    for name in chosen:
        torch.testing.assert_close(grams[name], expected[name], rtol=1e-11, atol=1e-12)
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_float32_within_a_hundred_thousandth() -> None:
    student = ModuleStudent()
    exact = total(plain_grams(student, TOKENS))
    cots = student.cotangents()
    student.float()
    student.pictures = student.pictures.float()
    engine = Gramian(student, student.groups())
    gram = total(engine.units(student.image_logits, student.text_logits, cots, TOKENS))
    lengths = exact.diagonal(dim1=-2, dim2=-1).sqrt()
    assert ((gram - exact).abs() / (lengths[:, :, None] * lengths[:, None, :])).max() < 1e-5


def test_in_the_metric_of_adam() -> None:
    student = ModuleStudent()
    moments = {p: normal(*p.shape, seed=9).square() for p in student.parameters()}
    metric = adam_metric(moments, eps=0.1)
    engine = Gramian(student, student.groups(), metric=metric)
    grams = engine.units(student.image_logits, student.text_logits, student.cotangents(), MIXED)
    for name, members in student.groups().items():
        scale = torch.cat([1 / (moments[p].sqrt() + 0.1).flatten() for p in members])
        for unit, weights in enumerate(MIXED):
            rows = torch.stack([plain_gradient(student, k, weights, members) for k in OBJECTIVES])
            torch.testing.assert_close(grams[name][unit], (rows * scale) @ rows.T, rtol=1e-11, atol=1e-12)
    with pytest.raises(ValueError, match=r"`metric` must have the shape of every parameter, got None for \(4, 4\)"):
        Gramian(student, {"a": [student.twice.weight]}, metric={})
