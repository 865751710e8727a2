"""Hostile numbers into bins, quantiles, Gram matrices, advantages, surrogates, shares, coefficients and metrics."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from geometry import (
    Gram,
    Objective,
    Thresholds,
    adam_metric,
    bin_edges,
    coefficients,
    equal_frequency_bins,
    group_advantages,
    grpo_loss,
    mixed,
    steered,
    token_shares,
    total,
    vds_quantile,
)
from tests.faults.judging import REFUSED, Close, Expected, covers, judge, pick

NOT_STRENGTHS = (math.nan, math.inf, -1.0)


def drawn_vds(rng: np.random.Generator) -> tuple[str, torch.Tensor]:
    """Draw the VDS of some tokens: few distinct values, equal ones, infinite ones, nan, none."""
    kind = pick(rng, ("ordinary", "ties", "equal", "inf", "nan", "none", "one", "bfloat16 near 1e4"))
    n = {"none": 0, "one": 1}.get(kind, int(rng.integers(2, 40)))
    values = rng.exponential(1.0, n)
    if kind == "ties":
        values = rng.integers(0, 4, n).astype(float)
    elif kind == "equal":
        values[:] = pick(rng, (0.0, 1e-40, 3.0))
    elif kind in ("inf", "nan"):
        values[rng.random(n) < 0.5] = {"inf": math.inf, "nan": math.nan}[kind]
    elif kind == "bfloat16 near 1e4":
        return kind, torch.from_numpy(1e4 + 500 * values).bfloat16()
    return kind, torch.from_numpy(values).to(pick(rng, (torch.float64, torch.float32)))


@covers("equal_frequency_bins", "bin_edges")
def fuzz_bins(rng: np.random.Generator) -> tuple[str, str]:
    kind, vds = drawn_vds(rng)
    n_bins, own = int(rng.integers(0, 60)), vds.double().tolist()
    if n_bins < 1 or any(map(math.isnan, own)):
        return kind, judge(lambda: [equal_frequency_bins(vds, n_bins)], REFUSED, kind)
    bins = [sum(other < value for other in own) * n_bins // len(own) for value in own]
    edges = [min((v for v, b in zip(own, bins, strict=True) if b == k), default=math.nan) for k in range(1, n_bins)]

    def call() -> Sequence[torch.Tensor]:
        made = equal_frequency_bins(vds, n_bins)
        return [made, bin_edges(vds, made, n_bins)]

    return kind, judge(call, [Close(bins), Close(edges)], kind)


@covers("bin_edges")
def fuzz_edges_of_other_bins(rng: np.random.Generator) -> tuple[str, str]:
    """Bins that no call made: beyond the last, below -1, a nan inside a bin or outside of all."""
    kind = pick(rng, ("beyond", "below", "nan inside", "nan outside", "no bins"))
    vds, bins, n_bins = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([-1, 0, 1]), 3
    if kind in ("beyond", "below"):
        bins[1] = {"beyond": n_bins, "below": -2}[kind]
    elif kind.startswith("nan"):
        vds[{"nan inside": 2, "nan outside": 0}[kind]] = math.nan
    else:
        n_bins = 0
    expected = [Close([3.0, math.nan])] if kind == "nan outside" else REFUSED
    return kind, judge(lambda: [bin_edges(vds, bins, n_bins)], expected, kind)


@covers("vds_quantile")
def fuzz_quantile(rng: np.random.Generator) -> tuple[str, str]:
    kind, vds = drawn_vds(rng)
    q = pick(rng, (0.0, 1.0, 0.7, float(rng.random()), -0.1, 1.1, math.nan))
    own = np.sort(vds.double().numpy())
    if not 0 <= q <= 1 or not len(own) or np.isnan(own).any():
        return kind, judge(lambda: [vds_quantile(vds, q)], REFUSED, kind)
    place = q * (len(own) - 1)
    low, high = own[int(place)], own[min(int(place) + 1, len(own) - 1)]
    value = low if place == int(place) or low == high else low + (place - int(place)) * (high - low)
    slack = 4 * torch.finfo(torch.promote_types(vds.dtype, torch.float32)).eps * np.nan_to_num(value, posinf=0.0)
    return kind, judge(lambda: [vds_quantile(vds, q)], [Close(value, slack)], kind)


@covers("Gram", "total")
def fuzz_gram(rng: np.random.Generator) -> tuple[str, str]:
    """Lengths and angles against those of the vectors; then what no vectors have."""
    kind = pick(rng, ("vectors", "zero", "nan", "inf", "negative", "indefinite", "asymmetric", "tiny", "huge"))
    vectors = rng.standard_normal((3, 6))
    if kind == "zero":
        vectors[0] = 0.0
    scale = {"tiny": 1e-160, "huge": 1e153}.get(kind, 10.0 ** float(rng.integers(-9, 9)))
    values = (scale * vectors) @ (scale * vectors).T
    values[0, 0] = {"nan": math.nan, "inf": math.inf, "negative": -1.0}.get(kind, values[0, 0])
    if kind == "indefinite":
        values[0, 1] = values[1, 0] = 3.0 * math.sqrt(values[0, 0] * values[1, 1])
    elif kind == "asymmetric":
        values[0, 1] = 2.0 * np.abs(values).max()
    unit = vectors / np.where((lengths := np.linalg.norm(vectors, axis=1)) > 0, lengths, np.nan)[:, None]
    angles = np.degrees(np.arccos(np.clip([unit[0] @ unit[1], unit[1] @ unit[2]], -1, 1)))
    length = scale * lengths[0]
    if kind in ("nan", "inf", "negative"):
        angles[0], length = math.nan, math.nan
    if kind == "indefinite":
        angles[0] = math.nan
    if kind == "tiny":
        angles[:] = math.nan
    expected: Expected = [Close(length, length * (1e-2 if kind == "tiny" else 1e-12)), Close(angles, 2e-6)]

    def call() -> list[np.ndarray]:
        gram = total({"a": Gram(values, "xyz"), "b": Gram(np.zeros((3, 3)), "xyz")})
        return [gram.norm("x"), np.array([gram.angle_deg("x", "y"), gram.angle_deg("y", "z")])]

    return kind, judge(call, REFUSED if kind == "asymmetric" else expected, kind)


@covers("Gram", "steered")
def fuzz_eta(rng: np.random.Generator) -> tuple[str, str]:
    """The ratio of lengths, from the vectors; strengths out of range."""
    kind, prior = pick(rng, ("ordinary", "zero", "cancelling", "bad")), pick(rng, ("detached", "attached"))
    vectors, gamma = rng.standard_normal((4, 6)), float(pick(rng, (0.0, 1.0, 2.0)))
    if kind == "zero":
        vectors[:] = 0.0
    elif kind == "cancelling":
        vectors[1], vectors[3], gamma = -2.0 * vectors[0], 0.0, 1.0
    elif kind == "bad":
        gamma = float(pick(rng, NOT_STRENGTHS))
    standard, visual = vectors[0] + vectors[1], vectors[0] + (vectors[3] if prior == "attached" else 0.0)
    lengths = [
        float(np.linalg.norm(standard)),
        float(np.linalg.norm(standard + gamma * visual)) if kind != "bad" else 0.0,
    ]
    eta = math.inf if kind == "cancelling" else math.nan if kind == "zero" else lengths[0] / max(lengths[1], 1e-300)
    gram = Gram(vectors @ vectors.T)
    call = lambda: [gram.eta(gamma, prior=prior), gram.norm(steered(gamma, prior=prior))]  # noqa: E731
    expected = [Close(eta, 1e-9 * eta if math.isfinite(eta) else 0.0), Close(lengths[1], 1e-9)]
    return kind, judge(call, REFUSED if kind == "bad" else expected, kind)


@covers("adam_metric")
def fuzz_adam_metric(rng: np.random.Generator) -> tuple[str, str]:
    kind = pick(rng, ("ordinary", "zero", "negative", "nan", "inf", "eps 0", "eps", "nothing to divide by", "empty"))
    parameter = nn.Parameter(torch.zeros(0 if kind == "empty" else 5))
    moments, eps = torch.from_numpy(rng.exponential(1e-3, parameter.shape)), 1e-8
    spoilt = {"zero": 0.0, "negative": -1e-9, "nan": math.nan, "inf": math.inf, "nothing to divide by": 0.0}
    if kind in spoilt:
        moments[2] = spoilt[kind]
    if kind in ("eps 0", "nothing to divide by"):
        eps = 0.0
    elif kind == "eps":
        eps = float(pick(rng, NOT_STRENGTHS))
    bad = kind in ("negative", "nan", "inf", "nothing to divide by", "eps")
    with np.errstate(invalid="ignore", divide="ignore"):
        value = 1.0 / (np.sqrt(moments.numpy()) + eps)
    call = lambda: [adam_metric({parameter: moments}, eps)[parameter]]  # noqa: E731
    return kind, judge(call, REFUSED if bad else [Close(value, 1e-12 * value)], kind)


@covers("group_advantages")
def fuzz_advantages(rng: np.random.Generator) -> tuple[str, str]:
    kind = pick(rng, ("ordinary", "equal", "nearly equal", "tiny", "huge", "nan", "inf", "one", "no group", "bfloat16"))
    rewards = rng.standard_normal((0 if kind == "no group" else 2, 1 if kind == "one" else 4))
    if kind == "equal":
        rewards[:] = pick(rng, (0.0, 0.1, 1e30))
    elif kind == "nearly equal":
        rewards = 1.0 + 1e-7 * rng.integers(0, 3, rewards.shape)
    elif kind in ("nan", "inf"):
        rewards[0, 1] = {"nan": math.nan, "inf": -math.inf}[kind]
    rewards *= {"tiny": 1e-30, "huge": 1e37}.get(kind, 1.0)
    given = torch.from_numpy(rewards).to(torch.bfloat16 if kind == "bfloat16" else torch.float32)
    wide = np.nan_to_num(given.double().numpy(), posinf=0.0, neginf=0.0)
    spread = wide.std(-1, ddof=1, keepdims=True) if kind != "one" else np.ones((2, 1))
    value = np.where(spread > 0, (wide - wide.mean(-1, keepdims=True)) / np.where(spread > 0, spread, 1.0), 0.0)
    expected = REFUSED if kind in ("nan", "inf", "one") else [Close(value, 1e-2 if kind == "bfloat16" else 1e-5)]
    return kind, judge(lambda: [group_advantages(given)], expected, kind)


@covers("grpo_loss", "GRPOLoss", "mixed")
def fuzz_grpo(rng: np.random.Generator) -> tuple[str, str]:
    """Value and gradient against the definition in float64."""
    kind = pick(rng, ("ordinary", "far", "nan", "advantage nan", "ruled out before", "no token", "clip", "alpha"))
    n = 0 if kind == "no token" else 4
    new, old = (-rng.exponential(200.0 if kind == "far" else 1.0, n) for _ in range(2))
    advantages, shares = rng.standard_normal(n), rng.random(n)
    if n:
        new[0] = math.nan if kind == "nan" else new[0]
        advantages[0] = math.nan if kind == "advantage nan" else abs(advantages[0])
        old[0] = -math.inf if kind == "ruled out before" else old[0]
    clip = float(pick(rng, (*NOT_STRENGTHS, 1.0))) if kind == "clip" else 0.2
    alpha = float(pick(rng, (*NOT_STRENGTHS, 1.1))) if kind == "alpha" else 0.3
    leaf = torch.from_numpy(new).requires_grad_()
    tensors = [torch.from_numpy(each) for each in (old, advantages, shares)]

    def call() -> list[torch.Tensor]:
        found = grpo_loss(leaf, *tensors, clip=clip)
        return [mixed(found.loss, torch.zeros(()).double(), alpha), torch.autograd.grad(found.loss, leaf)[0]]

    value, slopes = 0.0, np.zeros(n)
    for t in range(n):
        edge = 1.0 + 0.2 if advantages[t] >= 0 else 1.0 - 0.2
        with np.errstate(over="ignore"):
            ratio = float(np.exp(new[t] - old[t]))
        beyond = ratio > edge if advantages[t] >= 0 else ratio < edge
        value -= shares[t] * advantages[t] * (edge if beyond else ratio)
        slopes[t] = 0.0 if beyond else -shares[t] * advantages[t] * ratio
    slack = 1e-9 * np.nan_to_num(np.abs(slopes)) + 1e-12
    expected = [Close(0.7 * value, 1e-9 * abs(value) + 1e-12 if math.isfinite(value) else 0.0), Close(slopes, slack)]
    return kind, judge(call, REFUSED if kind in ("clip", "alpha") else expected, kind)


@covers("token_shares")
def fuzz_shares(rng: np.random.Generator) -> tuple[str, str]:
    kind, average = (
        pick(rng, ("ordinary", "empty response", "no response", "half", "too few", "inf", "nan")),
        pick(rng, ("trajectory", "token")),
    )
    lengths = rng.integers(1, 5, 0 if kind == "no response" else 3).tolist()
    name = "n_trajectories" if average == "trajectory" else "n_tokens"
    whole = len(lengths) if average == "trajectory" else sum(lengths)
    options: dict[str, int] = {}
    if kind == "empty response":
        lengths[1] = 0
    elif kind == "too few":
        options[name] = whole - 1
    elif kind == "ordinary":
        options[name] = whole + int(rng.integers(0, 3))
    given = torch.tensor([1.5, 2.0]).double() if kind == "half" else lengths
    if kind == "half":
        return kind, judge(lambda: [_untyped(token_shares)(given, average)], REFUSED, kind)
    if kind in ("inf", "nan"):
        options = {name: {"inf": math.inf, "nan": math.nan}[kind]}  # type: ignore[dict-item]
        return kind, judge(lambda: [_untyped(token_shares)(lengths, average, **options)], REFUSED, kind)
    count = options.get(name, whole)
    each = [1 / count if average == "token" else 1 / (count * length) for length in lengths for _ in range(length)]
    bad = kind in ("empty response", "too few")
    return kind, judge(
        lambda: [token_shares(lengths, average, **options)], REFUSED if bad else [Close(each, 1e-15)], kind
    )


def _untyped(function):
    """The function without the checks of types that the tests add: what a user's program calls."""
    return getattr(function, "__wrapped__", function)


@covers("coefficients", "Coefficients", "Thresholds", "Objective")
def fuzz_coefficients(rng: np.random.Generator) -> tuple[str, str]:
    kind = pick(
        rng, ("ordinary", "nan", "nan without a picture", "inf", "no gate", "thresholds of nan", "order", "none")
    )
    n = 0 if kind == "none" else 6
    vds, has_image = rng.exponential(1.0, n), np.arange(n) % 3 > 0
    if kind.startswith("nan"):
        vds[{"nan": 1, "nan without a picture": 0}[kind]] = math.nan
    elif kind == "inf":
        vds[1] = math.inf
    low, high = {"no gate": (math.inf, math.inf), "thresholds of nan": (0.3, math.nan), "order": (2.0, 1.0)}.get(
        kind, (0.5, 1.0)
    )

    def call() -> list[torch.Tensor]:
        objective = Objective("adaptive", gamma=2.0, lambda_=0.5)
        made = coefficients(objective, torch.from_numpy(vds), Thresholds(low, high), torch.from_numpy(has_image))
        return [made.standard, made.visual, made.language]

    unknown = np.isnan(vds) & has_image
    passes = [np.where(unknown, np.nan, (vds > edge) & has_image) for edge in (low, high)]
    expected = [Close(np.ones(n)), Close(passes[0] + passes[1], 1e-15), Close(0.5 * passes[1], 1e-15)]
    return kind, judge(call, REFUSED if kind in ("thresholds of nan", "order") else expected, kind)


@covers("Objective")
def fuzz_objective(rng: np.random.Generator) -> tuple[str, str]:
    field = pick(rng, ("gamma", "lambda_", "eta", "quantile", "low_quantile", "order"))
    value = float(pick(rng, (*NOT_STRENGTHS, 0.9)))
    settings = {"quantile": 0.2} if field == "order" else {field: value}
    good = {"gamma", "lambda_", "eta", "quantile"} & {field} and value == 0.9
    call = lambda: [[getattr(Objective("adaptive", **settings), name) for name in settings]]  # noqa: E731
    return field, judge(call, [Close(list(settings.values()))] if good else REFUSED, field)
