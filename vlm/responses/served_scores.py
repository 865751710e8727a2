"""The scores of response tokens under a teacher that is known at a few ids.

The teacher reports its K most probable ids under each view. At a token the support is those ids of the image view that
the text view reports as well, and one bucket for all others: the same buckets under all four views, so that
divergences are lower bounds as in `geometry.topk`. Where the text view reports every id of the image view, this is the
support `topk:K`. Probability that the teacher gives to ids which sampling bans lies in the bucket of the others.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from geometry import FourViews, TokenScores, decompose, log_probs, topk_log_probs, with_tail
from geometry.lm_head import chunks
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.responses.halving import Batches
from vlm.responses.rollouts import Rollout
from vlm.responses.scoring import ResponseLogits, response_views
from vlm.responses.served_teacher import Report, ServedTeacher
from vlm.views.view import View

REQUESTS = 16
"""Requests that wait for the server at a time; it batches them."""


@dataclass(frozen=True)
class KnownIds:
    """A teacher's two views of a response, at the ids that both report.

    ids: `[T, K]`; a slot without an id holds `n_ids` or more, which no view has.
    image, text: log-probabilities `[T, K]` in float64, -inf in a slot without an id.
    """

    ids: Tensor
    image: Tensor
    text: Tensor

    @property
    def n_known(self) -> float:
        """Mean number of ids at a token."""
        return float((self.image > -torch.inf).sum(dim=-1).double().mean())

    @property
    def mass(self) -> float:
        """Mean probability of the ids under the image view."""
        return float(self.image.exp().sum(dim=-1).mean())


def known_ids(image: Report, text: Report, top_k: int, n_ids: int, banned: Sequence[int] = ()) -> KnownIds:
    """Return the ids below `n_ids` among the `top_k` of the image view that the text view reports, none banned."""
    left_out, rows = set(banned), []
    for seen, unseen in zip(image, text, strict=True):
        most = sorted(seen, key=lambda token: (-seen[token], token))[:top_k]
        rows.append([t for t in most if t in unseen and t < n_ids and t not in left_out])
    width = max(1, max(map(len, rows)))
    ids = torch.arange(n_ids, n_ids + width).repeat(len(rows), 1)
    views = torch.full((2, len(rows), width), -torch.inf, dtype=torch.float64)
    for number, tokens in enumerate(rows):
        ids[number, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
        for view, said in zip(views, (image, text), strict=True):
            view[number, : len(tokens)] = torch.tensor([said[number][t] for t in tokens], dtype=torch.float64)
    return KnownIds(ids, *views)


def served_scores(
    teacher: ServedTeacher,
    student: LoadedModel,
    views: Sequence[tuple[View, View]],
    rollouts: Sequence[Rollout],
    batch: int | Batches = 32,
) -> Iterator[tuple[TokenScores, KnownIds]]:
    """Yield the scores of each rollout's tokens and what the teacher is known at; the server is asked first.

    Args:
        views: the image view and the text view of each rollout's prompt.
        batch: rollouts in a forward pass of the student.

    Raises:
        ServedTeacherError: the server's answer cannot be used.
        Stopped: the server does not answer any more.
        NotFiniteError: the student's logits are not finite.
        TooLargeError: a batch of one does not fit into memory.
    """
    reports = _reports(teacher, views, rollouts, student.processor.tokenizer)

    def work(part: slice) -> list[tuple[TokenScores, KnownIds]]:
        responses = [rollout.token_ids for rollout in rollouts[part]]
        own = response_views(student, views[part], responses, student.n_ids)
        heard = [known_ids(*both, teacher.top_k, student.n_ids, student.banned_ids) for both in reports[part]]
        return [(_scores(logits, about), about) for logits, about in zip(own, heard, strict=True)]

    batches = batch if isinstance(batch, Batches) else Batches(batch, "batch")
    for _, done in batches.over(len(rollouts), work):
        yield from done


def _reports(
    teacher: ServedTeacher, views: Sequence[tuple[View, View]], rollouts: Sequence[Rollout], tokenizer: object
) -> list[tuple[Report, Report]]:
    """Ask for both views of each response; a prompt without a picture has one."""
    pool = ThreadPoolExecutor(REQUESTS)
    try:
        jobs = [
            [pool.submit(teacher.report, view, rollout, tokenizer) for view in _distinct(*pair)]
            for pair, rollout in zip(views, rollouts, strict=True)
        ]
        return [(futures[0].result(), futures[-1].result()) for futures in jobs]
    finally:
        pool.shutdown(cancel_futures=True)


def _distinct(image: View, text: View) -> list[View]:
    return [image] if image == text else [image, text]


def _scores(student: ResponseLogits, about: KnownIds) -> TokenScores:
    n_tokens, width = about.ids.shape
    return TokenScores.joined(
        [_scores_of(student, about, tokens, width) for tokens in chunks(n_tokens, student.image(slice(0, 1)).shape[1])]
    )


def _scores_of(student: ResponseLogits, about: KnownIds, tokens: slice, width: int) -> TokenScores:
    image, text = student.logits(tokens)
    log_p, ids = log_probs(image), about.ids[tokens].to(image.device)
    own = [topk_log_probs(pad(view.double(), (0, width), value=-torch.inf), ids) for view in (image, text)]
    nothing = own[0][:, -1:].isneginf()  # no other id, so that there is no bucket for others either
    served = [with_tail(view[tokens].to(image.device)) for view in (about.image, about.text)]
    served = [torch.cat([view[:, :-1], view[:, -1:].masked_fill(nothing, -torch.inf)], dim=-1) for view in served]
    entropy = torch.special.entr(log_p.exp()).sum(dim=-1)
    return TokenScores(decompose(FourViews(*own, *served)), entropy.double())
