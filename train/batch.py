"""The batch of an update: responses, the teacher's views of them, and what all of them together decide.

Shares and VDS quantiles are of the global batch: of all processes, and before any loss is computed. A step samples
once; where its rollouts are cut into several updates, each has a batch of its own, with all responses of its prompts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from geometry import HiddenViews, TextView, Thresholds, language_from_hidden, token_shares, vds_from_hidden
from train.grpo import Sampled, advantages, before_updates
from train.learner import Learner, Stopwatch, gather_rows, most
from train.part import Part
from train.rollouts import MicroBatch, responses_to, sample
from train.suppression import suppressed
from train.teacher import teacher_views
from vlm.answers.judge import is_correct_any
from vlm.prompts.prompt import Prompt
from vlm.responses.picture_features import PictureFeatures
from vlm.responses.response import Response, has_image

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """This process's responses of a step, the teacher's views of them, and what the global batch makes of them."""

    micro_batches: Sequence[MicroBatch]
    teacher: Sequence[HiddenViews]
    shares: Sequence[Tensor]
    """Of each micro-batch, `[T]`."""
    vds: Sequence[Tensor] | None
    """Of each micro-batch, `[T]`, in nats; None for an objective without gates, whose loss measures it."""
    thresholds: Sequence[Thresholds] | None
    """Of each micro-batch, the same for all unless its own are asked for; None if the teacher is not finite."""
    about: Tensor
    """Of every response of the global batch, `[N, 4]`: see `_about`."""
    advantages: Sequence[Tensor] | None = None
    """Of each micro-batch, `[T]`; None for objectives without a reward."""
    sampled: Sequence[Sampled] | None = None
    """Of each micro-batch; None where the update is made with the weights that sampled."""
    prior: Sequence[TextView] | None = None
    """Of each micro-batch, from the student before training; None where the visual target follows the present one."""
    first_language: float | None = None
    """Mean language loss of the student before training, in nats, over the tokens of the global batch above the upper
    threshold; None where lambda does not move, or no token is above."""
    suppressed: Sequence[Tensor] | None = None
    """Of each micro-batch, `[T]`; None for objectives that do not suppress improbable tokens."""

    @property
    def parts(self) -> list[Part]:
        """The micro-batches with all that the student's passes need.

        Raises:
            ValueError: the teacher is not finite.
        """
        if self.thresholds is None:
            raise ValueError("`thresholds` must be finite for a loss, got None. Skip the update.")
        n = len(self.micro_batches)
        held = self.vds, self.advantages, self.sampled, self.prior, self.suppressed
        optional = (part or [None] * n for part in held)
        columns = self.micro_batches, self.teacher, self.shares, self.thresholds, *optional
        return [Part(*row) for row in zip(*columns, strict=True)]

    @property
    def lengths(self) -> Tensor:
        """Tokens of every response of the global batch."""
        return self.about[:, 0]

    @property
    def truncated_share(self) -> float:
        return float(self.about[:, 1].mean())

    @property
    def reward(self) -> float | None:
        """Mean over the responses of the global batch whose answer is known; none if no answer is."""
        right = self.about[:, 2][~self.about[:, 2].isnan()]
        return float(right.mean()) if len(right) else None

    @property
    def banned_mass(self) -> float:
        return float(self.about[:, 3].mean())

    @property
    def responses(self) -> list[Response]:
        """This process's, in order."""
        return [response for part in self.micro_batches for response in part]


def batches_of_step(learner: Learner, prompts: Sequence[Prompt], seed: int, watch: Stopwatch) -> list[Batch]:
    """Sample responses to the prompts of a step and deal them, prompt by prompt, to the batches of its updates."""
    updates = learner.config.updates
    batches = [collect(learner, prompts[number::updates], seed, watch) for number in range(updates)]
    if updates == 1:
        return batches
    with watch.phase("student"), learner.whole():
        return [replace(batch, sampled=before_updates(learner, batch.micro_batches)) for batch in batches]


def collect(learner: Learner, prompts: Sequence[Prompt], seed: int, watch: Stopwatch) -> Batch:
    """Sample responses to the prompts of the global batch and have the teacher score this process's."""
    config = learner.config
    with watch.phase("rollout"), learner.whole(), learner.accelerator.autocast():
        responses = _responses(learner, prompts, seed)
    with watch.phase("teacher"), torch.no_grad():
        pictures, batches = learner.picture_features(learner.pair.teacher), learner.micro_batches
        cuts = list(batches.over(len(responses), lambda rows: _scored(learner, responses[rows], pictures)))
    micro_batches, scored = [responses[rows] for rows, _ in cuts], [one for _, one in cuts]
    own = torch.tensor([_about(response) for response in responses], device=learner.accelerator.device)
    about = gather_rows(learner.accelerator, own)
    thresholds, first_language = _of_all(learner, scored)
    made = Batch(
        micro_batches,
        [one.views for one in scored],
        _shares(learner, micro_batches, about[:, 0]),
        [one.vds for one in scored if one.vds is not None] or None,
        thresholds,
        about,
        advantages(own[:, 2], config.group_size, micro_batches) if config.has_rewards else None,
        prior=[one.prior for one in scored if one.prior is not None] or None,
        first_language=first_language,
    )
    if config.objective != "suppression":
        return made
    with watch.phase("student"), learner.whole():
        return replace(made, suppressed=suppressed(learner, micro_batches))


def joined(batches: Sequence[Batch]) -> Batch:
    """Return the responses of several updates as one batch, for the journal; shares and thresholds are as they were."""
    first, *others = batches
    if not others:
        return first
    return replace(
        first,
        micro_batches=[part for batch in batches for part in batch.micro_batches],
        teacher=[views for batch in batches for views in batch.teacher],
        shares=[shares for batch in batches for shares in batch.shares],
        about=torch.cat([batch.about for batch in batches]),
    )


def padded(batch: Batch, n_parts: int) -> Batch:
    """Repeat the last micro-batch, its tokens without a share, until there are `n_parts`."""
    lacking = n_parts - len(batch.micro_batches)

    def longer(parts: Sequence[T]) -> list[T]:
        return [*parts, *[parts[-1]] * lacking]

    def unread(parts: Sequence[Tensor]) -> list[Tensor]:
        return [torch.zeros_like(parts[-1])] * lacking

    return replace(
        batch,
        micro_batches=longer(batch.micro_batches),
        teacher=longer(batch.teacher),
        shares=[*batch.shares, *unread(batch.shares)],
        vds=None if batch.vds is None else longer(batch.vds),
        thresholds=None if batch.thresholds is None else longer(batch.thresholds),
        advantages=None if batch.advantages is None else longer(batch.advantages),
        sampled=None if batch.sampled is None else longer(batch.sampled),
        prior=None if batch.prior is None else longer(batch.prior),
        suppressed=None if batch.suppressed is None else [*batch.suppressed, *unread(batch.suppressed)],
    )


def _responses(learner: Learner, prompts: Sequence[Prompt], seed: int) -> list[Response]:
    config = learner.config
    if learner.offline is not None:
        return responses_to(prompts, learner.offline, config, learner.part)
    if config.objective != "off-policy":
        return sample(learner.pair.student, config, prompts, seed, learner.part)
    with learner.teacher_precision():
        return sample(learner.pair.teacher, config, prompts, seed, learner.part)


def _about(response: Response) -> list[float]:
    """Length, whether it was truncated, reward (nan where no answer is known) and banned mass."""
    rollout = response.rollout
    is_right = is_correct_any(rollout.text, response.prompt.answers)
    reward = math.nan if is_right is None else float(is_right)
    return [float(response.n_tokens), float(rollout.truncated), reward, rollout.banned_mass or 0.0]


def _shares(learner: Learner, micro_batches: Sequence[MicroBatch], lengths: Tensor) -> list[Tensor]:
    counts = {"n_trajectories": len(lengths), "n_tokens": int(lengths.sum())}
    average, device = learner.config.average, lengths.device
    own = [[response.n_tokens for response in part] for part in micro_batches]
    return [token_shares(part, average, **counts).to(device, torch.float32) for part in own]


@dataclass(frozen=True)
class _Scored:
    """The teacher's views of a micro-batch, the VDS of all its tokens, and whether all is finite.

    A VDS takes both heads over all ids: only objectives with gates need it before the loss, which measures it itself.
    The frozen prior is there where the objective has one.

    pictured: of the tokens with a picture VDS, and the language loss of the student before training or 0, `[n, 2]`.
    """

    views: HiddenViews
    vds: Tensor | None
    pictured: Tensor
    is_finite: bool
    prior: TextView | None


def _scored(learner: Learner, responses: MicroBatch, pictures: PictureFeatures | None) -> _Scored:
    views, prior = teacher_views(learner, responses, pictures), None
    if learner.prior is not None:
        with learner.accelerator.autocast():
            prior = learner.prior.text_view(responses)
    kept = None if prior is None else prior.to("cpu")
    if not learner.config.training_objective.is_gated:
        is_finite = bool(views.image.isfinite().all() and views.text.isfinite().all())
        return _Scored(views.to("cpu"), None, views.image.new_zeros(0, 2), is_finite, kept)
    top_k = learner.config.top_k
    vds = vds_from_hidden(views, top_k=top_k)
    language = torch.zeros_like(vds)
    if learner.config.is_automatic and prior is not None:
        language = language_from_hidden(prior, views, top_k=top_k)
    pictured = torch.stack([vds, language], dim=1)[has_image(responses, vds.device)]
    return _Scored(views.to("cpu"), vds, pictured, bool(vds.isfinite().all()), kept)


def _of_all(learner: Learner, scored: Sequence[_Scored]) -> tuple[list[Thresholds] | None, float | None]:
    """The thresholds of each micro-batch, and `first_language`.

    Thresholds are quantiles of the global batch (arXiv:2606.00564, Eq. 16), or of the micro-batch if that is asked for.
    """
    objective, accelerator = learner.config.training_objective, learner.accelerator
    whole = gather_rows(accelerator, torch.cat([one.pictured for one in scored]))
    if most(accelerator, int(not all(one.is_finite for one in scored))):
        return None, None
    if learner.config.quantile_scope == "micro-batch":
        return [objective.thresholds(one.pictured[:, 0]) for one in scored], None
    thresholds = objective.thresholds(whole[:, 0])
    above = whole[whole[:, 0] > thresholds.high, 1]
    is_read = learner.config.is_automatic and len(above)
    return [thresholds] * len(scored), float(above.double().mean()) if is_read else None
