"""The empirical null: the angle between the language gradient of one token and another's visual gradient.

`chain_order` lists the pairs. Walking them keeps one language gradient and computes one other gradient at a
time, so no more than two are ever held; a token that ends one pair and starts the next is run once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from geometry._backward import IMAGE, TEXT, Forward, gradient, run_view
from geometry._checks import Groups, partition
from geometry.angles import angles_deg
from geometry.cotangents import Cotangents
from geometry.gramian import total


@dataclass(frozen=True)
class TokenViews:
    """What the gradients of one token need: a forward pass a view, and the token's place in it."""

    image_logits: Forward
    """Runs the student on the image view, see `Gramian.units`."""
    text_logits: Forward
    """Runs the student on the text view."""
    cotangents: Cotangents
    """The cotangents of these `T` tokens."""
    weights: Float[Tensor, " T"]
    """1 at the token, 0 elsewhere."""

    @property
    def positions(self) -> Int[Tensor, " n"]:
        """Where the token stands."""
        return self.weights.nonzero().squeeze(1)

    def image(self) -> Tensor:
        """Run the image view."""
        return run_view(IMAGE, self.image_logits, self.positions, self.cotangents)

    def text(self) -> Tensor:
        """Run the text view."""
        return run_view(TEXT, self.text_logits, self.positions, self.cotangents)

    def seed(self, objective: str) -> Tensor:
        """Return the cotangent of an objective at this token alone, `[n, V]`."""
        cotangent: Tensor = getattr(self.cotangents, objective)
        return (self.weights.to(cotangent).unsqueeze(-1) * cotangent)[self.positions]


def null_products(
    pairs: Int[np.ndarray | Tensor, "pairs 2"] | Sequence[tuple[int, int]],
    token_views: Callable[[int], TokenViews],
    groups: Groups,
) -> Iterator[dict[str, Float64[Tensor, "2 2 2"]]]:
    """Yield for each pair (i, j), per group, the Gram matrices of (language of i, visual of j).

    The first matrix has the visual gradient with q* held fixed (detached), the second visual + shift
    (attached).

    Args:
        pairs: token numbers, in the order of `chain_order`.
        token_views: gives the views of a token by its number.
        groups: disjoint lists of trainable parameters.
    """
    parameters = partition(groups)
    walk = [(int(i), int(j)) for i, j in pairs]
    starts = [i for i, _ in walk]
    held: list[Tensor] = []
    for (i, j), next_start in zip(walk, [*starts, None][1:], strict=True):
        if not held:
            first = token_views(i)
            held = gradient([first.text()], [first.seed("language")], parameters)
        token = token_views(j)
        image, text = token.image(), token.text()
        detached = _pair_grams(held, gradient([image], [token.seed("visual")], parameters), groups)
        both_seeds = [token.seed("visual"), token.seed("shift")]
        attached = _pair_grams(held, gradient([image, text], both_seeds, parameters), groups)
        held = gradient([text], [token.seed("language")], parameters) if next_start == j else []
        yield {name: torch.stack([detached[name], attached[name]]) for name in groups}


def null_angles_deg(
    products: Mapping[str, Float64[Tensor, "2 2 2"]], names: Iterable[str] | None = None
) -> Float64[Tensor, "2"]:
    """Return the angle (detached, attached) of one pair over the named groups; nan where a gradient is 0."""
    return angles_deg(total(products, names))[:, 0, 1]


def _pair_grams(language: list[Tensor], visual: list[Tensor], groups: Groups) -> dict[str, Float64[Tensor, "2 2"]]:
    pairs = zip(language, visual, strict=True)
    grams = {name: torch.zeros(2, 2, dtype=torch.float64) for name in groups}
    for name, members in groups.items():
        for _ in members:
            rows = torch.stack(next(pairs)).flatten(1).double()  # [2, n]
            grams[name] += (rows @ rows.mT).cpu()
    return grams
