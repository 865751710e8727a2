"""What a weight is applied to in one forward pass: the inputs, and where the gradients come back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from geometry.gramian.weight_gramians import Factors
from geometry.gramian.wide import multiplied

Outwards = Callable[[Tensor], Tensor]
"""Brings gradients at a source, behind one leading axis, to `[C, ..., o]`."""


class Part(NamedTuple):
    """The part of a parameter that a product uses.

    matrix: which matrix of a stack `[E, ., .]`; None for the whole parameter.
    transposed: whether the matrix is stored as `[i, o]`.
    """

    matrix: int | None = None
    transposed: bool = False

    def within(self, whole: Tensor) -> Tensor:
        """Return a view of this part, `[..., o, i]`, of a tensor `[..., *shape]` with the parameter's shape."""
        part = whole if self.matrix is None else whole[..., self.matrix, :, :]
        return part.mT if self.transposed else part


@dataclass(frozen=True)
class Use:
    """One product with a parameter, or with a part of it, in one view.

    inputs: what the part was applied to, `[S, i]`, or the ids `[S]` of a lookup.
    source: where the gradients are taken: the product's result, or its node in the graph.
    n_outputs: how many numbers `S o` that result has.
    """

    parameter: nn.Parameter
    inputs: Tensor
    source: Tensor | GradientEdge
    n_outputs: int
    outwards: Outwards
    part: Part = Part()

    @property
    def nbytes(self) -> int:
        """Bytes of the gradients of one objective."""
        return self.n_outputs * self.parameter.element_size()

    @property
    def node(self) -> Any:
        """Where the gradients are taken, as a node of the graph."""
        return self.source.grad_fn if isinstance(self.source, Tensor) else self.source.node

    def factors(self, gradients: Tensor, rows: tuple[int, ...]) -> Factors:
        """The factors, from the gradients `[U * m, ...]` at the source; of the objectives in these rows."""
        at_outputs = self.outwards(gradients)
        at_outputs = at_outputs.reshape(len(at_outputs), -1, at_outputs.shape[-1])
        at_outputs = at_outputs.unflatten(0, (-1, len(rows)))  # [U, m, S, o]
        return Factors(self.weight, rows, self.all_inputs, multiplied(at_outputs))

    def factors_at(
        self, places: Int[Tensor, "U s"], outputs: Float[Tensor, "U m s o"], rows: tuple[int, ...]
    ) -> Factors:
        """The factors where each unit has gradients at a few of the S places alone."""
        return Factors(self.weight, rows, self.all_inputs[places], multiplied(outputs))

    @property
    def weight(self) -> Tensor:
        """The part that is used, `[o, i]`, without a graph."""
        return self.part.within(self.parameter.detach())

    @property
    def all_inputs(self) -> Tensor:
        """The inputs in the precision that products take."""
        return multiplied(self.inputs) if self.inputs.is_floating_point() else self.inputs


def as_they_are(gradients: Tensor) -> Tensor:
    """Return gradients whose last axis is that of the outputs."""
    return gradients
