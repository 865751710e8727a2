"""Inner products in which each entry of a gradient has a factor of its own, such as that in which Adam steps."""

import math
from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor, nn


def adam_metric(
    second_moments: Mapping[nn.Parameter, Tensor], eps: float = 1e-8
) -> dict[nn.Parameter, Float[Tensor, "..."]]:
    """Return `1 / (sqrt(v) + eps)` for each parameter: the inner product in which Adam's step is the steepest one.

    Args:
        second_moments: Adam's running means of squared gradients, bias-corrected.
        eps: Adam's.

    Raises:
        ValueError: eps or a second moment is negative or not finite, or both are 0 at some entry: no inner product has
            such a factor.
    """
    if not 0.0 <= eps < math.inf:
        raise ValueError(f"`eps` must be at least 0 and finite, got {eps}. Adam's is 1e-8 by default.")
    for moment in second_moments.values():
        _refuse_outside(moment, "second_moments", "Give the running means of squared gradients.")
    factors = {parameter: 1.0 / (moment.sqrt() + eps) for parameter, moment in second_moments.items()}
    for factor in factors.values():
        _refuse_outside(factor, "1 / (sqrt(second_moments) + eps)", "Give an `eps` above 0.")
    return factors


def fitted(metric: Mapping[nn.Parameter, Tensor], parameters: Sequence[nn.Parameter]) -> dict[nn.Parameter, Tensor]:
    """Return the metric of the parameters that are measured.

    Raises:
        ValueError: a parameter has none, or one of another shape, negative or not finite.
    """
    for parameter in parameters:
        shape = tuple(metric[parameter].shape) if parameter in metric else None
        if shape != tuple(parameter.shape):
            raise ValueError(
                f"`metric` must have the shape of every parameter, got {shape} for {tuple(parameter.shape)}. "
                "Give the optimizer's state of the model that is measured."
            )
        _refuse_outside(metric[parameter], "metric", "Else it belongs to no inner product.")
    return {parameter: metric[parameter] for parameter in parameters}


def _refuse_outside(numbers: Tensor, name: str, way_out: str) -> None:
    """Refuse numbers that are negative or not finite."""
    bad = ~((numbers >= 0) & (numbers < math.inf))
    if bad.any():
        raise ValueError(f"`{name}` must be at least 0 and finite, got {float(numbers[bad][0])}. {way_out}")
