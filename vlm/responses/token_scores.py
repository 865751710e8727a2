"""Numbers of all tokens of responses, read off the four views a chunk of tokens at a time.

What is held, in float32:

    4 B T d 4 bytes             hidden states of a batch of B responses of T tokens: two models under two views
    10 V n 4 bytes              logits of a chunk of n tokens under four views, and what they are compared with; n is
                                such that a view's are at most `geometry.lm_head.CHUNK_BYTES`
    16 geometry.token_scores.BLOCK_BYTES    working tensors, on a processor

beside the forward pass of one model on B responses. None grows with V T.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from geometry import FourViews, TokenScores
from geometry import token_scores as scores_of
from geometry.lm_head import chunks
from vlm.checkpoints.pair import Pair
from vlm.responses.finite import NotFiniteError
from vlm.responses.halving import Batches
from vlm.responses.rollouts import Rollout
from vlm.responses.scoring import ResponseLogits, response_views
from vlm.views.view import View

R = TypeVar("R")


def token_scores(
    pair: Pair,
    views: Sequence[tuple[View, View]],
    rollouts: Sequence[Rollout],
    *,
    batch: int | Batches = 32,
) -> Iterator[TokenScores]:
    """Yield the divergences and the entropy of each rollout's tokens, in order; see `read_by_chunk`."""
    return map(TokenScores.joined, read_by_chunk(pair, views, rollouts, scores_of, batch=batch))


def read_by_chunk(
    pair: Pair,
    views: Sequence[tuple[View, View]],
    rollouts: Sequence[Rollout],
    read: Callable[[FourViews], R],
    *,
    batch: int | Batches = 32,
) -> Iterator[list[R]]:
    """Yield for each rollout what `read` makes of the four views of its tokens, a chunk of tokens at a time.

    Args:
        views: the image view and the text view of each rollout's prompt.
        read: takes logits `[n, V]` as `score` yields them, and must not keep them.
        batch: rollouts in a forward pass; halved where memory runs out.

    Raises:
        NotFiniteError: the logits of a token are not finite, or `read` refused a response's views with a ValueError.
        TooLargeError: a batch of one does not fit into memory.
    """

    def work(part: slice) -> list[list[R]]:
        responses = [rollout.token_ids for rollout in rollouts[part]]
        student, teacher = (response_views(loaded, views[part], responses, pair.n_ids) for loaded in pair.models)
        cut = [chunks(len(rollout.token_ids), pair.n_ids) for rollout in rollouts[part]]
        parts = zip(rollouts[part], student, teacher, cut, strict=True)
        return [[_read(rollout, p, q, tokens, read) for tokens in each] for rollout, p, q, each in parts]

    batches = batch if isinstance(batch, Batches) else Batches(batch, "batch")
    for _, done in batches.over(len(rollouts), work):
        yield from done


def _read(
    rollout: Rollout, student: ResponseLogits, teacher: ResponseLogits, tokens: slice, read: Callable[[FourViews], R]
) -> R:
    views = FourViews(*student.logits(tokens), *teacher.logits(tokens))
    try:
        return read(views)
    except ValueError as error:  # views that leave out different ids
        raise NotFiniteError(f"response {rollout.rollout_id}: {error}") from None
