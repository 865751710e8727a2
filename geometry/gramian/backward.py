"""Forward passes of the two views and backward passes from their logits, for `gramian`, `sums` and `null`."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from geometry.cotangents import Cotangents

Forward = Callable[[Tensor], Tensor]
"""Given ascending positions `[n]` of the response, runs the student on a view up to the last of them and returns its
logits `[n, V]` there, with their graph."""

IMAGE, TEXT = ("visual", "prior"), ("language", "shift")
BACKWARD = (*IMAGE, *TEXT)
"""The objectives that get a backward pass: the first two at the image view, the last two at the text view."""


def check_weights(weights: Tensor, cotangents: Cotangents) -> None:
    """Refuse token weights that do not fit the tokens."""
    if weights.shape[-1] != len(cotangents.visual):
        raise ValueError(
            f"`weights` must have one a token, got {weights.shape[-1]} and {len(cotangents.visual)} tokens. "
            "Give unused ones 0."
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


def seeds(
    cotangents: Cotangents, objectives: Sequence[str], weights: Tensor, positions: Tensor, like: Tensor
) -> Tensor:
    """Return `[U * m, n, V]`: of each row of `weights` for the m objectives, at the positions."""
    chosen = torch.stack([getattr(cotangents, objective)[positions] for objective in objectives])
    rows = weights[:, positions].to(chosen)
    return torch.einsum("un,mnv->umnv", rows, chosen).flatten(0, 1).to(like)


def gradients(logits: Tensor, cotangents: Tensor, sources: Sequence[Tensor], batched: bool) -> list[Tensor | None]:
    """Return of each source its gradients `[C, *shape]` for the cotangents `[C, n, V]`; none if not reached.

    batched: run them as one, by vmap.
    """
    reached = [True] * len(sources)

    def pull(cotangent: Tensor) -> tuple[Tensor, ...]:
        found = torch.autograd.grad(logits, sources, cotangent, retain_graph=True, allow_unused=True)
        reached[:] = [gradient is not None for gradient in found]
        return tuple(gradient for gradient in found if gradient is not None)

    if batched:
        with _no_word_of_loops():
            found = torch.func.vmap(pull)(cotangents)
    else:
        found = tuple(map(torch.stack, zip(*map(pull, cotangents), strict=True)))
    waiting = iter(found)
    return [next(waiting) if there else None for there in reached]


def gradient(outputs: Sequence[Tensor], seeds: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return the gradient of `sum_o <seed_o, output_o>`, zeros for parameters not reached; keep the graph."""
    seeds = [seed.to(output) for seed, output in zip(seeds, outputs, strict=True)]
    found = torch.autograd.grad(outputs, parameters, seeds, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


@contextmanager
def _no_word_of_loops() -> Iterator[None]:
    """Silence vmap where an operation has no batching rule and is looped over: right, if slower."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield
