"""The empirical null against dense gradients of each pair."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from geometry import Gram, UnitViews, null_distribution, null_grams, total
from tests.geometry.problems import TinyStudent, normal
from tests.geometry.test_gramian import TOKENS, plain_gradient

SCOPES = (None, ["layer", "head"], ["head"])


def unit_views(student: TinyStudent, token: int) -> UnitViews:
    here = torch.tensor([token])
    teacher = (view[here] for view in student.teacher())
    return UnitViews(student.image_logits, student.text_logits, *teacher, here, torch.ones(1))


def angles(grams: dict[str, Gram], names: list[str] | None = None) -> Tensor:
    """(detached, attached) over the named groups."""
    return torch.from_numpy(total(grams, names).angle_deg("language", "visual"))


def plain_angles(student: TinyStudent, i: int, j: int, names: list[str] | None) -> Tensor:
    """(detached, attached) from dense gradients over the named groups."""
    groups = student.groups()
    parameters = [p for name in names or groups for p in groups[name]]
    language = plain_gradient(student, "language", TOKENS[i], parameters)
    visual, shift = (plain_gradient(student, k, TOKENS[j], parameters) for k in ("visual", "shift"))
    cosines = [torch.cosine_similarity(language, other, dim=0) for other in (visual, visual + shift)]
    return torch.stack(cosines).arccos().rad2deg()


@pytest.mark.parametrize("pairs", [[(0, 3), (3, 1), (1, 0)], [(0, 1), (2, 3), (3, 0)], [(4, 2)]])
def test_equals_dense_gradients_over_chains_and_breaks(pairs: list[tuple[int, int]]) -> None:
    student = TinyStudent()
    walked = list(null_grams(pairs, lambda token: unit_views(student, token), student.groups()))
    assert len(walked) == len(pairs)
    for (i, j), products in zip(pairs, walked, strict=True):
        for names in SCOPES:
            expected = plain_angles(student, i, j, names)
            torch.testing.assert_close(angles(products, names), expected, rtol=0, atol=1e-6)


def test_in_a_metric() -> None:
    student = TinyStudent()
    groups = student.groups()
    parameters = [p for members in groups.values() for p in members]
    metric = {p: normal(*p.shape, seed=7).square() for p in parameters}
    scale = torch.cat([metric[p].sqrt().flatten() for p in parameters])
    (products,) = null_grams([(0, 3)], lambda token: unit_views(student, token), groups, metric=metric)
    language = scale * plain_gradient(student, "language", TOKENS[0], parameters)
    visual, shift = (scale * plain_gradient(student, k, TOKENS[3], parameters) for k in ("visual", "shift"))
    expected = [torch.cosine_similarity(language, other, dim=0) for other in (visual, visual + shift)]
    found = angles(products)
    torch.testing.assert_close(found, torch.stack(expected).arccos().rad2deg(), rtol=0, atol=1e-6)
    plain = plain_angles(student, 0, 3, None)
    assert ((found - plain).abs() > 0.1).all()


def test_takes_a_tensor_of_pairs_and_is_lazy() -> None:
    student, asked = TinyStudent(), []

    def views(token: int) -> UnitViews:
        asked.append(token)
        return unit_views(student, token)

    walk = null_grams(torch.tensor([[0, 1], [1, 2], [4, 3]]), views, student.groups())
    assert asked == []
    next(walk)
    assert asked == [0, 1]  # first pair only
    next(walk)
    assert asked == [0, 1, 2]  # token 1 is not run again
    next(walk)
    assert asked == [0, 1, 2, 4, 3]


def test_holds_two_gradients_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    student, alive, most = TinyStudent(), 0, 0

    class Counted(list):
        def __init__(self, tensors: list[Tensor]) -> None:
            nonlocal alive, most
            super().__init__(tensors)
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    plain = null_distribution.gradient
    monkeypatch.setattr("geometry.null_distribution.gradient", lambda *args: Counted(plain(*args)))
    list(null_grams([(0, 1), (1, 2), (2, 3), (3, 0)], lambda t: unit_views(student, t), student.groups()))
    assert most == 2


def test_a_zero_gradient_has_no_angle() -> None:
    student = TinyStudent()
    (products,) = null_grams([(0, 1)], lambda token: unit_views(student, token), student.groups())
    assert angles(products, ["vision"]).isnan().all()  # language does not reach the vision tower
    assert products["vision"].angle_deg("visual", "visual").tolist() == [0.0, 0.0]


def test_leaves_the_gradients_of_parameters_as_they_were() -> None:
    student = TinyStudent()
    parameters = [p for members in student.groups().values() for p in members]
    parameters[0].grad = kept = torch.full_like(parameters[0], 3.0)
    list(null_grams([(0, 3)], lambda token: unit_views(student, token), student.groups()))
    assert parameters[0].grad is kept and bool((kept == 3.0).all())
    assert all(parameter.grad is None for parameter in parameters[1:])


def test_parameters_that_share_a_gradient() -> None:
    """The gradient of a sum is handed to both of its terms, as one tensor."""
    one, two = (nn.Parameter(torch.zeros(5, dtype=torch.float64)) for _ in range(2))
    image, text, *teacher = (normal(1, 5, seed=seed) for seed in range(4))

    def views(token: int) -> UnitViews:
        seen, unseen = (lambda at, view=view: (1 + token) * view + (one + two) for view in (image, text))
        return UnitViews(seen, unseen, *teacher, torch.tensor([0]), torch.ones(1))

    (both,) = null_grams([(0, 1)], views, {"both": [one, two]})
    (single,) = null_grams([(0, 1)], views, {"one": [one]})
    np.testing.assert_allclose(both["both"].values, 2 * single["one"].values, rtol=1e-12)
