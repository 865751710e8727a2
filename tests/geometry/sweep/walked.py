"""Cotangents taken back by our own walk, and one at a time by torch: what tests of rules compare."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from geometry.gramian.sweep.layout import block_bounds
from geometry.gramian.sweep.walk import Units, Walk
from tests.geometry.problems import normal

M = 2  # seeds per unit


def leaf(*shape: int, seed: int = 0) -> nn.Parameter:
    """Draw a float64 tensor whose gradient is asked for."""
    return nn.Parameter(normal(*shape or (1,), seed=seed).reshape(shape))


def nodes_behind(result: Tensor) -> set[Any]:
    """Return the nodes of the graph of a tensor, without those of leaves."""
    waiting, nodes = [result.grad_fn], set[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in nodes or hasattr(node, "variable"):
            continue
        nodes.add(node)
        waiting += [before for before, _ in node.next_functions]
    return nodes


def walked(
    start: Tensor, leaves: Sequence[nn.Parameter], own: Tensor, stops: Sequence[int], seeds: Tensor
) -> list[Tensor]:
    """Return the cotangents `[K, *shape]` at each leaf, zeros where none arrived.

    start: `[n, d]`. own: `[U, s]`, rows of the start by ascending last one. seeds: `[U, M, s, d]` at these rows.
    """
    walk = Walk(GradientEdge(start.grad_fn, start.output_nr), [], leaves)
    units = Units(own, stops, block_bounds(walk.lengths(stops)), seeds.shape[1])
    with torch.no_grad():
        arrived = {each.source: each.cotangent for each in walk.back(seeds.flatten(0, 2), units)}
    n_seeds = seeds.shape[0] * seeds.shape[1]
    nothing = {each: torch.zeros(n_seeds, *each.shape, dtype=each.dtype) for each in leaves}
    return [arrived[each].values if each in arrived else nothing[each] for each in leaves]


def one_at_a_time(start: Tensor, leaves: Sequence[nn.Parameter], own: Tensor, seeds: Tensor) -> list[Tensor]:
    """Return what `walked` does, from one backward pass of torch for each seed."""
    pulled = []
    for rows, unit in zip(own, seeds, strict=True):
        for seed in unit:
            whole = torch.zeros_like(start).index_put((rows,), seed)
            options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
            pulled.append(torch.autograd.grad(start, leaves, whole, **options))
    return [torch.stack(each) for each in zip(*pulled, strict=True)]


def assert_same(
    start: Tensor, leaves: Sequence[nn.Parameter], own: Tensor, stops: Sequence[int], seed: int = 90
) -> None:
    """Compare the two for random seeds; the difference is a part of the largest number."""
    seeds = normal(len(own), M, own.shape[1], start.shape[1], seed=seed)
    behind = own[:, None, :, None] >= torch.tensor(stops)[:, None, None, None]
    seeds = seeds.masked_fill(behind, 0).to(start.dtype)
    results, expected = walked(start, leaves, own, stops, seeds), one_at_a_time(start, leaves, own, seeds)
    largest = max(float(each.abs().max()) for each in expected)
    for place, (result, one) in enumerate(zip(results, expected, strict=True)):
        assert result.shape == one.shape, place
        error = float((result - one).detach().abs().max())
        assert error <= 1e-10 * largest, (place, error, largest)


def assert_whole(leaves: Sequence[nn.Parameter], result: Tensor) -> None:
    """Take cotangents of a result of any shape back: whole, and by the rows of its first axes."""
    flat = result.reshape(1, -1)
    assert_same(flat * 1.5, leaves, torch.zeros(3, 1, dtype=torch.long), [1] * 3)
    if result.ndim > 1:
        rows = result.reshape(-1, result.shape[-1]) * 1.5
        every = torch.arange(len(rows)).repeat(2, 1)
        assert_same(rows, leaves, every, [len(rows)] * 2)


Layer = Callable[[Tensor], Tensor]
"""From hidden states `[1, S, d]` to others, each place from places up to it."""


def assert_by_rows(
    layers: Sequence[Layer], leaves: Sequence[nn.Parameter], length: int, own: Tensor, at: Tensor
) -> None:
    """Take cotangents back from the rows `at` of a sequence through causal layers, to its first states and leaves.

    own: `[U, s]`, places in `at`; units by ascending last token.
    """
    first = leaf(1, length, 8, seed=50)
    hidden = first
    for layer in layers:
        hidden = layer(hidden)
    start = hidden[:, at].squeeze(0)  # as the states below the head of a model
    stops = [int(rows.max()) + 1 for rows in own]
    walk = Walk(GradientEdge(start.grad_fn, start.output_nr), [], [first])
    assert walk.lengths(stops) == [int(at[stop - 1]) + 1 for stop in stops], "the rows are not named by their places"
    assert_same(start, [first, *leaves], own, stops)
