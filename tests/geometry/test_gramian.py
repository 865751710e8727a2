"""The Gram engine against one plain backward pass per objective and unit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from geometry import (
    BASIS,
    Cotangents,
    DenseGradients,
    FourViews,
    Gramian,
    ProbedResponse,
    adam_metric,
    cotangents,
    total,
    unit_gradients,
)
from geometry.gramian.backward import IMAGE, TEXT
from geometry.gramian.engine import Way
from tests.geometry.problems import ModuleStudent, TinyStudent, normal, response_of, tensor

Student = TinyStudent | ModuleStudent
TOKENS = torch.eye(5, dtype=torch.float64)
WHOLE = torch.full((1, 5), 0.2, dtype=torch.float64)
MIXED = torch.tensor([[0.5, 0.0, -2.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]).double()

AUTOGRAD = {"autograd": {"way": "autograd"}, "looped": {"way": "autograd", "batched": False}}
WAYS = {"walk": {"way": "walk"}, **AUTOGRAD}


def plain_gradient(student: Student, objective: str, weights: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """One forward and one backward for one objective: its gradient `[n]` over the parameters."""
    logits = student.text_logits() if objective in TEXT else student.image_logits()
    loss = (weights.unsqueeze(-1) * getattr(student.cotangents(), objective) * logits).sum()
    grads = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in grads])


def plain_grams(student: Student, weights: Tensor) -> dict[str, Tensor]:
    """Every Gram matrix from four dense gradients a unit."""
    grams = {}
    for name, members in student.groups().items():
        units = [torch.stack([plain_gradient(student, k, row, members) for k in BASIS]) for row in weights]
        grams[name] = torch.stack([rows @ rows.T for rows in units])
    return grams


def grams_of(student: Student, weights: Tensor, **options: int | bool | str) -> dict[str, Tensor]:
    engine = Gramian(student, student.groups(), **options)
    return {name: tensor(gram) for name, gram in engine.units(response_of(student), weights).items()}


def summed(grams: dict[str, Tensor]) -> Tensor:
    """The Gram matrices over all groups."""
    return torch.stack(list(grams.values())).sum(0)


@pytest.mark.parametrize("weights", [TOKENS[:1], TOKENS, WHOLE, MIXED], ids=["token", "tokens", "all", "mixed"])
@pytest.mark.parametrize("chunk", [1, 2, 4, 100])
@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_equals_plain_autograd(weights: Tensor, chunk: int, options: dict) -> None:
    student = TinyStudent()
    expected = plain_grams(student, weights)
    grams = grams_of(student, weights, chunk=chunk, **options)
    assert list(grams) == list(expected)
    for name, gram in grams.items():
        torch.testing.assert_close(gram, expected[name], rtol=1e-11, atol=1e-11, msg=name)


def test_whole_model_is_the_sum_over_groups() -> None:
    student = TinyStudent()
    everything = list(student.parameters())
    rows = torch.stack([plain_gradient(student, k, WHOLE[0], everything) for k in BASIS])
    grams = grams_of(student, WHOLE)
    torch.testing.assert_close(summed(grams)[0], rows @ rows.T)
    found = Gramian(student, student.groups()).units(response_of(student), WHOLE)
    torch.testing.assert_close(tensor(total(found)), summed(grams))
    torch.testing.assert_close(tensor(total(found, ["layer", "head"])), grams["layer"] + grams["head"])


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
    student = TinyStudent()
    vision = Gramian(student, student.groups()).units(response_of(student), TOKENS)["vision"]
    assert all((vision.norm(name) == 0).all() for name in ("language", "shift"))
    assert all((vision.norm(name) > 0).all() for name in ("standard", *IMAGE))
    assert np.isnan(vision.angle_deg("language", "visual")).all()


@pytest.mark.parametrize(("way", "runs"), [("autograd", [1, 5]), ("walk", [2, 1, 2, 5])])
def test_equal_views_run_once_and_leave_no_visual_gradient(way: Way, runs: list[int]) -> None:
    """To look at the graph, and to compare the first and the last token on both ways; then once in earnest."""
    student, calls = TinyStudent(), []

    def logits(positions: Tensor) -> Tensor:
        calls.append(len(positions))
        return student.text_logits(positions)

    teacher = student.teacher()[1]
    view = student.text_logits()
    engine = Gramian(student, student.groups(), way=way)
    cots = cotangents(FourViews(view, view, teacher, teacher))
    gram = total(engine.units(ProbedResponse(logits, logits, cots, torch.arange(5)), TOKENS))
    assert calls == runs
    assert all((gram.norm(name) == 0).all() for name in ("visual", "shift"))
    np.testing.assert_allclose(gram.angle_deg("standard", "language"), 0, atol=1e-5)


def test_float32_gradients_are_multiplied_in_float64() -> None:
    """Against float64 products of the same float32 gradients; a float32 product would be off."""
    weight = nn.Parameter(normal(1 << 20).float())
    signs = normal(3, 1 << 20, seed=1).float()

    def logits(positions: Tensor) -> Tensor:
        return (weight * signs).sum(-1, keepdim=True).T * torch.ones(1, 3)

    one = torch.tensor([[1.0, 0.0, 0.0]])
    cots = Cotangents(standard=one, language=one, visual=one, prior=0 * one, shift=0 * one)
    model = nn.ParameterList([weight])
    response = ProbedResponse(logits, logits, cots, torch.arange(1))
    gram = Gramian(model, {"all": [weight]}).units(response, torch.ones(1, 1))["all"]
    assert gram.product("standard", "language")[0] == pytest.approx(signs[0].double().square().sum().item(), rel=1e-11)


def test_some_positions_are_as_those_of_the_whole_response() -> None:
    student, kept = TinyStudent(), torch.tensor([1, 2, 4])
    whole = response_of(student)
    some = replace(whole, cotangents=whole.cotangents.at(kept), positions=kept)
    weights = torch.eye(3, dtype=torch.float64)
    grams = Gramian(student, student.groups()).units(some, weights)
    for name, gram in grams_of(student, TOKENS[kept]).items():
        torch.testing.assert_close(tensor(grams[name]), gram, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("apart", [1e-2, 1e-4, 1e-6])
def test_standard_is_right_where_visual_and_prior_cancel(apart: float) -> None:
    """A teacher that nearly is the student leaves visual = -prior, and of their sum in float32 nothing but rounding."""
    student = near_its_teacher(apart)
    exact = torch.stack([plain_gradient(student, "standard", row, [student.tied]) for row in TOKENS]).norm(dim=1)
    response = response_of(student)
    student.float()
    student.picture = student.picture.float()
    gram = Gramian(student, {"head": [student.tied]}).units(response, TOKENS)["head"]
    np.testing.assert_allclose(gram.norm("standard"), exact, rtol=1e-3)
    dense = unit_gradients(response, TOKENS.float(), {"head": [student.tied]})
    added = DenseGradients({"head": [student.tied]})
    added.add(dense)
    lengths = added.grams()["head"].norm("standard")
    resolved = ~np.isnan(lengths)
    np.testing.assert_allclose(lengths[resolved], exact[resolved], rtol=0.05)
    assert resolved.all() if apart > 1e-3 else not resolved.any() or apart > 1e-5


def test_a_teacher_that_is_the_student_leaves_no_standard_gradient_and_no_angle() -> None:
    student = near_its_teacher(0.0)
    gram = total(Gramian(student, student.groups()).units(response_of(student), TOKENS))
    assert (gram.norm("standard") == 0).all() and (gram.norm("language") == 0).all()
    assert np.isnan(gram.angle_deg("standard", "visual")).all()


def near_its_teacher(apart: float) -> TinyStudent:
    """A student whose teacher differs from it by a perturbation of the image view, and more without the picture."""
    student = TinyStudent()
    with torch.no_grad():
        image, text = student.image_logits(), student.text_logits()
    far = text if apart == 0.0 else text + normal(*text.shape, seed=8)
    student.teacher = lambda: [image + apart * normal(*image.shape, seed=7), far]
    return student


def test_grads_of_the_module_are_left_alone_and_no_grad_does_not_matter() -> None:
    student = TinyStudent()
    with torch.no_grad():
        inside = grams_of(student, WHOLE)
    assert all(parameter.grad is None for parameter in student.parameters())
    assert torch.equal(summed(inside), summed(grams_of(student, WHOLE)))


def test_refusals() -> None:
    student = TinyStudent()
    response = response_of(student)
    with pytest.raises(ValueError, match="`groups` must hold a parameter once, .* in 'a' and in 'b'"):
        Gramian(student, {"a": [student.tied], "b": [student.mix, student.tied]})
    with pytest.raises(ValueError, match="`groups` must hold at least one parameter"):
        Gramian(student, {"a": []})
    with pytest.raises(ValueError, match="`chunk` must be at least 1 unit, got 0"):
        Gramian(student, student.groups(), chunk=0)
    engine = Gramian(student, student.groups())
    with pytest.raises(ValueError, match=r"`weights` must have one for each probed position, got 4 and 5 positions"):
        engine.units(response, WHOLE[:, :4])
    with pytest.raises(ValueError, match="`text_logits` must return logits with a graph"):
        engine.units(replace(response, text_logits=lambda at: student.text_logits(at).detach()), WHOLE)
    with pytest.raises(ValueError, match=r"`image_logits` must return logits .* got \(4, 6\) for \(5, 6\)"):
        engine.units(replace(response, image_logits=lambda at: student.image_logits(at)[:4]), WHOLE)
    with pytest.raises(ValueError, match="`names` must be groups among"):
        total(engine.units(response, WHOLE), ["tower"])
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
@pytest.mark.parametrize("options", [{}, {"chunk": 2}, *AUTOGRAD.values()], ids=["walk", "walk-two", *AUTOGRAD])
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
    assert student.shared.weight in engine.watched.modules.parameters
    engine.units(response_of(student), TOKENS)
    rest = set(engine.watched.modules.rest)
    assert student.shared.weight in rest
    known = {student.embedding.weight, student.patches.weight, student.place.weight, student.twice.weight}
    assert known <= engine.watched.modules.parameters
    assert {student.blur.weight, student.doubled.weight, student.norm.weight} <= rest
    assert engine.unreached() == ["unused.weight", "unused.bias"]


@pytest.mark.parametrize("chosen", [["twice"], ["patches"], ["norm", "head"], ["embedding", "shared"]])
def test_some_groups_alone(chosen: list[str]) -> None:
    student = ModuleStudent(tied=False)
    groups = {name: student.groups()[name] for name in chosen}
    expected = plain_grams(student, TOKENS)
    engine = Gramian(student, groups)
    grams = engine.units(response_of(student), TOKENS)
    for name in chosen:
        torch.testing.assert_close(tensor(grams[name]), expected[name], rtol=1e-11, atol=1e-12)
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_float32_within_a_hundred_thousandth() -> None:
    student = ModuleStudent()
    exact = summed(plain_grams(student, TOKENS))
    response = response_of(student)
    student.float()
    student.pictures = student.pictures.float()
    engine = Gramian(student, student.groups())
    gram = tensor(total(engine.units(response, TOKENS)))
    lengths = exact.diagonal(dim1=-2, dim2=-1).sqrt()
    assert ((gram - exact).abs() / (lengths[:, :, None] * lengths[:, None, :])).max() < 1e-5


def test_in_the_metric_of_adam() -> None:
    student = ModuleStudent()
    moments = {p: normal(*p.shape, seed=9).square() for p in student.parameters()}
    metric = adam_metric(moments, eps=0.1)
    engine = Gramian(student, student.groups(), metric=metric)
    grams = engine.units(response_of(student), MIXED)
    for name, members in student.groups().items():
        scale = torch.cat([1 / (moments[p].sqrt() + 0.1).flatten() for p in members])
        for unit, weights in enumerate(MIXED):
            rows = torch.stack([plain_gradient(student, k, weights, members) for k in BASIS])
            torch.testing.assert_close(tensor(grams[name])[unit], (rows * scale) @ rows.T, rtol=1e-11, atol=1e-12)
    with pytest.raises(ValueError, match=r"`metric` must have the shape of every parameter, got None for \(4, 4\)"):
        Gramian(student, {"a": [student.twice.weight]}, metric={})
