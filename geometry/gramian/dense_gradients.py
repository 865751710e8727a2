"""Gradients of units that span rollouts: held whole, added up, and multiplied at the end.

What is held is four gradients a unit, `16 U P` bytes in float32 for U units and P parameters: every bin of a small
model at once, of a large one a bin at a time.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from geometry._checks import Groups, partition
from geometry.gram import BASIS, RESOLUTION, Gram
from geometry.gramian.backward import IMAGE, TEXT, ProbedResponse, check_weights, gradients, run_view
from geometry.gramian.metric import fitted
from geometry.gramian.seeds import Seeds


def unit_gradients(
    response: ProbedResponse, weights: Float[Tensor, "U _n"], groups: Groups, *, batched: bool = True
) -> dict[nn.Parameter, Float[Tensor, "U 4 ..."]]:
    """Return the dense gradients `BASIS` of each unit for each parameter.

    Arguments are those of `Gramian.units`.
    """
    check_weights(weights, response)
    parameters = partition(groups)
    dense = {parameter: parameter.new_zeros(len(weights), len(BASIS), *parameter.shape) for parameter in parameters}
    weights = weights.cpu()
    columns = weights.any(dim=0).nonzero().squeeze(1)
    if not len(columns):
        return dense
    seeds = Seeds(weights[:, columns], response.cotangents, columns, torch.zeros(len(weights), dtype=torch.bool))
    for objectives, forward in ((IMAGE, response.image_logits), (TEXT, response.text_logits)):
        logits = run_view(objectives, forward, response.positions[columns], response.n_ids)
        pulled = gradients(logits, seeds.of_view(objectives, logits), parameters, batched)
        first = BASIS.index(objectives[0])
        for parameter, gradient in zip(parameters, pulled, strict=True):
            if gradient is not None:
                rows = gradient.unflatten(0, (len(weights), len(objectives)))
                dense[parameter][:, first : first + len(objectives)] = rows
    return dense


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
        parameters = partition(groups)
        self._groups = groups
        self._metric = None if metric is None else fitted(metric, parameters)
        self._dtype = dtype
        self._sums: dict[nn.Parameter, Tensor] = {}

    def add(self, gradients: Mapping[nn.Parameter, Float[Tensor, "U 4 ..."]]) -> None:
        """Add what `unit_gradients` returned for the units' tokens of one rollout."""
        for parameter, gradient in gradients.items():
            if parameter in self._sums:
                self._sums[parameter] += gradient
            else:
                self._sums[parameter] = gradient.to(self._dtype, copy=True)

    def cross_grams(self) -> dict[str, Float64[Tensor, "U 4 U 4"]]:
        """Return per group the products of every unit's basis with every other's; none if nothing was added."""
        grams: dict[str, Tensor] = {}
        for name, members in self._groups.items():
            for parameter in filter(self._sums.__contains__, members):
                rows = self._sums[parameter].flatten(2).flatten(0, 1).double()  # [U 4, n]
                moved = rows if self._metric is None else rows * self._metric[parameter].flatten()
                gram = (moved @ rows.mT).cpu()
                grams[name] = grams[name] + gram if name in grams else gram
        n = len(BASIS)
        return {name: gram.unflatten(0, (-1, n)).unflatten(2, (-1, n)) for name, gram in grams.items()}

    def grams(self) -> dict[str, Gram]:
        """Return the Gram matrices `[U, 4, 4]` per group."""
        units = {name: torch.einsum("ukul->ukl", gram) for name, gram in self.cross_grams().items()}
        return {name: Gram(gram, resolution=self._resolution) for name, gram in units.items()}

    @property
    def _resolution(self) -> float:
        """What rounding leaves of the squared length of a sum: the gradients were made in their parameters' dtype."""
        made_in = [torch.finfo(parameter.dtype).eps for parameter in self._sums]
        return max(RESOLUTION, (256 * max(made_in)) ** 2) if made_in else RESOLUTION
