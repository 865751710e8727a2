"""Inner products in which each entry of a gradient has a factor of its own, such as that in which Adam steps."""

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
    """
    return {parameter: 1.0 / (moment.sqrt() + eps) for parameter, moment in second_moments.items()}


def fitted(metric: Mapping[nn.Parameter, Tensor], parameters: Sequence[nn.Parameter]) -> dict[nn.Parameter, Tensor]:
    """Return the metric of the parameters that are measured.

    Raises:
        ValueError: a parameter has none, or one of another shape.
    """
    for parameter in parameters:
        found = tuple(metric[parameter].shape) if parameter in metric else None
        if found != tuple(parameter.shape):
            raise ValueError(
                f"`metric` must have the shape of every parameter, got {found} for {tuple(parameter.shape)}. "
                "Give the optimizer's state of the model that is measured."
            )
    return {parameter: metric[parameter] for parameter in parameters}
