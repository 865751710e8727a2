"""Inner products of the gradients of wide weights, estimated from a few random combinations of their columns.

The inner product of two gradients `G, H` of a weight `[o, i]` is the trace of `G^T H`. With `Omega` `[i, R]` of random
signs over the root of R, `<G Omega, H Omega>` is Hutchinson's estimate of that trace (arXiv:2010.09649, Section 2):
unbiased, as the mean of `Omega Omega^T` is the identity, and with a variance of at most `2 |G|^2 |H|^2 / R`. All units
and both views share the `Omega` of a weight, so that products between views are unbiased, too. A norm is that of
`G Omega`: no squared norm comes out negative. Of the factors `B^T A` (see `weight_gramians`) the inputs become
`A Omega`, and `[o, R]` stands in for `[o, i]` wherever gradients are formed.

Exact stay weights that are no wider than R; a weight that is looked up, as an embedding that also is the head; one
whose gradient a unit has at its own tokens alone, as in the last layer, where products of factors are cheap; and all
parameters without factors.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Int8
from torch import Tensor, nn

from geometry.gramian.uses import Part
from geometry.gramian.weight_gramians import Factors
from geometry.gramian.wide import wide_product

HELD_BYTES = 1 << 28
"""Of signs that are kept for the next chunk; those beyond are drawn again."""


class Sketch:
    """The random combinations of one model's weights: the same for every unit, view, chunk and device.

    Args:
        n_columns: R, combinations of each weight's columns.
        seed: with a parameter's name it determines the signs.
        names: of the parameters.

    Raises:
        ValueError: `n_columns` is below 1.
    """

    def __init__(self, n_columns: int, seed: int, names: Mapping[nn.Parameter, str]) -> None:
        if n_columns < 1:
            raise ValueError(f"`sketch` must be at least 1 column, got {n_columns}.")
        self._n_columns, self._seed, self._names = n_columns, seed, names
        self._held: dict[tuple[str, torch.device], Tensor] = {}

    @classmethod
    def of_model(cls, model: nn.Module, parameters: Sequence[nn.Parameter], n_columns: int, seed: int) -> "Sketch":
        """Return the combinations for some parameters, by their names; one that is not the model's by its place."""
        places = {parameter: str(place) for place, parameter in enumerate(parameters)}
        return cls(n_columns, seed, places | {parameter: name for name, parameter in model.named_parameters()})

    def sketched(self, parameter: nn.Parameter, part: Part, uses: Sequence[Factors]) -> Sequence[Factors]:
        """Return the factors of all uses of a part of a parameter, sketched; as they are where products stay exact."""
        weight, width = uses[0].weight, uses[0].weight[0].numel()
        if width <= self._n_columns or any(use.is_lookup for use in uses) or all(_at_own(use) for use in uses):
            return uses
        signs = self._signs(f"{self._names[parameter]} {part.matrix}", width, weight.device)
        stand_in = weight.new_empty(()).expand(len(weight), self._n_columns)  # of which the shape alone is asked
        combined = (self._combined(use.inputs, signs) for use in uses)
        return [
            replace(use, weight=stand_in, inputs=inputs, every=None) for use, inputs in zip(uses, combined, strict=True)
        ]

    def _combined(self, inputs: Tensor, signs: Int8[Tensor, "i R"]) -> Tensor:
        return (wide_product(inputs, signs.to(inputs.dtype)) * self._n_columns**-0.5).to(inputs.dtype)

    def _signs(self, name: str, width: int, device: torch.device) -> Int8[Tensor, "i R"]:
        key = (name, device)
        if key in self._held:
            return self._held[key]
        signs = random_signs(name, width, self._n_columns, self._seed).to(device)
        if sum(held.nbytes for held in self._held.values()) + signs.nbytes <= HELD_BYTES:
            self._held[key] = signs
        return signs


def random_signs(name: str, width: int, n_columns: int, seed: int) -> Int8[Tensor, "i R"]:
    """Return 1 and -1 at random, determined by the name and the seed; drawn on the CPU."""
    digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=7).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest, "big"))
    bits = torch.randint(0, 2, (width, n_columns), generator=generator, dtype=torch.int8, device="cpu")
    return 2 * bits - 1


def _at_own(use: Factors) -> bool:
    """Whether each unit has inputs of its own: those at the few positions where it has a gradient."""
    return use.inputs.ndim == 3
