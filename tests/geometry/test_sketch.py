"""Products of gradients estimated from random combinations of a weight's columns, against the exact ones."""

import pytest
import torch
from torch import Tensor, nn

from geometry import Gramian
from geometry.gramian import sketch as sketching
from geometry.gramian.sketch import Sketch, random_signs
from geometry.gramian.uses import Part
from geometry.gramian.weight_gramians import Factors, weight_gradients, weight_grams
from tests.geometry.problems import ModuleStudent, normal, response_of, tensor
from tests.geometry.test_families import qwen3_vl, random_student

N_UNITS, N_IDS, WIDTH, R = 2, 9, 12, 3
WEIGHT = nn.Parameter(torch.zeros(N_IDS, WIDTH, dtype=torch.float64))
IMAGE, TEXT = (0, 1), (2, 3)
SEEDS = 1500
PINNED = [1, 1, 1, -1, 1, 1, -1, 1]


def linear(rows: tuple[int, int], n_places: int, seed: int, *, own: bool = False) -> Factors:
    """A product with the weight; `own`: each unit has inputs of its own."""
    shape = (N_UNITS, n_places, WIDTH) if own else (n_places, WIDTH)
    return Factors(WEIGHT.detach(), rows, normal(*shape, seed=seed), normal(N_UNITS, 2, n_places, N_IDS, seed=seed + 1))


def lookup(rows: tuple[int, int], n_places: int, seed: int) -> Factors:
    ids = torch.arange(n_places) * 4 % N_IDS
    return Factors(WEIGHT.detach(), rows, ids, normal(N_UNITS, 2, n_places, WIDTH, seed=seed))


def sketched(uses: list[Factors], seed: int, n_columns: int = R) -> list[Factors]:
    return list(Sketch(n_columns, seed, {WEIGHT: "weight"}).sketched(WEIGHT, Part(), uses))


LINEAR = {
    "both views": [linear(IMAGE, 20, 0), linear(TEXT, 15, 2)],
    "one view": [linear(IMAGE, 20, 0)],
    "called twice": [linear(IMAGE, 20, 0), linear(IMAGE, 20, 4), linear(TEXT, 15, 2)],
    "few positions": [linear(IMAGE, 2, 0), linear(TEXT, 2, 2)],
    "partly at own tokens": [linear(IMAGE, 20, 0), linear(TEXT, 1, 2, own=True)],
}


@pytest.mark.parametrize("uses", LINEAR.values(), ids=LINEAR)
def test_estimates_are_unbiased_and_as_wide_as_hutchinson_says(uses: list[Factors]) -> None:
    exact = weight_grams(uses)
    estimates = torch.stack([weight_grams(sketched(uses, seed)) for seed in range(SEEDS)])
    error, spread = estimates.mean(0) - exact, estimates.std(0)
    used = exact != 0
    assert (spread[used] > 0).all() and (estimates[:, ~used] == 0).all()
    assert (error.abs()[used] / (spread[used] / SEEDS**0.5)).max() < 4
    gradients = weight_gradients(uses).unflatten(-1, (N_IDS, WIDTH))
    crossed = gradients.mT.unsqueeze(2) @ gradients.unsqueeze(1)  # G^T H, [U, 4, 4, i, i]
    even = (crossed + crossed.mT) / 2
    diagonal = even.diagonal(dim1=-2, dim2=-1).square().sum(-1)
    expected = (2 / R * (even.square().sum((-2, -1)) - diagonal)).sqrt()
    torch.testing.assert_close(spread, expected, rtol=0.1, atol=1e-12)


EXACT = {
    "looked up": [lookup(IMAGE, 20, 0), lookup(TEXT, 15, 2)],
    "tied": [lookup(IMAGE, 20, 0), linear(IMAGE, 1, 4, own=True), lookup(TEXT, 15, 2), linear(TEXT, 1, 6, own=True)],
    "tied, head everywhere": [lookup(IMAGE, 20, 0), linear(IMAGE, 20, 4), lookup(TEXT, 15, 2), linear(TEXT, 15, 6)],
    "at own tokens": [linear(IMAGE, 1, 0, own=True), linear(TEXT, 1, 2, own=True)],
}


@pytest.mark.parametrize("uses", EXACT.values(), ids=EXACT)
def test_lookups_and_gradients_at_few_tokens_stay_exact(uses: list[Factors]) -> None:
    assert all(one is other for one, other in zip(sketched(uses, 0), uses, strict=True))


@pytest.mark.parametrize("n_columns", [WIDTH, WIDTH + 1])
def test_weights_that_are_no_wider_stay_exact(n_columns: int) -> None:
    uses = LINEAR["both views"]
    assert all(one is other for one, other in zip(sketched(uses, 0, n_columns), uses, strict=True))


def test_gradients_are_formed_where_that_is_cheaper_at_their_new_size(monkeypatch) -> None:
    shapes: list[torch.Size] = []

    def noted(uses: list[Factors]) -> Tensor:
        shapes.append(uses[0].weight.shape)
        return weight_gradients(uses)

    monkeypatch.setattr("geometry.gramian.weight_gramians.weight_gradients", noted)
    weight = torch.zeros(8, 4096, dtype=torch.float64)
    uses = [
        Factors(weight, IMAGE, normal(100, 4096), normal(1, 2, 100, 8, seed=1)),
        Factors(weight, TEXT, normal(90, 4096, seed=2), normal(1, 2, 90, 8, seed=3)),
    ]
    weight_grams(uses)
    assert not shapes
    weight_grams(Sketch(16, 0, {WEIGHT: "weight"}).sketched(WEIGHT, Part(), uses))
    assert shapes == [(8, 16)]


def test_signs_are_determined_by_name_and_seed_alone() -> None:
    signs = random_signs("layers.0.up None", 64, 8, seed=0)
    assert signs.tolist()[0] == PINNED and set(signs.flatten().tolist()) == {-1, 1}
    with torch.device("meta"):  # where tensors go that are not told where to
        assert torch.equal(random_signs("layers.0.up None", 64, 8, seed=0), signs)
    for other in (random_signs("layers.1.up None", 64, 8, seed=0), random_signs("layers.0.up None", 64, 8, seed=1)):
        assert not torch.equal(other, signs)


def test_signs_that_are_not_kept_are_drawn_again(monkeypatch) -> None:
    uses, sketch = LINEAR["both views"], Sketch(R, 0, {WEIGHT: "weight"})
    first = sketch.sketched(WEIGHT, Part(), uses)
    assert [held.shape for held in sketch._held.values()] == [(WIDTH, R)]
    monkeypatch.setattr(sketching, "HELD_BYTES", WIDTH * R - 1)
    frugal = Sketch(R, 0, {WEIGHT: "weight"})
    for _ in range(2):
        again = frugal.sketched(WEIGHT, Part(), uses)
        assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(again, first, strict=True))
    assert not frugal._held


def test_matrices_of_a_stack_have_signs_of_their_own() -> None:
    sketch, use = Sketch(R, 0, {WEIGHT: "weight"}), linear(IMAGE, 20, 0)
    first, second = (sketch.sketched(WEIGHT, Part(matrix), [use])[0].inputs for matrix in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_is_estimated_without_bias(tied: bool) -> None:
    """Every group of a Qwen3-VL whose layers are 16 wide, from 4 columns."""
    student = random_student(qwen3_vl, tied=tied)
    cots, n_seeds = student.cotangents(), 12
    exact = student.grams(cots)
    runs = [student.grams(cots, sketch=4, seed=seed) for seed in range(n_seeds)]
    moved = []
    for name, gram in exact.items():
        estimates = torch.stack([run[name] for run in runs])
        error, spread = (estimates.mean(0) - gram).abs(), estimates.std(0)
        rounding = 1e-12 * gram.abs().max()
        assert (error <= 4.5 * spread / n_seeds**0.5 + rounding).all(), name
        assert (torch.linalg.eigvalsh(estimates) >= -rounding).all(), name
        moved.append(bool((spread > 10 * rounding).any()))
    assert any(moved) and not all(moved)  # norms and the tied matrix stay exact


def test_a_sketch_as_wide_as_the_model_is_exact() -> None:
    student = random_student(qwen3_vl)
    cots = student.cotangents()
    exact, wide = student.grams(cots), student.grams(cots, sketch=4096)
    for name, gram in exact.items():
        torch.testing.assert_close(wide[name], gram, rtol=1e-12, atol=1e-14)


def test_estimates_do_not_depend_on_the_chunk() -> None:
    """Also of a unit that has a gradient at nearly all positions: a weight that is exact in one chunk is in all."""
    student = ModuleStudent()
    weights = torch.cat([torch.eye(5)[1:], torch.eye(5)[1:].sum(0, keepdim=True)])
    response = response_of(student)
    groups = {name: [parameter] for name, parameter in student.named_parameters()}
    exact = Gramian(student, groups).units(response, weights)
    first, *others = (
        Gramian(student, groups, sketch=2, chunk=chunk).units(response, weights) for chunk in (1, 2, 3, 5)
    )
    for other in others:
        for name, gram in first.items():
            torch.testing.assert_close(tensor(other[name]), tensor(gram), rtol=1e-9, atol=1e-12)
    assert not torch.allclose(tensor(first["twice.weight"]), tensor(exact["twice.weight"]), rtol=1e-3)


def test_refusals() -> None:
    student = ModuleStudent()
    groups = {"twice": [student.twice.weight]}
    with pytest.raises(ValueError, match="`sketch` must be at least 1 column, got 0"):
        Gramian(student, groups, sketch=0)
    metric = {student.twice.weight: torch.ones(4, 4)}
    with pytest.raises(ValueError, match="`sketch` forms no gradients, and `metric` weighs"):
        Gramian(student, groups, sketch=2, metric=metric)
