"""The empirical null: the angle between the language gradient of one token and another's visual gradient.

`chain_order` lists the pairs. Walking them keeps one language gradient and computes one other gradient at a
time, so no more than two are ever held; a token that ends one pair and starts the next is run once. What visual gains
with q* attached is added to the gradient that is there, so that each view is gone through backward once an objective.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product, repeat

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from geometry._checks import Groups, partition
from geometry.cotangents import Cotangents, cotangents, token_lengths
from geometry.four_views import FourViews
from geometry.gram import Gram
from geometry.gramian.backward import IMAGE, TEXT, Forward, run_view
from geometry.gramian.metric import fitted
from geometry.gramian.wide import wide

_BLOCK = 1 << 14
"""Numbers that are multiplied and added in the gradients' own precision; the sums of blocks are added in float64."""
_SMALL = 1 << 16
"""Gradients of fewer numbers are joined before they are multiplied."""
_AT_ONCE = 1 << 22
"""Numbers of a gradient that are multiplied at a time."""

Whole = list[Tensor | None]
"""The gradient of a unit, parameter by parameter; None where a parameter is not reached."""

NULL_NAMES = ("language", "visual")
"""The gradients of a pair: the language gradient of the first unit, the visual one of the second."""


@dataclass(frozen=True)
class UnitViews:
    """What the gradients of one unit need: its places in a response, the student to run and the teacher's logits.

    image_logits, text_logits: run the student on a view, see `Gramian.units`.
    teacher_image, teacher_text: the teacher's logits `[n, V]` at the positions.
    positions: of the unit's n tokens, ascending.
    weights: of these tokens.
    normalised: divide each token's cotangents by the length of its standard one, see `token_lengths`.
    """

    image_logits: Forward
    text_logits: Forward
    teacher_image: Float[Tensor, "n V"]
    teacher_text: Float[Tensor, "n V"]
    positions: Int[Tensor, " n"]
    weights: Float[Tensor, " n"]
    normalised: bool = False

    def run(self) -> "UnitGradients":
        """Run the student on both views."""
        n_ids = self.teacher_image.shape[-1]
        image = run_view(IMAGE, self.image_logits, self.positions, n_ids)
        text = run_view(TEXT, self.text_logits, self.positions, n_ids)
        at_logits = cotangents(FourViews(image.detach(), text.detach(), self.teacher_image, self.teacher_text))
        weights = self.weights / token_lengths(at_logits).to(self.weights) if self.normalised else self.weights
        return UnitGradients(image, text, at_logits, weights)


@dataclass(frozen=True)
class UnitGradients:
    """The student's logits of a unit on both views, with their graphs, and the cotangents there."""

    image: Tensor
    text: Tensor
    cotangents: Cotangents
    weights: Tensor

    def gradient(self, objective: str, parameters: Sequence[nn.Parameter]) -> Whole:
        """Return the gradient of an objective."""
        return gradient(self._output(objective), self._seed(objective), parameters)

    def add_gradient(self, objective: str, parameters: Sequence[nn.Parameter], total: Whole) -> None:
        """Add the gradient of an objective to `total` in place, a parameter at a time."""
        total[:] = _apart(total)
        output, held = self._output(objective), [parameter.grad for parameter in parameters]
        try:
            for parameter, part in zip(parameters, total, strict=True):
                parameter.grad = part
            seed = self._seed(objective).to(output)
            torch.autograd.backward([output], [seed], retain_graph=True, inputs=list(parameters))
            total[:] = [parameter.grad for parameter in parameters]
        finally:
            for parameter, before in zip(parameters, held, strict=True):
                parameter.grad = before

    def _output(self, objective: str) -> Tensor:
        return self.image if objective in IMAGE else self.text

    def _seed(self, objective: str) -> Tensor:
        cotangent: Tensor = getattr(self.cotangents, objective)
        return self.weights.to(cotangent).unsqueeze(-1) * cotangent


def null_grams(
    pairs: Int[np.ndarray | Tensor, "pairs 2"] | Sequence[tuple[int, int]],
    unit_views: Callable[[int], UnitViews],
    groups: Groups,
    *,
    metric: Mapping[nn.Parameter, Tensor] | None = None,
) -> Iterator[dict[str, Gram]]:
    """Yield for each pair (i, j), per group, two Gram matrices `[2, 2, 2]` of i's language and j's visual gradient.

    The first has the visual gradient with q* held fixed (detached), the second with q* following (attached).

    Args:
        pairs: unit numbers, in the order of `chain_order`.
        unit_views: gives what a unit needs, by its number.
        groups: disjoint lists of trainable parameters.
        metric: of the inner products, see `Gramian`.

    Raises:
        ValueError: a parameter stands in two groups or is frozen, the metric does not fit, or logits have no graph.
    """
    parameters = partition(groups)
    metric = None if metric is None else fitted(metric, parameters)
    walk = [(int(i), int(j)) for i, j in pairs]
    starts = [i for i, _ in walk]
    language: Whole = []
    for (i, j), next_start in zip(walk, [*starts, None][1:], strict=True):
        language = language or unit_views(i).run().gradient("language", parameters)
        unit = unit_views(j).run()
        visual = unit.gradient("visual", parameters)
        detached = _products(language, visual, groups, metric)
        unit.add_gradient("shift", parameters, visual)
        attached = _products(language, visual, groups, metric)
        del visual  # before another gradient is made
        yield {name: Gram(torch.stack([detached[name], attached[name]]), NULL_NAMES) for name in groups}
        language = unit.gradient("language", parameters) if next_start == j else []


def gradient(output: Tensor, seed: Tensor, parameters: Sequence[nn.Parameter]) -> Whole:
    """Return the gradient of `<seed, output>`; keep the graph."""
    return list(torch.autograd.grad(output, parameters, seed.to(output), retain_graph=True, allow_unused=True))


def _apart(gradients: Whole) -> Iterator[Tensor | None]:
    """The gradients, each in memory of its own that can be added to."""
    seen = set[int]()
    for one in gradients:
        if one is None:
            yield None
            continue
        place = one.untyped_storage().data_ptr()
        is_own = place not in seen and one.is_contiguous()
        yield one if is_own else one.clone(memory_format=torch.contiguous_format)
        seen.add(place)


def _products(
    language: Whole, visual: Whole, groups: Groups, metric: Mapping[nn.Parameter, Tensor] | None
) -> dict[str, Float64[Tensor, "2 2"]]:
    products, start = {}, 0
    for name, members in groups.items():
        part = slice(start, start := start + len(members))
        factors = None if metric is None else [metric[parameter] for parameter in members]
        rows = {place: _filled(whole[part], members) for place, whole in enumerate((language, visual))}
        products[name] = _gram({place: row for place, row in rows.items() if row}, factors, members[0].device).cpu()
    return products


def _filled(gradients: Whole, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The gradients of a group with zeros for the parameters that are not reached; nothing where none is."""
    if all(one is None for one in gradients):
        return []
    return [torch.zeros_like(p) if one is None else one for one, p in zip(gradients, parameters, strict=True)]


def _gram(
    rows: Mapping[int, Sequence[Tensor]], factors: Sequence[Tensor] | None, device: torch.device
) -> Float64[Tensor, "2 2"]:
    """The products of gradients over some parameters, by their places; 0 for a place without one."""
    gram = torch.zeros(2, 2, dtype=torch.float64, device=device)
    metric = repeat(None) if factors is None else _pieces(factors)
    for vectors, factor in zip(zip(*map(_pieces, rows.values()), strict=True), metric, strict=False):
        moved = vectors if factor is None else [vector * factor.to(vector) for vector in vectors]
        for (first, one), (second, other) in product(zip(rows, moved, strict=True), zip(rows, vectors, strict=True)):
            if first <= second:
                gram[first, second] += _dot(one, other)
    gram[1, 0] = gram[0, 1]
    return gram


def _pieces(gradients: Sequence[Tensor]) -> Iterator[Float[Tensor, " n"]]:
    """The numbers of some gradients, some at a time in float32 or better: small ones joined, large ones cut."""
    small = [one.flatten() for one in gradients if one.numel() < _SMALL]
    large = [one.flatten() for one in gradients if one.numel() >= _SMALL]
    for numbers in [*([torch.cat(small)] if small else []), *large]:
        yield from map(wide, numbers.split(_AT_ONCE))


def _dot(one: Float[Tensor, " n"], two: Float[Tensor, " n"]) -> Float64[Tensor, ""]:
    """The product of two vectors, in float64 across blocks: over millions of numbers a float32 sum is off by 1e-3."""
    whole = len(one) - len(one) % _BLOCK
    blocks = torch.linalg.vecdot(one[:whole].view(-1, _BLOCK), two[:whole].view(-1, _BLOCK))
    return blocks.double().sum() + torch.dot(one[whole:], two[whole:]).double()
