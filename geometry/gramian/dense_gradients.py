"""Gradients of units that span rollouts: held whole, added up, and multiplied at the end.

What is held is four gradients a unit, `16 U P` bytes in float32 for U units and P parameters: every bin of a small
model at once, of a large one a bin at a time.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from geometry._checks import Groups, partition
from geometry.cotangents import Cotangents
from geometry.gramian.backward import BACKWARD, IMAGE, TEXT, Forward, check_weights, gradients, run_view, seeds
from geometry.gramian.engine import FIVE_FROM_FOUR


def unit_gradients(
    image_logits: Forward,
    text_logits: Forward,
    cotangents: Cotangents,
    weights: Float[Tensor, "U _T"],
    groups: Groups,
    *,
    batched: bool = True,
) -> dict[nn.Parameter, Float[Tensor, "U 4 ..."]]:
    """Return the four dense gradients of each unit for each parameter, in the order of `BACKWARD`.

    Arguments are those of `Gramian.units`.
    """
    check_weights(weights, cotangents)
    parameters = partition(groups)
    found = {parameter: parameter.new_zeros(len(weights), len(BACKWARD), *parameter.shape) for parameter in parameters}
    positions = weights.any(dim=0).nonzero().squeeze(1)
    if not len(positions):
        return found
    for objectives, forward in ((IMAGE, image_logits), (TEXT, text_logits)):
        logits = run_view(objectives, forward, positions, cotangents.visual.shape[-1])
        cots = seeds(cotangents, objectives, weights, positions, logits)
        first = BACKWARD.index(objectives[0])
        for parameter, gradient in zip(parameters, gradients(logits, cots, parameters, batched), strict=True):
            if gradient is not None:
                rows = gradient.unflatten(0, (len(weights), len(objectives)))
                found[parameter][:, first : first + len(objectives)] = rows
    return found


class DenseGradients:
    """The gradients of units that span rollouts, added up over rollouts; `4 U` numbers a parameter are held.

    metric: of the inner products, see `Gramian`.
    """

    def __init__(
        self,
        groups: Groups,
        dtype: torch.dtype = torch.float64,
        *,
        metric: Mapping[nn.Parameter, Tensor] | None = None,
    ) -> None:
        partition(groups)
        self._groups = groups
        self._metric = metric
        self._dtype = dtype
        self._sums: dict[nn.Parameter, Tensor] = {}

    def add(self, gradients: Mapping[nn.Parameter, Float[Tensor, "U 4 ..."]]) -> None:
        """Add what `unit_gradients` returned for the units' tokens of one rollout."""
        for parameter, gradient in gradients.items():
            if parameter in self._sums:
                self._sums[parameter] += gradient
            else:
                self._sums[parameter] = gradient.to(self._dtype, copy=True)

    def cross_grams(self) -> dict[str, Float64[Tensor, "U 5 U 5"]]:
        """Return per group the products of every unit and objective with every other; none if nothing was added."""
        grams: dict[str, Tensor] = {}
        for name, members in self._groups.items():
            for parameter in filter(self._sums.__contains__, members):
                rows = self._sums[parameter].flatten(2).flatten(0, 1).double()  # [U 4, n]
                moved = rows if self._metric is None else rows * self._metric[parameter].flatten()
                gram = (moved @ rows.mT).cpu()
                grams[name] = grams[name] + gram if name in grams else gram
        return {name: _five_by_five(gram) for name, gram in grams.items()}

    def grams(self) -> dict[str, Float64[Tensor, "U 5 5"]]:
        """Return the Gram matrix of each unit per group."""
        return {name: torch.einsum("ukul->ukl", gram) for name, gram in self.cross_grams().items()}


def _five_by_five(gram: Float64[Tensor, "n n"]) -> Float64[Tensor, "U 5 U 5"]:
    expand = torch.tensor(FIVE_FROM_FOUR, dtype=gram.dtype)
    units = len(gram) // expand.shape[1]
    return torch.einsum("ij,ujvk,lk->uivl", expand, gram.reshape(units, 4, units, 4), expand)
