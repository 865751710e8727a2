"""What a step in parameter space does to every token's losses, to first order, from one forward-mode pass.

Forward mode carries one direction of parameter space through the model and gives, beside the student's logits `z`,
how fast they move, `dz`. The gradients at the logits are known in closed form (`cotangents`), so that the derivatives
of all losses of all tokens follow from this one pass, and only one vector of the size of the parameters is held:

    standard      <c_standard, dz_I>
    language      <c_language, dz_x>
    visual        <c_visual, dz_I> + <c_shift, dz_x>      in total: q* moves with the student's text view
    visual_held   <c_visual, dz_I>                        with q* held fixed
    student_vds   as `visual`, with the student's text view as both views of the teacher: it is q* then

A loss of the next step is that of responses sampled before it: sampling is not differentiated.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import embedding_bag, grid_sample
from torch.overrides import TorchFunctionMode

from geometry._checks import same_shape
from geometry.cotangents import Cotangents, cotangents
from geometry.four_views import FourViews

Output = TypeVar("Output")


@dataclass(frozen=True)
class Sensitivity:
    """The derivative of each token's losses along a direction, `[T]`: nats a unit of the direction."""

    standard: Float64[Tensor, "*T"]
    language: Float64[Tensor, "*T"]
    visual: Float64[Tensor, "*T"]
    visual_held: Float64[Tensor, "*T"]
    student_vds: Float64[Tensor, "*T"]


def push_forward(
    module: nn.Module, run: Callable[[], Output], direction: Mapping[nn.Parameter, Tensor]
) -> tuple[Output, Output]:
    """Return what `run` returns, and its derivative as the module's parameters move along `direction`.

    Fused attention has no forward-mode rule; scaled dot products are computed in plain steps here.

    Args:
        run: runs `module` and returns tensors: one, or lists and tuples of them. Nothing of it gets a graph.
        direction: of some parameters of `module`; the others stand still.

    Raises:
        ValueError: a parameter is not of `module`, its direction has another shape, or there is none.
    """
    names = {parameter: name for name, parameter in module.named_parameters()}
    _check(names, direction)
    at = {f"module.{names[p]}": p.detach() for p in direction}
    along = {f"module.{names[p]}": d.detach().to(p) for p, d in direction.items()}
    wrapped = _Run(module, run)

    def moved(parameters: dict[str, Tensor]) -> Output:
        return torch.func.functional_call(wrapped, parameters, ())

    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _LinearRules():
        return torch.func.jvp(moved, (at,), (along,))[:2]


def sensitivity(
    views: FourViews, image_tangent: Float[Tensor, "*_batch _V"], text_tangent: Float[Tensor, "*_batch _V"]
) -> Sensitivity:
    """Return the derivatives of each token's losses from logits `[T, V]` and their tangents, see `push_forward`.

    Args:
        image_tangent, text_tangent: the derivatives of the student's *logits*, finite at masked ids too.

    Raises:
        ValueError: the shapes differ, or the views mask (-inf) different ids.
    """
    same_shape(student_image=views.student_image, image_tangent=image_tangent, text_tangent=text_tangent)
    at_logits = cotangents(views)
    own = cotangents(replace(views, teacher_image=views.student_text, teacher_text=views.student_text))
    return Sensitivity(
        standard=_product(at_logits.standard, image_tangent),
        language=_product(at_logits.language, text_tangent),
        visual=_in_total(at_logits, image_tangent, text_tangent),
        visual_held=_product(at_logits.visual, image_tangent),
        student_vds=_in_total(own, image_tangent, text_tangent),
    )


def _in_total(at_logits: Cotangents, image_tangent: Tensor, text_tangent: Tensor) -> Tensor:
    return _product(at_logits.visual, image_tangent) + _product(at_logits.shift, text_tangent)


def _product(cotangent: Tensor, tangent: Tensor) -> Tensor:
    return (cotangent.double() * tangent.double()).sum(dim=-1)


def _check(names: Mapping[nn.Parameter, str], direction: Mapping[nn.Parameter, Tensor]) -> None:
    if not direction:
        raise ValueError("`direction` must hold at least one parameter, got none. Give the step of those that move.")
    for parameter, along in direction.items():
        if parameter not in names:
            raise ValueError(
                f"`direction` must hold parameters of `module`, got another of shape {tuple(parameter.shape)}."
                " Take them from module.parameters()."
            )
        if along.shape != parameter.shape:
            raise ValueError(
                f"`direction` must have the shape of its parameter, got {tuple(along.shape)} for {names[parameter]},"
                f" which has {tuple(parameter.shape)}. Reshape it."
            )


class _Linear(torch.autograd.Function):
    """A linear function of a tensor, whose derivative is the same function of the tensor's derivative."""

    @staticmethod
    def forward(value: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.function = inputs[1]

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return ctx.function(tangent)


class _LinearRules(TorchFunctionMode):
    """Gives bags of embeddings and sampling from a grid the forward-mode rule that torch lacks."""

    _PLACES = {embedding_bag: 1, grid_sample: 0}  # of the argument that they are linear in

    def __torch_function__(
        self, function: Callable, types: object, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        rest, place = dict(kwargs or {}), self._PLACES.get(function)
        if place is None or len(args) <= place:
            return function(*args, **rest)
        return _Linear.apply(args[place], lambda value: function(*args[:place], value, *args[place + 1 :], **rest))


class _Run(nn.Module):
    """A callable as the forward pass of the module that it runs, so that `functional_call` can move the parameters."""

    def __init__(self, module: nn.Module, run: Callable[[], object]) -> None:
        super().__init__()
        self.module = module
        self._run = run

    def forward(self) -> object:
        return self._run()
