"""The batch of a step: responses, the teacher's views of them, and what all of them together decide.

Shares and VDS quantiles are of the global batch: of all processes, and before any loss is computed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry import Thresholds, kl_nats, log_probs, token_shares
from train.learner import Learner, Stopwatch, gather_rows
from train.rollouts import MicroBatch, Response, Views, both_views, cut, has_image, sample
from vlm.answers import is_correct
from vlm.prompts import Prompt


@dataclass(frozen=True)
class Batch:
    """This process's responses of a step, the teacher's views of them, and what the global batch makes of them."""

    micro_batches: Sequence[MicroBatch]
    teacher: Sequence[Views]
    shares: Sequence[Tensor]
    """Of each micro-batch, `[T]`."""
    thresholds: Thresholds | None
    """None if the VDS is not finite."""
    lengths: Tensor
    """Tokens of every response of the global batch."""
    truncated_share: float
    reward: float | None
    """Mean over the responses of the global batch whose answer is known; none if no answer is."""
    banned_mass: float

    @property
    def responses(self) -> list[Response]:
        """This process's, in order."""
        return [response for part in self.micro_batches for response in part]


def collect(learner: Learner, prompts: Sequence[Prompt], seed: int, watch: Stopwatch) -> Batch:
    """Sample responses to the prompts of the global batch and have the teacher score this process's."""
    pair, config = learner.pair, learner.config
    speaker = pair.teacher if config.objective == "off-policy" else pair.student
    with watch.phase("rollout"), learner.accelerator.autocast():
        responses = sample(speaker, config, prompts, seed, learner.part)
    micro_batches = cut(responses, config.micro_batch)
    with watch.phase("teacher"), torch.no_grad(), learner.accelerator.autocast():
        teacher = [both_views(pair.teacher, part, pair.support) for part in micro_batches]
        pairs = zip(micro_batches, teacher, strict=True)
        shown = torch.cat([_vds(views)[has_image(part, views[0].device)] for part, views in pairs])
    vds = gather_rows(learner.accelerator, shown[:, None])[:, 0]
    about = torch.tensor([_about(response) for response in responses], device=vds.device)
    lengths, truncated, rewards, banned = gather_rows(learner.accelerator, about).unbind(1)
    known = rewards[~rewards.isnan()]
    return Batch(
        micro_batches,
        teacher,
        _shares(learner, micro_batches, lengths),
        config.training_objective.thresholds(vds) if vds.isfinite().all() else None,
        lengths,
        float(truncated.mean()),
        float(known.mean()) if len(known) else None,
        float(banned.mean()),
    )


def _about(response: Response) -> list[float]:
    """Length, whether it was truncated, reward (nan where no answer is known) and banned mass."""
    rollout, answer = response.rollout, response.prompt.answer
    reward = float(is_correct(rollout.text, answer)) if answer else math.nan
    return [float(response.n_tokens), float(rollout.truncated), reward, rollout.banned_mass or 0.0]


def _shares(learner: Learner, micro_batches: Sequence[MicroBatch], lengths: Tensor) -> list[Tensor]:
    counts = {"n_trajectories": len(lengths), "n_tokens": int(lengths.sum())}
    average, device = learner.config.average, lengths.device
    own = [[response.n_tokens for response in part] for part in micro_batches]
    return [token_shares(part, average, **counts).to(device, torch.float32) for part in own]


def _vds(teacher: Views) -> Tensor:
    """The VDS of each token (arXiv:2606.00564, Eq. 12), as `decompose` computes it."""
    image, text = map(log_probs, teacher)
    return kl_nats(image, text)
