"""Forward passes of the two views and backward passes from their logits."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Int
from torch import Tensor
from torch.autograd.graph import GradientEdge

from geometry.cotangents import Cotangents
from geometry.gram import BASIS

Forward = Callable[[Tensor], Tensor]
"""Given ascending positions `[n]` of the response, runs the student on a view up to the last of them and returns its
logits `[n, V]` there, with their graph."""

Objectives = tuple[str, ...]
"""Names of gradients that are taken from one view."""
IMAGE, TEXT = BASIS[:2], BASIS[2:]
"""The gradients that are taken backward from the image view's logits, and from the text view's."""


@dataclass(frozen=True)
class ProbedResponse:
    """A response at the n positions where it is probed.

    image_logits: given ascending positions `[k]` of the response, runs the student on the image view up to the last of
        them and returns its logits `[k, V]` there, with their graph.
    text_logits: the same on the text view. The same callable twice where the views are equal.
    cotangents: `[n, V]`, of the tokens at the positions.
    positions: `[n]`, ascending.
    """

    image_logits: Forward
    text_logits: Forward
    cotangents: Cotangents
    positions: Int[Tensor, " n"]

    @property
    def views(self) -> dict[tuple[str, ...], Forward]:
        """What to run, by the gradients that are taken backward from it."""
        if self.image_logits is self.text_logits:
            return {BASIS: self.image_logits}
        return {TEXT: self.text_logits, IMAGE: self.image_logits}

    @property
    def n_ids(self) -> int:
        """V, the ids that count."""
        return self.cotangents.visual.shape[-1]


def check_weights(weights: Tensor, response: ProbedResponse) -> None:
    """Refuse token weights and cotangents that do not fit the positions, and positions out of order."""
    if weights.shape[-1] != len(response.positions):
        raise ValueError(
            f"`weights` must have one for each probed position, got {weights.shape[-1]} and {len(response.positions)}"
            " positions. Give unused ones 0."
        )
    positions = response.positions.tolist()
    if not positions or positions[0] < 0 or any(after <= before for before, after in pairwise(positions)):
        raise ValueError(f"`positions` must be one or more, from 0 and ascending, got {positions[:8]}. Sort them.")
    if len(response.cotangents.visual) != len(positions):
        raise ValueError(
            f"`cotangents` must have a row for each probed position, got {len(response.cotangents.visual)} and "
            f"{len(positions)} positions. Take them with `at`."
        )


def run_view(objectives: Sequence[str], forward: Forward, positions: Tensor, n_ids: int) -> Tensor:
    """Run the view of these objectives and check what comes back."""
    name = "text_logits" if tuple(objectives) == TEXT else "image_logits"
    with torch.enable_grad():
        logits = forward(positions)
    expected = (len(positions), n_ids)
    if tuple(logits.shape) != expected:
        raise ValueError(
            f"`{name}` must return logits `[n, V]` at the positions asked for, got {tuple(logits.shape)} for "
            f"{expected}. Keep these positions and the shared vocabulary ids only."
        )
    if not logits.requires_grad:
        raise ValueError(f"`{name}` must return logits with a graph, got none. Run it without no_grad.")
    return logits


def gradients(
    outputs: Tensor | GradientEdge, cotangents: Tensor, sources: Sequence[Tensor | GradientEdge], batched: bool
) -> list[Tensor | None]:
    """Return of each source its gradients `[C, *shape]` for the cotangents `[C, ...]`; none if not reached.

    outputs, sources: tensors, or places in the graph.
    batched: run the cotangents as one, by vmap.
    """
    reached = [True] * len(sources)

    def pull(cotangent: Tensor) -> tuple[Tensor, ...]:
        gradients = torch.autograd.grad(outputs, sources, cotangent, retain_graph=True, allow_unused=True)  # type: ignore[arg-type]
        reached[:] = [gradient is not None for gradient in gradients]
        return tuple(gradient for gradient in gradients if gradient is not None)

    if batched:
        with _no_word_of_loops():
            stacked = torch.func.vmap(pull)(cotangents)
    else:
        stacked = tuple(map(torch.stack, zip(*map(pull, cotangents), strict=True)))
    waiting = iter(stacked)
    return [next(waiting) if there else None for there in reached]


@contextmanager
def _no_word_of_loops() -> Iterator[None]:
    """Silence vmap where an operation has no batching rule and is looped over: right, if slower."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield
