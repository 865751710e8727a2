"""The empirical null: the angle between the language gradient of one token and another's visual gradient.

`chain_order` lists the pairs. Walking them keeps one language gradient and computes one other gradient at a
time, so no more than two are ever held; a token that ends one pair and starts the next is run once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from geometry._checks import Groups, partition
from geometry.cotangents import Cotangents, cotangents, token_lengths
from geometry.four_views import FourViews
from geometry.gram import Gram
from geometry.gramian.backward import IMAGE, TEXT, Forward, gradient, run_view

_AT_ONCE = 1 << 22
"""Numbers of a gradient that are multiplied at a time."""

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

    def gradient(self, objectives: Sequence[str], parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """Return the gradient of the sum of some objectives."""
        outputs = [self.image if objective in IMAGE else self.text for objective in objectives]
        return gradient(outputs, [self._seed(objective) for objective in objectives], parameters)

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
    """
    parameters = partition(groups)
    walk = [(int(i), int(j)) for i, j in pairs]
    starts = [i for i, _ in walk]
    language: list[Tensor] = []
    for (i, j), next_start in zip(walk, [*starts, None][1:], strict=True):
        language = language or unit_views(i).run().gradient(["language"], parameters)
        unit = unit_views(j).run()
        detached = _products(language, unit.gradient(["visual"], parameters), groups, metric)
        attached = _products(language, unit.gradient(["visual", "shift"], parameters), groups, metric)
        yield {name: Gram(torch.stack([detached[name], attached[name]]), NULL_NAMES) for name in groups}
        language = unit.gradient(["language"], parameters) if next_start == j else []


def _products(
    language: list[Tensor], visual: list[Tensor], groups: Groups, metric: Mapping[nn.Parameter, Tensor] | None
) -> dict[str, Float64[Tensor, "2 2"]]:
    pairs = zip(language, visual, strict=True)
    products = {name: torch.zeros(2, 2, dtype=torch.float64) for name in groups}
    for name, members in groups.items():
        for parameter in members:
            factors = None if metric is None else metric[parameter]
            products[name] += _product_of_pair(*next(pairs), factors).cpu()
    return products


def _product_of_pair(one: Tensor, two: Tensor, factors: Tensor | None) -> Float64[Tensor, "2 2"]:
    """The products of two gradients of a parameter, some of their numbers in float64 at a time."""
    product = torch.zeros(2, 2, dtype=torch.float64, device=one.device)
    for start in range(0, one.numel(), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        rows = torch.stack([one.flatten()[part], two.flatten()[part]]).double()
        moved = rows if factors is None else rows * factors.flatten()[part]
        product += moved @ rows.mT
    return product
