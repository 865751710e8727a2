"""From rewards to gradients: advantages, the sampler's ratio, and the mix of arXiv:2606.00564, Eq. 22.

    maximise (1 - alpha) * clipped surrogate - alpha * distillation loss

No KL term, no eta. `grpo` is alpha = 0. The losses of the journal are measured for it, too: the teacher is scored as in
any other run, so that runs can be compared.

A ratio is that of the probabilities with which a token is drawn: over the ids that sampling can draw, without those of
pictures and, with `top_p` below 1, within the nucleus of the weights that sampled. Where the rollouts of a step are cut
into several updates, what those weights say is kept from before the first; with one update the ratio is 1, and the
surrogate's gradient is the policy gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry import group_advantages, log_probs, mixed
from train.config import Config
from train.learner import Learner
from train.rollouts import MicroBatch
from vlm.rollouts import nucleus
from vlm.scoring import view_logits
from vlm.views import image_view


@dataclass(frozen=True)
class Sampled:
    """What the weights that sampled a micro-batch say of its tokens."""

    log_probs: Tensor
    """Of each token, `[T]`, among the ids that could be drawn."""
    drawable: Tensor | None
    """Token and id of every entry of the nucleus, `[K, 2]`; None for all ids."""

    def mask(self, shape: torch.Size) -> Tensor | None:
        """Which ids could be drawn, `[T, V]`."""
        if self.drawable is None:
            return None
        rows, ids = self.drawable.long().unbind(1)
        found = torch.zeros(shape, dtype=torch.bool, device=rows.device)
        found[rows, ids] = True
        return found


def advantages(rewards: Tensor, per_prompt: int, micro_batches: Sequence[MicroBatch]) -> list[Tensor]:
    """Return each token's advantage, `[T]` a micro-batch, from the rewards of the responses in prompt order."""
    found = group_advantages(rewards.view(-1, per_prompt)).flatten()
    parts = found.split([len(part) for part in micro_batches])
    lengths = [[response.n_tokens for response in part] for part in micro_batches]
    return [
        part.repeat_interleave(torch.tensor(counts, device=part.device))
        for part, counts in zip(parts, lengths, strict=True)
    ]


def token_ids(responses: MicroBatch, device: torch.device) -> Tensor:
    """The drawn ids, `[T]`, responses one after the other."""
    return torch.tensor([token for response in responses for token in response.rollout.token_ids], device=device)


def sampled(logits: Tensor, ids: Tensor, top_p: float) -> Sampled:
    """Return what logits `[T, V]` of the weights that sampled say of the drawn ids `[T]`."""
    logits = logits.detach()
    if top_p == 1.0:
        return Sampled(drawn_log_probs(logits, ids, None), None)
    kept = nucleus(log_probs(logits).exp(), top_p)
    kept[torch.arange(len(ids), device=ids.device), ids] = True  # it was drawn, whatever this pass rounds to
    return Sampled(drawn_log_probs(logits, ids, kept), kept.nonzero().int())


def drawn_log_probs(logits: Tensor, ids: Tensor, mask: Tensor | None) -> Tensor:
    """Return the log-probability of the drawn ids `[T]` among those of `mask`, `[T, V]`; among all by default."""
    among = logits if mask is None else logits.masked_fill(~mask, -torch.inf)
    return log_probs(among).gather(1, ids[:, None])[:, 0]


def before_updates(learner: Learner, micro_batches: Sequence[MicroBatch]) -> list[Sampled]:
    """Return what the present weights, which sampled these responses, say of them."""
    member, support, top_p = learner.pair.student, learner.pair.support, learner.config.top_p
    found = []
    for part in micro_batches:
        with torch.no_grad(), learner.accelerator.autocast():
            views, responses = [image_view(r.prompt) for r in part], [r.rollout.token_ids for r in part]
            logits = torch.cat(view_logits(member, views, responses, support))
        found.append(sampled(logits, token_ids(part, logits.device), top_p))
    return found


def log_probs_and_old(logits: Tensor, ids: Tensor, old: Sampled | None, top_p: float) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities `[T]` of the drawn ids under logits `[T, V]` and under the weights that sampled.

    old: what those weights say; by default they are the weights that `logits` come from.
    """
    old = old or sampled(logits, ids, top_p)
    return drawn_log_probs(logits, ids, old.mask(logits.shape)), old.log_probs


def losses(config: Config, reward: Tensor, distilled: Sequence[Tensor]) -> list[Tensor]:
    """Return the losses whose gradients are summed apart: surrogate and distillation mixed, unless a norm is matched.

    reward: the surrogate loss of a micro-batch.
    """
    if config.objective == "grpo":
        return [reward]
    return [reward, *distilled] if config.match_norm else [mixed(reward, distilled[0], config.alpha)]
