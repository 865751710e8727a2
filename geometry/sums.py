"""Gradients of units that span rollouts: held whole and added up, four numbers a parameter."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from geometry._backward import BACKWARD, IMAGE, TEXT, Forward, check_weights, gradients, run_view, seeds
from geometry._checks import Groups, partition
from geometry.cotangents import Cotangents
from geometry.gramian import five_from_four


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

    Arguments are those of `Gramian.units`, with one row of weights.
    """
    check_weights(weights, cotangents)
    parameters = partition(groups)
    positions = weights.nonzero().squeeze(1)
    found = {parameter: parameter.new_zeros(len(BACKWARD), *parameter.shape) for parameter in parameters}
    if not len(positions):
        return found
    for objectives, forward in ((IMAGE, image_logits), (TEXT, text_logits)):
        logits = run_view(objectives, forward, positions, cotangents)
        cots = seeds(cotangents, objectives, weights.unsqueeze(0), positions, logits)
        first = BACKWARD.index(objectives[0])
        for parameter, gradient in zip(parameters, gradients(logits, cots, parameters, batched), strict=True):
            if gradient is not None:
                found[parameter][first : first + len(objectives)] = gradient
    return found


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
                rows = self._sums[parameter].flatten(1).double()  # [4, n]
                grams[name] += five_from_four((rows @ rows.mT).cpu())
        return grams
