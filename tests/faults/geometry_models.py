"""Hostile weights, positions, metrics and directions into what runs a model; the twin is plain autograd in float64."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from geometry import (
    BASIS,
    Cotangents,
    DenseGradients,
    FourViews,
    Gramian,
    ProbedResponse,
    UnitViews,
    cotangents,
    null_grams,
    push_forward,
    unit_gradients,
)
from tests.faults.judging import REFUSED, Close, Expected, covers, judge, pick
from tests.geometry.problems import TinyStudent

KINDS = (
    "ordinary",
    "zero weights",
    "zero cotangents",
    "no unit",
    "nan weight",
    "nan cotangent",
    "probability 1",
    "metric",
    "metric of nan",
    "negative metric",
    "other positions",
    "other weights",
    "no position",
)
_BAD = ("metric of nan", "negative metric", "other positions", "other weights", "no position")
Metric = Mapping[nn.Parameter, Tensor] | None


def response_of(kind: str, student: TinyStudent) -> ProbedResponse:
    """A response of five tokens."""
    at = student.cotangents()
    if kind == "zero cotangents":
        at = Cotangents(**{name: 0.0 * rows for name, rows in vars(at).items()})
    elif kind == "nan cotangent":
        at.language[2, 1] = math.nan
    elif kind == "probability 1":  # gradients that are 0 in all but rounding
        at = Cotangents(**{name: 1e-30 * rows for name, rows in vars(at).items()})
    positions = {"other positions": torch.tensor([0, 2, 1, 3, 4]), "no position": torch.arange(0)}
    return ProbedResponse(student.image_logits, student.text_logits, at, positions.get(kind, torch.arange(5)))


def drawn_weights(kind: str, rng: np.random.Generator) -> Tensor:
    """Weights `[U, 5]`; 4 where they do not fit."""
    units = 0 if kind == "no unit" else 2
    weights = torch.from_numpy(rng.standard_normal((units, {"other weights": 4, "no position": 0}.get(kind, 5))))
    if kind == "zero weights":
        weights[0] = 0.0
    elif kind == "nan weight":
        weights[1, 2] = math.nan
    return weights


def drawn_metric(kind: str, student: TinyStudent, rng: np.random.Generator) -> Metric:
    """A metric of all parameters; None for kinds without one."""
    if "metric" not in kind:
        return None
    metric = {p: torch.from_numpy(rng.exponential(1.0, p.shape)) for p in student.parameters()}
    bad = {"metric of nan": math.nan, "negative metric": -1.0}
    metric[student.bias][1] = bad.get(kind, 1.0)
    return metric


def plain(student: TinyStudent, response: ProbedResponse, weights: Tensor) -> dict[nn.Parameter, Tensor]:
    """Return each unit's gradients `[U, 4, ...]`: one backward pass each, over all positions."""
    views = dict(
        zip(BASIS, (student.image_logits, student.image_logits, student.text_logits, student.text_logits), strict=True)
    )
    found: dict[nn.Parameter, Tensor] = {}
    parameters = list(student.parameters())
    for unit, row in enumerate(weights):
        for place, (name, view) in enumerate(views.items()):
            output = (row[:, None] * getattr(response.cotangents, name) * view()).sum()
            for p, g in zip(parameters, torch.autograd.grad(output, parameters, allow_unused=True), strict=True):
                rows = found.setdefault(p, torch.zeros(len(weights), 4, *p.shape, dtype=torch.float64))
                rows[unit, place] = 0.0 if g is None else g
    return found


def grams_of(
    gradients: Mapping[nn.Parameter, Tensor], metric: Metric, groups: Mapping[str, Sequence[nn.Parameter]]
) -> list[Close]:
    """Expect the inner products of each group, `[U, 4, 4]`."""
    made = []
    for members in groups.values():
        rows = [gradients[p].flatten(2) for p in members]
        factors = [torch.ones(p.numel()).double() if metric is None else metric[p].flatten() for p in members]
        gram = sum((r * f) @ r.mT for r, f in zip(rows, factors, strict=True)).numpy()  # type: ignore[union-attr]
        size = np.nan_to_num(np.abs(gram)).max(initial=0.0)
        made.append(Close(gram, 1e-9 * size + 1e-300))
    return made


@covers("Gramian", "ProbedResponse")
def fuzz_gramian(rng: np.random.Generator) -> tuple[str, str]:
    """A unit with a nan is nan in the groups that it reaches, and others are as they were."""
    kind, student = pick(rng, KINDS), TinyStudent()
    response, weights, metric = response_of(kind, student), drawn_weights(kind, rng), drawn_metric(kind, student, rng)
    groups = student.groups()

    def call() -> list[np.ndarray]:
        way = pick(rng, ("walk", "autograd"))
        grams = Gramian(student, groups, metric=metric, way=way).units(response, weights)
        return [_nan_units(grams[name].values) for name in groups]

    expected = None if kind in _BAD else _expected(student, response, weights, metric)
    return kind, judge(call, expected, kind)


def _nan_units(values: np.ndarray) -> np.ndarray:
    """A nan anywhere in a unit's matrix is a nan everywhere: which products it reaches is no rule."""
    return np.where(np.isnan(values).any(axis=(1, 2), keepdims=True), math.nan, values)


def _expected(student: TinyStudent, response: ProbedResponse, weights: Tensor, metric: Metric) -> Expected:
    if not len(weights):
        return [Close(np.zeros((0, 4, 4))) for _ in student.groups()]
    made = grams_of(plain(student, response, weights), metric, student.groups())
    return [replace(close, value=_nan_units(np.asarray(close.value))) for close in made]


@covers("unit_gradients", "DenseGradients")
def fuzz_dense_gradients(rng: np.random.Generator) -> tuple[str, str]:
    kind, student = pick(rng, KINDS), TinyStudent()
    response, weights, metric = response_of(kind, student), drawn_weights(kind, rng), drawn_metric(kind, student, rng)
    groups = student.groups()

    def call() -> list[np.ndarray]:
        sums = DenseGradients(groups, metric=metric)
        sums.add(unit_gradients(response, weights, groups))
        grams = sums.grams()
        return [_nan_units(grams[name].values) for name in groups]

    return kind, judge(call, None if kind in _BAD else _expected(student, response, weights, metric), kind)


@covers("null_grams", "UnitViews")
def fuzz_null(rng: np.random.Generator) -> tuple[str, str]:
    kind, student = (
        pick(rng, ("ordinary", "zero weight", "nan", "equal", "metric", "metric of nan", "no pair")),
        TinyStudent(),
    )
    metric, groups = drawn_metric(kind, student, rng), student.groups()
    teacher = [view.clone() for view in student.teacher()]
    if kind == "equal":
        teacher = [student.image_logits().detach(), student.text_logits().detach()]
    if kind == "nan":
        teacher[1][3, 2] = math.nan
    weight = 0.0 if kind == "zero weight" else 1.0

    def unit(number: int) -> UnitViews:
        at = torch.tensor([number])
        views = student.image_logits, student.text_logits, teacher[0][at], teacher[1][at]
        return UnitViews(*views, at, torch.tensor([weight]).double())

    pairs = [] if kind == "no pair" else [(3, 1), (1, 4)]

    def call() -> list[np.ndarray]:
        return [
            _nan_units(pair[name].values) for pair in null_grams(pairs, unit, groups, metric=metric) for name in groups
        ]

    expected = (
        None if kind == "metric of nan" else [c for p in pairs for c in _null_of(student, teacher, p, weight, metric)]
    )
    return kind, judge(call, expected, kind)


def _null_of(
    student: TinyStudent, teacher: list[Tensor], pair: tuple[int, int], weight: float, metric: Metric
) -> list[Close]:
    """The products of the first unit's language and the second one's visual gradient, detached then attached."""
    at = cotangents(FourViews(student.image_logits().detach(), student.text_logits().detach(), *teacher))
    response = ProbedResponse(student.image_logits, student.text_logits, at, torch.arange(5))
    one_hot = torch.nn.functional.one_hot(torch.tensor(pair), 5).double() * weight
    with_nan = one_hot.where(one_hot != 0, 0.0)
    found = _masked_plain(student, response, with_nan)
    made = []
    for form in ((1.0, 0.0), (1.0, 1.0)):
        two = {p: torch.stack([g[0, 2], form[0] * g[1, 0] + form[1] * g[1, 3]])[None] for p, g in found.items()}
        made.append(grams_of(two, metric, student.groups()))
    joined = []
    for detached, attached in zip(*made, strict=True):
        value = _nan_units(np.concatenate([np.asarray(detached.value), np.asarray(attached.value)]))
        joined.append(Close(value, max(float(detached.tolerance), float(attached.tolerance))))
    return joined


def _masked_plain(student: TinyStudent, response: ProbedResponse, weights: Tensor) -> dict[nn.Parameter, Tensor]:
    """As `plain`, each unit with the cotangents of its own token alone, so that others' nan takes no part."""
    found: dict[nn.Parameter, Tensor] = {}
    for unit, row in enumerate(weights):
        own = {name: rows.where((row != 0)[:, None], 0.0) for name, rows in vars(response.cotangents).items()}
        for p, g in plain(student, replace(response, cotangents=Cotangents(**own)), row[None]).items():
            found.setdefault(p, torch.zeros(len(weights), 4, *p.shape, dtype=torch.float64))[unit] = g[0]
    return found


@covers("push_forward")
def fuzz_push_forward(rng: np.random.Generator) -> tuple[str, str]:
    """The derivative of the logits against their Jacobian by autograd."""
    kind, student = (
        pick(rng, ("ordinary", "zero", "tiny", "nan", "nothing", "of another model", "other shape")),
        TinyStudent(),
    )
    scale = {"zero": 0.0, "tiny": 1e-200}.get(kind, 1.0)
    chosen = [] if kind == "nothing" else [student.mix, student.tied]
    direction = {p: scale * torch.from_numpy(rng.standard_normal(p.shape)) for p in chosen}
    if kind == "nan":
        direction[student.mix][0, 0] = math.nan
    elif kind == "of another model":
        direction = {TinyStudent().mix: torch.zeros(4, 4).double()}
    elif kind == "other shape":
        direction[student.mix] = torch.zeros(4).double()
    logits = student.text_logits()
    slopes = torch.zeros_like(logits)
    if kind not in _NOT_THERE:
        for place in range(logits.numel()):
            rows = torch.autograd.grad(logits.flatten()[place], list(direction), retain_graph=True) if direction else ()
            slopes.view(-1)[place] = sum((g * direction[p]).sum() for p, g in zip(direction, rows, strict=True))
    expected = REFUSED if kind in _NOT_THERE else [Close(logits.detach(), 1e-12), Close(slopes.detach(), 1e-12 * scale)]
    if kind == "nan":
        expected = [Close(logits.detach(), 1e-12), Close(np.full(logits.shape, math.nan))]
    return kind, judge(lambda: list(push_forward(student, student.text_logits, direction)), expected, kind)


_NOT_THERE = ("nothing", "of another model", "other shape")
