"""First-order changes: against finite differences in float64, and the identities that hold between them."""

import pytest
import torch
from torch import nn

from geometry import FourViews, cotangents, decompose, push_forward, sensitivity
from tests.geometry.problems import ModuleStudent, TinyStudent, four_views, normal

LOSSES = ("standard", "language", "visual", "visual_held", "student_vds")


def random_direction(student, seed=11):
    """Draw one number for each entry of each parameter."""
    parameters = list(student.parameters())
    return {p: normal(*p.shape, seed=seed + number) for number, p in enumerate(parameters)}


def pushed(student, direction):
    """Return the logits of both views and their tangents."""
    return push_forward(student, lambda: (student.image_logits(), student.text_logits()), direction)


def along(student, direction):
    """Return the sensitivity of a tiny student under its teacher."""
    (image, text), (image_tangent, text_tangent) = pushed(student, direction)
    return sensitivity(FourViews(image, text, *student.teacher()), image_tangent, text_tangent)


def losses_at(student, teacher, direction, step, held):
    """Return the five losses with the weights moved by `step`; `held`: the text view that q* is made of."""
    with torch.no_grad():
        for parameter, vector in direction.items():
            parameter.add_(vector, alpha=step)
        image, text = student.image_logits(), student.text_logits()
        for parameter, vector in direction.items():
            parameter.sub_(vector, alpha=step)
    parts = decompose(FourViews(image, text, *teacher))
    still = decompose(FourViews(image, held, *teacher)).visual
    return torch.stack([parts.standard, parts.language, parts.visual, still, parts.student_vds])


def test_equals_finite_differences():
    student = TinyStudent()
    direction, teacher, held = random_direction(student), student.teacher(), student.text_logits().detach()
    found = along(student, direction)
    step = 1e-5
    ends = [losses_at(student, teacher, direction, sign * step, held) for sign in (1, -1)]
    twin = (ends[0] - ends[1]) / (2 * step)
    ours = torch.stack([getattr(found, name) for name in LOSSES])
    torch.testing.assert_close(ours, twin, rtol=1e-6, atol=1e-8)
    assert (ours.abs() > 1e-3).all()


@pytest.mark.parametrize("student", [TinyStudent(), ModuleStudent()], ids=["tiny", "modules"])
def test_tangents_equal_finite_differences_of_the_logits(student):
    """Tied weights, modules that are called twice, and parameters that no view reaches included."""
    direction = random_direction(student)
    _, tangents = pushed(student, direction)
    ends = []
    for step in (1e-6, -1e-6):
        with torch.no_grad():
            for parameter, vector in direction.items():
                parameter.add_(vector, alpha=step)
            ends.append((student.image_logits(), student.text_logits()))
            for parameter, vector in direction.items():
                parameter.sub_(vector, alpha=step)
    for tangent, up, down in zip(tangents, *ends, strict=True):
        torch.testing.assert_close(tangent, (up - down) / 2e-6, rtol=1e-5, atol=1e-6)


def test_is_the_product_of_cotangent_and_tangent_and_total_less_held_is_the_shift():
    views, tangents = four_views(), (normal(5, 7, seed=8), normal(5, 7, seed=9))
    found, cots = sensitivity(FourViews(*views), *tangents), cotangents(FourViews(*views))
    torch.testing.assert_close(found.standard, (cots.standard * tangents[0]).sum(-1))
    torch.testing.assert_close(found.language, (cots.language * tangents[1]).sum(-1))
    torch.testing.assert_close(found.visual - found.visual_held, (cots.shift * tangents[1]).sum(-1))
    prior = (cots.prior * tangents[0]).sum(-1)
    torch.testing.assert_close(found.standard, found.visual_held + prior)


def test_is_the_product_with_the_gradient():
    """The sum over tokens is the inner product of the direction and autograd's gradient of that loss."""
    student = TinyStudent()
    direction = random_direction(student)
    found = along(student, direction)
    parts = decompose(FourViews(student.image_logits(), student.text_logits(), *student.teacher()))
    for name in ("standard", "language", "visual", "student_vds"):
        loss = getattr(parts, name).sum()
        gradients = torch.autograd.grad(loss, list(direction), retain_graph=True, allow_unused=True)
        pairs = zip(gradients, direction.values(), strict=True)
        product = sum((g * d).sum() for g, d in pairs if g is not None)
        torch.testing.assert_close(getattr(found, name).sum(), product)


def test_is_linear_in_the_direction():
    student = TinyStudent()
    first, second = random_direction(student, 11), random_direction(student, 30)
    joined = {p: 2.0 * first[p] - 0.5 * second[p] for p in first}
    for name in LOSSES:
        expected = 2.0 * getattr(along(student, first), name) - 0.5 * getattr(along(student, second), name)
        torch.testing.assert_close(getattr(along(student, joined), name), expected)


def test_parameters_that_are_left_out_stand_still():
    student = TinyStudent()
    found = along(student, {student.vision: normal(*student.vision.shape)})
    assert (found.language == 0).all() and (found.standard != 0).all()
    torch.testing.assert_close(found.visual, found.visual_held, rtol=0, atol=0)


def test_nothing_is_left_of_the_pass():
    student = TinyStudent()
    before = [parameter.clone() for parameter in student.parameters()]
    (image, _), (tangent, _) = pushed(student, random_direction(student))
    assert not image.requires_grad and not tangent.requires_grad
    assert torch.equal(image, student.image_logits())
    assert all(torch.equal(*two) for two in zip(before, student.parameters(), strict=True))
    assert all(isinstance(parameter, nn.Parameter) for parameter in student.parameters())


def test_masked_ids_have_no_part():
    views, tangents = four_views(), [normal(5, 7, seed=8), normal(5, 7, seed=9)]
    masked = [torch.cat([view, torch.full((5, 1), -torch.inf, dtype=view.dtype)], dim=1) for view in views]
    wider = [torch.cat([tangent, torch.zeros(5, 1, dtype=tangent.dtype)], dim=1) for tangent in tangents]
    for name in LOSSES:
        plain, padded = (getattr(sensitivity(FourViews(*v), *t), name) for v, t in ((views, tangents), (masked, wider)))
        torch.testing.assert_close(padded, plain)


def test_equal_views_have_no_visual_part():
    """A prompt without a picture: whatever moves, its visual loss stays 0."""
    image, _, teacher, _ = four_views()
    tangent = normal(5, 7, seed=8)
    found = sensitivity(FourViews(image, image, teacher, teacher), tangent, tangent)
    assert (found.visual == 0).all() and (found.visual_held == 0).all() and (found.student_vds == 0).all()
    torch.testing.assert_close(found.standard, found.language)


def test_fused_attention_is_pushed_forward_too():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(normal(4, 4))

        def forward(self):
            x = (normal(1, 1, 3, 4, seed=2) @ self.weight,) * 3
            return nn.functional.scaled_dot_product_attention(*x)

    module, step = Attending(), 1e-6
    direction = normal(4, 4, seed=3)
    _, tangent = push_forward(module, module, {module.weight: direction})
    with torch.no_grad():
        up = module.weight.add_(direction, alpha=step) is not None and module()
        down = module.weight.sub_(direction, alpha=2 * step) is not None and module()
    torch.testing.assert_close(tangent, (up - down) / (2 * step), rtol=1e-5, atol=1e-7)


def test_what_does_not_fit_is_refused_by_name():
    student = TinyStudent()
    stranger = nn.Parameter(normal(2))
    with pytest.raises(ValueError, match=r"`direction` must hold parameters of `module`.*\(2,\)"):
        push_forward(student, student.text_logits, {stranger: normal(2)})
    with pytest.raises(ValueError, match=r"`direction` must have the shape.*\(3,\) for bias, which has \(4,\)"):
        push_forward(student, student.text_logits, {student.bias: normal(3)})
    with pytest.raises(ValueError, match="`text_tangent` must have the shape of `student_image`"):
        sensitivity(FourViews(*four_views()), normal(5, 7), normal(4, 7))


class Sampled(nn.Module):
    """Positions that are weighed sums of a table's rows, and others that are sampled from it as from a picture."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(normal(6, 3, seed=1))

    def forward(self):
        ids, weights = torch.tensor([[0, 1], [5, 2]]), torch.tensor([[0.25, 0.75], [1.5, -0.5]], dtype=torch.float64)
        table = self.table.sin()
        bags = nn.functional.embedding_bag(ids, table, per_sample_weights=weights, mode="sum")
        grid = torch.tensor([[[[-0.3, 0.2], [0.9, -0.7]]]], dtype=torch.float64)
        pixels = nn.functional.grid_sample(table[None, None], grid, mode="bicubic", align_corners=False)
        return bags.square().sum() + pixels.flatten().prod()


def test_what_torch_has_no_forward_rule_for_equals_finite_differences():
    module = Sampled()
    along_, step = normal(6, 3, seed=2), 1e-6
    _, tangent = push_forward(module, module, {module.table: along_})
    ends = []
    for sign in (1, -1):
        moved = Sampled()
        with torch.no_grad():
            moved.table.add_(along_, alpha=sign * step)
            ends.append(moved())
    assert float(tangent) == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-6)
    assert abs(float(tangent)) > 1e-2
