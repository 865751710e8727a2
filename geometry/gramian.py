"""Exact Gram matrices of the objectives' parameter gradients, by batched backward passes.

One forward pass a view serves all units and objectives. A *unit* is a row of token weights: its gradient of
objective `k` is `sum_t weights[t] d<cotangent_k[t], logits[t]> / d theta`. Four backward passes give all
five objectives, since standard = visual + prior (see `cotangents`). Products are taken a parameter at a
time and summed over parameters in float64: one float32 sum over a whole model is off by about 1e-3 in
relative terms.

A group is a named list of parameters; the whole model is the sum over groups, `total`.
"""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from geometry._backward import Forward, four_gradients, run_views
from geometry._checks import Groups, partition
from geometry.cotangents import Cotangents

BACKWARD = ("visual", "prior", "language", "shift")
"""The objectives that get a backward pass: the first two at the image view, the last two at the text view."""

_FIVE_FROM_FOUR = (  # rows: OBJECTIVES, columns: BACKWARD
    (1.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 1.0, 0.0),
    (1.0, 0.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)


def unit_grams(
    image_logits: Forward,
    text_logits: Forward,
    cotangents: Cotangents,
    weights: Float[Tensor, "U _T"],
    groups: Groups,
    *,
    chunk: int = 4,
    batched: bool = True,
) -> dict[str, Float64[Tensor, "U 5 5"]]:
    """Return the Gram matrix of the five gradients of each unit, per parameter group, on the CPU.

    Args:
        image_logits: runs the student on the image view and returns its logits `[T, V]` at the response
            tokens, with their graph; called once. Pass the same callable twice where the views are equal.
        text_logits: the same on the text view.
        cotangents: of these tokens.
        weights: a row of token weights a unit; one-hot for a token, the loss's weights for a set of tokens.
        groups: disjoint lists of trainable parameters. One that a view does not reach has gradient 0 there.
        chunk: units a backward pass; `4 * chunk` gradients are held at a time.
        batched: run the backward passes of a chunk as one, by vmap. Turn off for operations without a
            batching rule.

    Raises:
        ValueError: a parameter stands in two groups or is frozen, a shape does not fit, or logits have no
            graph.
    """
    parameters = partition(groups)
    if chunk < 1:
        raise ValueError(f"`chunk` must be at least 1 unit, got {chunk}.")
    logits = run_views(image_logits, text_logits, cotangents, weights.shape[-1])
    grams = {name: torch.zeros(len(weights), 5, 5, dtype=torch.float64) for name in groups}
    owners = [name for name, members in groups.items() for _ in members]
    for start in range(0, len(weights), chunk):
        units = slice(start, start + chunk)
        gradients = four_gradients(logits, cotangents, weights[units], parameters, batched)
        for name, gradient in zip(owners, gradients, strict=True):
            grams[name][units] += five_from_four(_gram(gradient))
        del gradients  # or this chunk's are held while the next are computed
    return grams


def total(
    grams: Mapping[str, Float64[Tensor, "*batch m m"]], names: Iterable[str] | None = None
) -> Float64[Tensor, "*batch m m"]:
    """Sum the Gram matrices of the named groups; all of them by default."""
    chosen = list(grams) if names is None else list(names)
    if not chosen or not set(chosen) <= set(grams):
        raise ValueError(f"`names` must be groups among {sorted(grams)}, got {chosen}. Name at least one.")
    return torch.stack([grams[name] for name in chosen]).sum(dim=0)


def five_from_four(gram: Float64[Tensor, "*batch 4 4"]) -> Float64[Tensor, "*batch 5 5"]:
    """Map a Gram matrix from the order of `BACKWARD` to that of `OBJECTIVES`: standard = visual + prior."""
    expand = torch.tensor(_FIVE_FROM_FOUR, dtype=torch.float64, device=gram.device)
    return expand @ gram @ expand.mT


def unit_gradients(
    image_logits: Forward,
    text_logits: Forward,
    cotangents: Cotangents,
    weights: Float[Tensor, " _T"],
    groups: Groups,
    *,
    batched: bool = True,
) -> dict[nn.Parameter, Float[Tensor, "4 ..."]]:
    """Return the four dense gradients of one unit for each parameter, in the order of `BACKWARD`.

    Arguments are those of `unit_grams`, with one row of weights.
    """
    parameters = partition(groups)
    logits = run_views(image_logits, text_logits, cotangents, len(weights))
    gradients = four_gradients(logits, cotangents, weights.unsqueeze(0), parameters, batched)
    return {parameter: gradient[0] for parameter, gradient in zip(parameters, gradients, strict=True)}


class GradientSum:
    """The gradients of a unit that spans rollouts, added up; four numbers a parameter are held."""

    def __init__(self, groups: Groups, dtype: torch.dtype = torch.float64) -> None:
        partition(groups)
        self._groups = groups
        self._dtype = dtype
        self._sums: dict[nn.Parameter, Tensor] = {}

    def add(self, gradients: Mapping[nn.Parameter, Float[Tensor, "4 ..."]]) -> None:
        """Add what `unit_gradients` returned for the unit's tokens of one rollout."""
        for parameter, gradient in gradients.items():
            if parameter in self._sums:
                self._sums[parameter] += gradient
            else:
                self._sums[parameter] = gradient.to(self._dtype, copy=True)

    def grams(self) -> dict[str, Float64[Tensor, "5 5"]]:
        """Return the Gram matrix of the sums per group; zeros if nothing was added."""
        grams = {name: torch.zeros(5, 5, dtype=torch.float64) for name in self._groups}
        for name, members in self._groups.items():
            for parameter in filter(self._sums.__contains__, members):
                grams[name] += five_from_four(_gram(self._sums[parameter].unsqueeze(0)))[0]
        return grams


def _gram(gradients: Float[Tensor, "U k ..."]) -> Float64[Tensor, "U k k"]:
    rows = gradients.flatten(2).double()  # [U, k, n]
    return (rows @ rows.mT).cpu()
