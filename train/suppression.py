"""Suppression of improbable tokens without a teacher, a rival of distillation: arXiv:2608.31046 (OPSA).

S are the 20 % of the sampled tokens that the student held least probable. The loss lowers their probability:

    loss = 1 / |S|  sum_{t in S}  a_t log p(tau_t | tau_<t, I, x),    a_t = 1/2 + (H_t - H_min) / (2 (H_max - H_min))

with H_t the entropy of the student at the token, and H_min, H_max those of S. The a_t are constants. Where all
entropies of S are equal, a_t is 1. The teacher is scored for the journal alone.

Where this departs from the source, which we know from the method's description and its code's manual:
1. S is of the global batch, over all processes; theirs is of each process.
2. Tokens as improbable as the least improbable of S are in S, too.
3. The distribution is that of the image view. The source has no pictures.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from geometry import LMHead, log_probs, token_log_probs_from_hidden
from geometry.lm_head import chunks
from train.grpo import token_ids
from train.learner import Learner, gather_rows
from train.rollouts import MicroBatch
from vlm.responses.output_layer import head_of
from vlm.responses.scoring import view_hidden
from vlm.views.view import image_view

SHARE = 0.2
"""Share of the tokens that are suppressed."""
LEAST, MOST = 0.5, 1.0
"""Strength at the least and at the greatest entropy."""


def suppressed(learner: Learner, micro_batches: Sequence[MicroBatch]) -> list[Tensor]:
    """Return the weight of each token in the loss, `[T]` a micro-batch, from the present weights.

    Raises:
        TooLargeError: not even one response fits into memory.
    """

    def said(part: MicroBatch) -> Tensor:
        passes = learner.passes.over(len(part), lambda rows: _scored(learner, part[rows]))
        return torch.cat([scores for _, scores in passes])

    scores = [said(part) for part in micro_batches]
    own = torch.cat(scores)
    whole = gather_rows(learner.accelerator, own)
    return list(weights(own, whole).split([len(part) for part in scores]))


def weights(own: Tensor, whole: Tensor) -> Tensor:
    """Return a_t / |S| for the tokens of S and 0 for the others, `[n]`.

    own: log-probability and entropy of each token, `[n, 2]`; whole: those of the global batch, `[N, 2]`.
    """
    n_suppressed = max(int(SHARE * len(whole)), 1)
    edge = whole[:, 0].kthvalue(n_suppressed).values
    entropies = whole[whole[:, 0] <= edge, 1]
    lowest, highest = entropies.min(), entropies.max()
    place = (own[:, 1] - lowest) / (highest - lowest) if highest > lowest else torch.ones_like(own[:, 1])
    return torch.where(own[:, 0] <= edge, (LEAST + (MOST - LEAST) * place) / len(entropies), 0.0)


def suppression_loss(hidden: Tensor, head: LMHead, ids: Tensor, of_tokens: Tensor) -> Tensor:
    """Return the loss of some tokens from what the head is applied to; `of_tokens` are their weights."""
    log_p = token_log_probs_from_hidden(hidden, head, ids)
    return (of_tokens.to(log_p) * log_p).sum()


@torch.no_grad()
def log_probs_and_entropies(hidden: Tensor, head: LMHead, ids: Tensor) -> Tensor:
    """Return the log-probability of each token and the entropy at it, `[T, 2]` in nats, by chunks."""
    rows_of = []
    for rows in chunks(len(ids), head.n_ids):
        log_p = log_probs(head.logits(hidden[rows]))
        entropy = torch.special.entr(log_p.exp()).sum(dim=-1)
        rows_of.append(torch.stack([log_p.gather(1, ids[rows, None])[:, 0], entropy], dim=1))
    return torch.cat(rows_of)


def _scored(learner: Learner, part: MicroBatch) -> Tensor:
    loaded = learner.pair.student
    with torch.no_grad(), learner.accelerator.autocast():
        hidden = torch.cat(
            view_hidden(loaded, [image_view(r.prompt) for r in part], [r.rollout.token_ids for r in part])
        )
    return log_probs_and_entropies(hidden, head_of(loaded, learner.pair.n_ids), token_ids(part, hidden.device))
