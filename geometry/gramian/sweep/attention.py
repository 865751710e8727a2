"""Scaled dot-product attention: cotangents of its result taken back to queries, keys and values.

The probabilities are made again from queries and keys, once for all cotangents, which then stand side by side in plain
products of matrices.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from geometry.gramian.sweep.cotangent import Cotangent
from geometry.gramian.sweep.layout import Layout, Layouts
from geometry.gramian.sweep.node import Cotangents, Node, unknown
from geometry.gramian.wide import wide

_SCORES = 1 << 20
"""Numbers of scores at once: those of as many heads as stay in a processor's cache."""
_MASKS = ("attn_mask", "attn_bias")


_KEPT_BYTES = 1 << 24
"""Up to so many bytes of probabilities are kept for the next chunk of units; larger ones are made again."""


@dataclass(frozen=True)
class _Heads:
    """Of all heads of all sequences: queries and the result `[H, S, D]`, keys and values `[H, T, D]`.

    weights: the probabilities `[H, S, T]`.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    result: Tensor
    weights: Tensor
    scale: float

    def back(self, cotangent: Float[Tensor, "H S c D"], stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the cotangents of queries `[H, S, c, D]`, keys `[H, c, T, D]` and values `[H, T, c, D]`.

        cotangent: at the first S of the queries. stop: T, how many keys are seen.
        """
        heads, n, c, _ = cotangent.shape
        at_once = max(_SCORES // (n * c * stop), 1) if cotangent.device.type == "cpu" else heads
        parts = [
            self._back(slice(first, first + at_once), cotangent[first : first + at_once], stop)
            for first in range(0, heads, at_once)
        ]
        if len(parts) == 1:
            return parts[0]
        at_query, at_key, at_value = map(torch.cat, zip(*parts, strict=True))
        return at_query, at_key, at_value

    def _back(self, of: slice, cotangent: Float[Tensor, "h S c D"], stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """The same for some of the heads."""
        heads, n, c, d = cotangent.shape
        weights, flat = self.weights[of, :n, :stop], cotangent.reshape(heads, n * c, d)
        at_value = (weights.mT.to(cotangent) @ cotangent.reshape(heads, n, c * d)).unflatten(-1, (c, d))
        along = (cotangent * self.result[of, :n].unsqueeze(2)).sum(-1).reshape(heads, n * c, 1)
        scores = torch.baddbmm(-along, flat, self.value[of, :stop].mT).unflatten(1, (n, c))
        scores.mul_(weights.unsqueeze(2))  # of the products of queries and keys, without the scale
        at_query = (scores.reshape(heads, n * c, stop) @ (self.key[of, :stop] * self.scale)).unflatten(1, (n, c))
        at_key = (scores.reshape(heads, n, c * stop).mT @ (self.query[of, :n] * self.scale)).unflatten(1, (c, stop))
        return at_query, at_key, at_value


def attention(node: Node, cotangents: Cotangents) -> Cotangents:
    """The rule of fused attention."""
    one = next(each for each in cotangents if each is not None)
    if node.saved("dropout_p") or one.values.is_floating_point() is False:
        unknown()
    by_rows = one.layout is not None and one.shape[0] == 1 and one.axis == 2 and node.layouts is not None
    are_places = node.saved("key").shape[2] == one.shape[2]  # not those of another sequence
    return _by_rows(node, one) if by_rows and are_places else _whole(node, one.whole())


def _whole(node: Node, one: Cotangent) -> Cotangents:
    """Where each unit has cotangents at every place."""
    heads = _heads(node, one.shape[2])
    batch, n_heads = one.shape[:2]
    cotangent = one.values.flatten(1, 2).permute(1, 2, 0, 3)  # [B H, S, K, D]
    at_query, at_key, at_value = heads.back(cotangent.contiguous(), heads.key.shape[1])
    pulled = at_query.permute(2, 0, 1, 3), at_key.transpose(0, 1), at_value.permute(2, 0, 1, 3)
    shaped = (each.unflatten(1, (batch, n_heads)) for each in pulled)
    return [
        Cotangent(_of_groups(each, _shape(node, place)[1], 2), _shape(node, place)) if node.wanted[place] else None
        for place, each in enumerate(shaped)
    ]


def _by_rows(node: Node, one: Cotangent) -> Cotangents:
    layout, both = one.layout, node.layouts
    assert layout is not None and both is not None
    return _own_rows(node, one, layout, both) if layout.is_own else _first_rows(node, one, both)


def _first_rows(node: Node, one: Cotangent, both: Layouts) -> Cotangents:
    """Where each unit has cotangents at its first places."""
    heads = _heads(node, max(block.n for block in both.first.blocks))
    arrived = [_empty(one, both.first, _shape(node, place)) for place in range(3)]
    for block in both.first.blocks:
        cotangent = block.cut(one.values).squeeze(2).permute(2, 1, 0, 3)  # [H, n, c, D]
        at_query, at_key, at_value = heads.back(cotangent.contiguous(), block.n)
        put = at_query.permute(2, 1, 0, 3), at_key.permute(1, 2, 0, 3), at_value.permute(2, 1, 0, 3)  # [c, n, H, D]
        for place, each in enumerate(put):
            n_own = _shape(node, place)[1]
            rows = arrived[place].values[block.rows].view(*each.shape[:2], 1, n_own, -1)
            rows.copy_(_of_groups(each, n_own, 2).unsqueeze(2))
    return [each if wanted else None for each, wanted in zip(arrived, node.wanted, strict=True)]


def _own_rows(node: Node, one: Cotangent, layout: Layout, both: Layouts) -> Cotangents:
    """Where each unit has cotangents at its own places alone: queries there, keys and values at its first places."""
    query, key, value, scale = _tensors(node)
    places, m, s = layout.places, layout.blocks[0].m, layout.blocks[0].n
    tokens = places.view(-1, m, s)[:, 0].flatten()  # [U s], the same for each of a unit's cotangents
    weights = _weights(node, query[:, tokens], key, scale, tokens)
    arrived = [_empty(one, layout, _shape(node, 0)), *(_empty(one, both.first, _shape(node, n)) for n in (1, 2))]
    for own, block in zip(layout.blocks, both.first.blocks, strict=True):
        units = block.last - block.first
        mine = slice(block.first * s, block.last * s)
        weight = weights[:, mine, : block.n].unflatten(1, (units, s))  # [H, U, s, T]
        cotangent = (
            one.values[own.rows].view(units, m, s, *one.shape[1:2], -1).permute(3, 0, 1, 2, 4)
        )  # [H, U, m, s, D]
        at_value = weight.mT.to(cotangent) @ cotangent.transpose(2, 3).flatten(3)  # [H, U, T, m D]
        scores = wide((cotangent.flatten(1, 3) @ value[:, : block.n].mT).unflatten(1, (units, m, s)))
        scores = _through_softmax(scores, weight.unsqueeze(2), scale).to(cotangent)
        at_query = (scores.flatten(1, 3) @ key[:, : block.n]).unflatten(1, (units, m, s))
        tokens_here = query[:, tokens[mine]].unflatten(1, (units, s))
        at_key = scores.mT @ tokens_here.unsqueeze(2)  # [H, U, m, T, D]
        at_value = at_value.unflatten(-1, (m, -1)).transpose(2, 3)  # [H, U, m, T, D]
        for place, (part, each) in enumerate(zip((own, block, block), (at_query, at_key, at_value), strict=True)):
            rows, n_own = each.flatten(1, 2).permute(1, 2, 0, 3), _shape(node, place)[1]  # [c, n, H, D]
            held = arrived[place].values[part.rows].view(*rows.shape[:2], 1, n_own, -1)
            held.copy_(_of_groups(rows, n_own, 2).unsqueeze(2))
    return [each if wanted else None for each, wanted in zip(arrived, node.wanted, strict=True)]


def _through_softmax(scores: Tensor, weights: Tensor, scale: float) -> Tensor:
    """Cotangents of probabilities, overwritten, taken back to the products of queries and keys."""
    scores.mul_(weights)
    return scores.addcmul_(scores.sum(-1, keepdim=True), weights, value=-1).mul_(scale)


def _empty(one: Cotangent, layout: Layout, shape: tuple[int, ...]) -> Cotangent:
    """Rows to be filled of queries, keys or values `[1, H, S, D]`."""
    return Cotangent(one.values.new_empty(len(layout.places), 1, shape[1], shape[3]), shape, layout, 2)


def _shape(node: Node, place: int) -> tuple[int, ...]:
    return tuple(node.saved(("query", "key", "value")[place]).shape)


def _of_groups(values: Tensor, n_heads: int, axis: int) -> Tensor:
    """Add up the heads that share a head of keys."""
    if values.shape[axis] == n_heads:
        return values
    return values.unflatten(axis, (n_heads, -1)).sum(axis + 1)


def _tensors(node: Node) -> tuple[Tensor, Tensor, Tensor, float]:
    """Queries, keys and values of all heads `[B H, S, D]`, and the scale."""
    query, key, value = (node.saved(name) for name in ("query", "key", "value"))
    scale = node.saved("scale") or 1.0 / math.sqrt(query.shape[-1])
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = (each.repeat_interleave(shared, dim=1) for each in (key, value))
    return query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), scale


def _heads(node: Node, n: int) -> _Heads:
    """What the cotangents of the first n queries need."""
    query, key, value, scale = _tensors(node)
    if query.shape[0] * query.shape[1] * key.shape[1] * query.element_size() <= _KEPT_BYTES:
        weights = node.table("weights", lambda: _weights(node, query, key, scale))
    else:
        weights = _weights(node, query[:, :n], key, scale, torch.arange(n, device=query.device))
    result = node.saved("out" if hasattr(node.node, "_saved_out") else "output").flatten(0, 1)
    return _Heads(query, key, value, result, weights, scale)


def _weights(node: Node, query: Tensor, key: Tensor, scale: float, places: Tensor | None = None) -> Tensor:
    """The probabilities of keys for all queries, or for those at some places."""
    scores = wide(query @ key.mT).mul_(scale)
    mask = next((node.saved(name) for name in _MASKS if hasattr(node.node, f"_saved_{name}")), None)
    if node.saved("is_causal"):
        at = torch.arange(scores.shape[1], device=scores.device) if places is None else places
        scores.masked_fill_(torch.arange(scores.shape[2], device=scores.device) > at[:, None], -torch.inf)
    if mask is not None:
        batch, n_heads, n = node.saved("query").shape[:3]
        mask = mask.expand(batch, n_heads, n, scores.shape[2]).flatten(0, 1)
        mask = mask if places is None else mask[:, places]
        scores = scores.masked_fill_(~mask, -torch.inf) if mask.dtype == torch.bool else scores.add_(mask)
    weights = scores.softmax(-1)
    return weights if mask is None else weights.masked_fill_(scores.amax(-1, keepdim=True) == -torch.inf, 0)
