"""Inner products of weight gradients from their factors.

The gradient of a weight that is used as `y_s = W a_s` is `sum_s b_s a_s^T`, with `b_s` the gradient at `y_s`: the
matrix `B^T A`. The inner product of two such gradients is `<B^T A, B'^T A'> = <(A' A^T) B, B'>`: taken from the
gradients, or without them by way of the products of the inputs, whichever is cheaper. A weight with several uses (a
tied embedding and head, a module called twice) has the sum of their gradients, so that its products run over all
pairs of uses. An embedding is a use whose `a_s` is the one-hot vector of an id, seen from the other side: its
gradient is `sum_s e_id(s) b_s^T`.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from geometry.gramian.wide import is_narrow, wide, wide_product, wide_zeros

GRADIENT_BYTES = 1 << 27
"""Of the gradients of one weight that are formed at once: of some units, or of some rows for one unit."""
_BLOCK = 1 << 14  # numbers that are multiplied and added in the gradients' own precision


@dataclass(frozen=True)
class Factors:
    """The factors of one use of a weight, for U units and the m objectives of a view.

    weight: as `[o, i]`: a parameter, one matrix of a stack, or a transpose.
    rows: the places of these objectives in the order of `BASIS`.
    inputs: `a`, `[S, i]`, or `[U, S, i]` where each unit has its own positions; the ids of an embedding, `[S]` or
        `[U, S]`.
    outputs: `b`, `[U, m, S, o]`.
    every: the inputs of which these are the first rows, so that products of inputs are shared between blocks of units.
    """

    weight: Tensor
    rows: tuple[int, ...]
    inputs: Float[Tensor, "*U S i"] | Int[Tensor, "*U S"]
    outputs: Float[Tensor, "U m S o"]
    every: Tensor | None = None

    @property
    def is_lookup(self) -> bool:
        return not self.inputs.is_floating_point()

    @property
    def by_unit(self) -> Tensor:
        """The inputs with an axis of units, of length 1 where they are shared."""
        shared = self.inputs.ndim == (1 if self.is_lookup else 2)
        return self.inputs.unsqueeze(0) if shared else self.inputs

    @property
    def span(self) -> slice:
        """The rows as a slice: a view's objectives stand together."""
        return slice(self.rows[0], self.rows[-1] + 1)

    def of_units(self, units: slice) -> "Factors":
        """The factors of some of the units."""
        inputs = self.inputs if len(self.by_unit) == 1 else self.inputs[units]
        return Factors(self.weight, self.rows, inputs, self.outputs[units], self.every)

    def part(self, rows: slice) -> "Factors":
        """The factors of some rows of the weight; a lookup of other rows has gradient 0."""
        weight = self.weight[rows]
        if not self.is_lookup:
            return Factors(weight, self.rows, self.inputs, self.outputs[..., rows], self.every)
        ids = self.inputs - rows.start
        inside = (ids >= 0) & (ids < len(weight))
        outputs = self.outputs * inside.reshape(-1, 1, inside.shape[-1], 1)
        return Factors(weight, self.rows, ids.clamp(0, len(weight) - 1), outputs)


def rows_below(weights: Sequence[Tensor]) -> Tensor:
    """Return what has the shape of weights one below the other; it takes no memory and holds none of their numbers."""
    first = weights[0]
    n_rows, shape = sum(map(len, weights)), first.shape[1:]
    return first.flatten()[:1].expand(n_rows, shape.numel()).unflatten(1, shape)


class InputProducts:
    """Products of inputs with inputs, which all weights that are applied to the same inputs share."""

    def __init__(self) -> None:
        self._held: dict[Hashable, tuple[Tensor, Tensor, Tensor]] = {}  # with the inputs, whose places stay theirs

    def between(self, first: Factors, second: Factors) -> Float[Tensor, "_U S T"]:
        """Return `A A'^T`."""
        if first.every is None or second.every is None:
            return wide_product(first.by_unit, second.by_unit.mT)
        one, two = first.every, second.every
        key = place_of(one), place_of(two)
        if key not in self._held:
            if len(self._held) == _HELD:
                del self._held[next(iter(self._held))]
            self._held[key] = one, two, wide_product(one, two.mT)
        return self._held[key][2][None, : len(first.inputs), : len(second.inputs)]


def place_of(tensor: Tensor) -> Hashable:
    """Return what tells a tensor apart from all others that are alive."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


_HELD = 12  # products of inputs: those of about one layer


def weight_grams(
    uses: Sequence[Factors], metric: Tensor | None = None, products: InputProducts | None = None
) -> Float64[Tensor, "U 4 4"]:
    """Return the Gram matrix of one weight's gradients over all its uses, in the order of `BASIS`.

    metric: a factor for each entry of the weight; the gradients themselves are needed for it.
    products: of inputs, made before for other weights.
    """
    if metric is None and _cost_of_products(uses) < _cost_of_gradients(uses):
        return _grams_of_products(uses, products or InputProducts())
    n_units, (n_rows, *row) = len(uses[0].outputs), uses[0].weight.shape
    bytes_a_row = 4 * math.prod(row) * max(uses[0].outputs.element_size(), 4)
    units_at_once = max(GRADIENT_BYTES // (bytes_a_row * n_rows), 1)
    rows_at_once = min(max(GRADIENT_BYTES // bytes_a_row, 1), n_rows)
    grams = []
    for start in range(0, n_units, units_at_once):
        chunk = [use.of_units(slice(start, start + units_at_once)) for use in uses]
        blocks = (slice(row, min(row + rows_at_once, n_rows)) for row in range(0, n_rows, rows_at_once))
        grams.append(torch.stack([_gram_of_block(chunk, rows, metric) for rows in blocks]).sum(0))
    return torch.cat(grams)


def _gram_of_block(uses: Sequence[Factors], rows: slice, metric: Tensor | None) -> Float64[Tensor, "U 4 4"]:
    """The part of the Gram matrices that some rows of a weight make."""
    whole = rows == slice(0, len(uses[0].weight))
    gradients = weight_gradients(uses if whole else [use.part(rows) for use in uses])
    return grams_of_rows(gradients, None if metric is None else metric[rows])


def grams_of_rows(
    gradients: Float[Tensor, "U 4 n"], metric: Float[Tensor, "..."] | None = None
) -> Float64[Tensor, "U 4 4"]:
    """Return `G D G^T` of each unit, D the diagonal metric, the identity by default."""
    gradients = wide(gradients)
    moved = gradients if metric is None else gradients * metric.flatten().to(gradients)
    return _inner_products(moved, gradients)


def _inner_products(one: Float[Tensor, "U m n"], two: Float[Tensor, "U p n"]) -> Float64[Tensor, "U m p"]:
    """Products of rows, in float64 across blocks: over millions of numbers a float32 sum is off by 1e-3."""
    if one.shape[-1] < _BLOCK:
        return (one @ two.mT).double()
    whole = one.shape[-1] - one.shape[-1] % _BLOCK
    rows = [rows[..., :whole].unflatten(-1, (-1, _BLOCK)).transpose(1, 2) for rows in (one, two)]  # [U, n / B, m, B]
    blocks = (rows[0] @ rows[1].mT).double().sum(1)
    return blocks if whole == one.shape[-1] else blocks + (one[..., whole:] @ two[..., whole:].mT).double()


def weight_gradients(uses: Sequence[Factors]) -> Float[Tensor, "U 4 n"]:
    """Return the gradients themselves, flattened; 0 for the objectives of a view that does not use the weight."""
    outputs, shape = uses[0].outputs, uses[0].weight.shape
    total = wide_zeros(outputs, len(outputs), 4, shape.numel())
    for use in uses:
        total[:, use.span] += (_lookup_gradient(use) if use.is_lookup else _linear_gradient(use)).flatten(2)
    return total


def _linear_gradient(use: Factors) -> Float[Tensor, "U m o i"]:
    return wide_product(use.outputs.mT, use.by_unit.unsqueeze(1))


def _lookup_gradient(use: Factors) -> Float[Tensor, "U m V d"]:
    outputs = wide(use.outputs)
    ids = use.by_unit[:, None, :, None].expand_as(outputs)
    return outputs.new_zeros(*outputs.shape[:2], *use.weight.shape).scatter_add_(2, ids, outputs)


def _grams_of_products(uses: Sequence[Factors], products: InputProducts) -> Float64[Tensor, "U 4 4"]:
    if len(uses) == 2 and [use.span for use in uses] == [slice(0, 2), slice(2, 4)]:
        one, two = uses
        apart = _product(one, two, products)
        upper = torch.cat([_product(one, one, products), apart], dim=2)
        return torch.cat([upper, torch.cat([apart.mT, _product(two, two, products)], dim=2)], dim=1)
    outputs = uses[0].outputs
    gram = outputs.new_zeros(len(outputs), 4, 4, dtype=torch.float64)
    for number, first in enumerate(uses):
        for second in uses[number:]:
            product = _product(first, second, products)
            gram[:, first.span, second.span] += product
            if first is not second:
                gram[:, second.span, first.span] += product.mT
    return gram


def _product(first: Factors, second: Factors, products: InputProducts) -> Float64[Tensor, "U m p"]:
    if first.is_lookup and second.is_lookup:
        alike = first.by_unit.unsqueeze(-1) == second.by_unit.unsqueeze(-2)
        return _product_of_moved(first, second, alike.to(first.outputs.dtype))
    if first.is_lookup:
        return _product_with_lookup(first, second)
    if second.is_lookup:
        return _product_with_lookup(second, first).mT
    inputs = products.between(first, second)
    if is_narrow(first.outputs):
        return _product_of_outputs(first, second, inputs)
    return _product_of_moved(first, second, inputs)


def _product_of_moved(first: Factors, second: Factors, inputs: Float[Tensor, "_U S T"]) -> Float64[Tensor, "U m p"]:
    """The outputs of one use, moved to the positions of the other's, times those."""
    n_units, m, _, o = first.outputs.shape
    n_places = inputs.shape[2]
    if len(inputs) == 1 and not is_narrow(first.outputs):
        every = inputs.mT.expand(n_units * m, n_places, inputs.shape[1])
        moved = every @ first.outputs.reshape(n_units * m, -1, o)
    else:
        moved = wide_product(inputs.mT.unsqueeze(1), first.outputs)  # [U, m, T, o]
    rows = moved.view(n_units, m, n_places * o)
    return _inner_products(rows, wide(second.outputs).reshape(n_units, -1, n_places * o))


def _product_of_outputs(first: Factors, second: Factors, inputs: Float[Tensor, "_U S T"]) -> Float64[Tensor, "U m p"]:
    """The products of inputs times those of outputs, neither of them rounded: a moved output would be."""
    outputs = wide_product(first.outputs.flatten(1, 2), second.outputs.flatten(1, 2).mT)  # [U, m S, p T]
    outputs = outputs.unflatten(1, (-1, inputs.shape[1])).unflatten(3, (-1, inputs.shape[2]))  # [U, m, S, p, T]
    return (outputs * inputs[:, None, :, None, :]).sum(-1).double().sum(2)


def _product_with_lookup(lookup: Factors, linear: Factors) -> Float64[Tensor, "U m p"]:
    """<sum_s e_id(s) b_s^T, sum_t c_t a_t^T> = sum_{s,t} c_t[id(s)] (b_s . a_t)."""
    right = wide_product(lookup.outputs, linear.by_unit.unsqueeze(1).mT)  # [U, m, S, T]
    left = linear.outputs.take_along_dim(lookup.by_unit[:, None, None, :], dim=-1)  # [U, p, T, S]
    return _inner_products(right.flatten(2), wide(left).mT.flatten(2))


# A number that is read or written costs as much as this many multiplications.
_TRAFFIC = 16


def _cost_of_gradients(uses: Sequence[Factors]) -> int:
    """Multiplications a unit: of the gradients, which are written, added up and read, and of their products."""
    made = sum(use.outputs.shape[1] * use.outputs.shape[2] for use in uses if not use.is_lookup)
    return uses[0].weight.numel() * (made + 16 + 12 * _TRAFFIC)


def _cost_of_products(uses: Sequence[Factors]) -> int:
    """Multiplications a unit: for each pair of uses, the outputs moved from the positions of one to the other's."""
    pairs = ((first, second) for number, first in enumerate(uses) for second in uses[number:])
    return sum(_cost_of_product(first, second) for first, second in pairs)


def _cost_of_product(first: Factors, second: Factors) -> int:
    width = min(first.outputs.shape[3], second.outputs.shape[3])  # of an embedding and its head, the embedding's
    _, m, n_first, _ = first.outputs.shape
    _, p, n_second, _ = second.outputs.shape
    if is_narrow(first.outputs) and not (first.is_lookup or second.is_lookup):
        return m * n_first * p * n_second * (width + 2 * _TRAFFIC)
    return m * n_second * width * (n_first + p + 2 * _TRAFFIC)
