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

from geometry import LMHead, group_advantages, log_probs, mixed, token_log_probs_from_hidden
from geometry.lm_head import chunks
from train.config import Config
from train.learner import Learner
from train.rollouts import MicroBatch
from vlm.responses.output_layer import head_of
from vlm.responses.rollouts import nucleus
from vlm.responses.scoring import view_hidden
from vlm.views.view import image_view


@dataclass(frozen=True)
class Sampled:
    """What the weights that sampled a micro-batch say of its tokens."""

    log_probs: Tensor
    """Of each token, `[T]`, among the ids that could be drawn."""
    drawable: Tensor | None
    """Token and id of every entry of the nucleus, `[K, 2]`; None for all ids."""

    @classmethod
    def joined(cls, several: "Sequence[Sampled]") -> "Sampled":
        """Return what they say of the tokens of several stretches, one after the other."""
        log_probs, drawable, n_before = torch.cat([one.log_probs for one in several]), list[Tensor](), 0
        for one in several:
            if one.drawable is not None:
                drawable.append(one.drawable + one.drawable.new_tensor([n_before, 0]))
            n_before += len(one.log_probs)
        return cls(log_probs, torch.cat(drawable) if drawable else None)

    def of_tokens(self, tokens: slice) -> "Sampled":
        """Return what they say of some of the tokens."""
        if self.drawable is None:
            return Sampled(self.log_probs[tokens], None)
        start, stop, _ = tokens.indices(len(self.log_probs))
        rows = self.drawable[:, 0]
        inside = self.drawable[(rows >= start) & (rows < stop)]
        return Sampled(self.log_probs[tokens], inside - inside.new_tensor([start, 0]))

    def mask(self, shape: torch.Size) -> Tensor | None:
        """Which ids could be drawn, `[T, V]`."""
        if self.drawable is None:
            return None
        rows, ids = self.drawable.long().unbind(1)
        drawable = torch.zeros(shape, dtype=torch.bool, device=rows.device)
        drawable[rows, ids] = True
        return drawable


def advantages(rewards: Tensor, per_prompt: int, micro_batches: Sequence[MicroBatch]) -> list[Tensor]:
    """Return each token's advantage, `[T]` a micro-batch, from the rewards of the responses in prompt order."""
    by_response = group_advantages(rewards.view(-1, per_prompt)).flatten()
    parts = by_response.split([len(part) for part in micro_batches])
    lengths = [[response.n_tokens for response in part] for part in micro_batches]
    return [
        part.repeat_interleave(torch.tensor(counts, device=part.device))
        for part, counts in zip(parts, lengths, strict=True)
    ]


def token_ids(responses: MicroBatch, device: torch.device) -> Tensor:
    """The drawn ids, `[T]`, responses one after the other."""
    return torch.tensor([token for response in responses for token in response.rollout.token_ids], device=device)


@torch.no_grad()
def sampled(hidden: Tensor, head: LMHead, ids: Tensor, top_p: float) -> Sampled:
    """Return what hidden states `[T, d]` of the weights that sampled say of the drawn ids `[T]`."""
    if top_p == 1.0:
        return Sampled(token_log_probs_from_hidden(hidden, head, ids), None)
    probabilities = (log_probs(head.logits(hidden[rows])).exp() for rows in chunks(len(ids), head.n_ids))
    kept = torch.cat([nucleus(p, top_p) for p in probabilities])
    kept[torch.arange(len(ids), device=ids.device), ids] = True  # it was drawn, whatever this pass rounds to
    return Sampled(token_log_probs_from_hidden(hidden, head, ids, allowed=kept), kept.nonzero().int())


def before_updates(learner: Learner, micro_batches: Sequence[MicroBatch]) -> list[Sampled]:
    """Return what the present weights, which sampled these responses, say of them.

    Raises:
        TooLargeError: not even one response fits into memory.
    """

    def says(part: MicroBatch) -> Sampled:
        passes = learner.passes.over(len(part), lambda rows: _before_updates(learner, part[rows]))
        return Sampled.joined([said for _, said in passes])

    return [says(part) for part in micro_batches]


def _before_updates(learner: Learner, part: MicroBatch) -> Sampled:
    loaded = learner.pair.student
    with torch.no_grad(), learner.accelerator.autocast():
        hidden = torch.cat(
            view_hidden(loaded, [image_view(r.prompt) for r in part], [r.rollout.token_ids for r in part])
        )
    ids = token_ids(part, hidden.device)
    return sampled(hidden, head_of(loaded, learner.pair.n_ids), ids, learner.config.top_p)


def log_probs_and_old(
    hidden: Tensor, head: LMHead, ids: Tensor, old: Sampled | None, top_p: float
) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities `[T]` of the drawn ids from hidden states `[T, d]` and under the sampling weights.

    old: what those weights say; by default they are the weights that `hidden` comes from.
    """
    old = old or sampled(hidden, head, ids, top_p)
    allowed = old.mask(torch.Size([len(ids), head.n_ids]))
    return token_log_probs_from_hidden(hidden, head, ids, allowed=allowed), old.log_probs


def losses(config: Config, reward: Tensor, distilled: Sequence[Tensor]) -> list[Tensor]:
    """Return the losses whose gradients are summed apart: surrogate and distillation mixed, unless a norm is matched.

    reward: the surrogate loss of a micro-batch.
    """
    if config.objective == "grpo":
        return [reward]
    return [reward, *distilled] if config.match_norm else [mixed(reward, distilled[0], config.alpha)]
