"""One update: the loss's gradient, summed over micro-batches and processes, and the optimizer.

The loss of a step is `sum_t share_t loss_t` over the tokens of all processes, with shares and VDS quantiles of that
global batch. Its gradient is a sum over tokens, so that how tokens are cut into micro-batches or dealt to processes
changes nothing. Where memory runs out, a process halves its micro-batch and the step goes on; a loss whose
gradient has been added is not added again for the halves.

eta = |g_standard| / |g_steered| (arXiv:2606.00564, Eq. 15, 20, 23, with g_steered = g_standard + gamma g_s; for the
adaptive objective gamma is a token's) is measured on the step's own batch. That takes the gradients of both apart, so
one more backward pass through the image view and one more gradient in memory; with a preservation term, whose gradient
is in neither, its own besides, at the text view alone if that term is the language loss. A constant eta has no effect
under Adam where no clip binds, except on the weight of a preservation term that it spares (`eta_scales`). One that is
measured in each step also weighs the steps against each other in Adam's running means.

A loss that is weighted by VDS has an eta, too, without a steered term. Suppression of improbable tokens replaces the
distillation loss by one of its own, see `suppression`.

Objectives with a reward mix a surrogate with a distillation loss, see `grpo`; they have no eta. With `match_norm` the
gradient is (1 - alpha) g_grpo + alpha eta g_standard with eta = |g_vgs-lp| / |g_standard|, measured on the step's own
batch: a control that hears as much of the teacher as `grpo+vgs-lp` does, without its direction. It costs two more
backward passes and two more gradients.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from geometry import (
    HiddenViews,
    Objective,
    ObjectiveLoss,
    grpo_loss,
    mixed,
    objective_loss_from_hidden,
)
from geometry.memory import is_out_of_memory
from train import grpo
from train.batch import Batch, padded
from train.config import Config
from train.learner import Learner, Stopwatch, gather_rows, most
from train.outcome import Outcome
from train.part import Part
from train.sharding import gradients_of, whole
from train.suppression import suppression_loss
from vlm.responses.picture_features import PictureFeatures
from vlm.responses.response import both_views, has_image
from vlm.responses.token_losses import Tokens

Gradient = list[Tensor]
"""One tensor for each trained parameter."""


class Summed(NamedTuple):
    """The sum over the micro-batches of all processes."""

    gradient: Gradient
    """Before clipping."""
    loss: float
    eta: float
    tokens: Tokens


def update(learner: Learner, batch: Batch, watch: Stopwatch, objective: Objective | None = None) -> Outcome:
    """Change the student's weights, unless a loss or gradient is not finite.

    objective: what is minimised, if it changes from step to step; by default what the flags name.
    """
    if batch.thresholds is None:
        return Outcome(math.nan, math.nan, math.nan, True, None)
    gradient, loss, eta, tokens = summed_gradient(learner, batch, watch, objective)
    if not tokens.vds.isfinite().all():
        return Outcome(math.nan, math.nan, math.nan, True, None)
    with watch.phase("update"):
        norm = _norm(gradient)
        skipped = not (math.isfinite(loss) and math.isfinite(norm))
        if not skipped:
            _apply(learner, gradient)
    return Outcome(loss, norm, eta, skipped, tokens)


def summed_gradient(learner: Learner, batch: Batch, watch: Stopwatch, objective: Objective | None = None) -> Summed:
    """Return the loss of the global batch, its gradient, eta, and the tokens' numbers; objective: see `update`."""
    n_parts = len(batch.micro_batches)
    if learner.sharding is not None:
        batch = padded(batch, most(learner.accelerator, n_parts))
    sums = _Sums(learner, objective)
    rows = [sums.add(part, watch) for part in batch.parts]
    if learner.sharding is not None:
        learner.sharding.release()
    with watch.phase("update"):
        gradients = [_over_processes(learner.accelerator, gradient) for gradient in sums.gradients]
        losses = learner.accelerator.reduce(sums.losses.to(learner.accelerator.device, torch.float32), "sum")
    tokens = Tokens(*gather_rows(learner.accelerator, torch.cat(rows[:n_parts])).unbind(1))
    if learner.config.match_norm:
        return _matched(learner.config.alpha, gradients, losses, tokens)
    if learner.config.measures_eta:
        return _normalised(learner.config, gradients, losses, tokens)
    stated = learner.config.normalisation
    return Summed(gradients[0], float(losses[0]), float(stated) if isinstance(stated, (int, float)) else 1.0, tokens)


class _Sums:
    """The gradients that are summed apart over the micro-batches of this process, and their losses."""

    def __init__(self, learner: Learner, objective: Objective | None) -> None:
        self._learner, self._objectives = learner, needed(learner.config, objective)
        self._parameters, self._pictures = learner.parameters, learner.picture_features(learner.pair.student)
        n_sums = n_gradients(learner.config)
        self.gradients = [[torch.zeros_like(p) for p in self._parameters] for _ in range(n_sums)]
        self.losses = torch.zeros(n_sums, dtype=torch.float64)

    def add(self, part: Part, watch: Stopwatch, first: int = 0) -> Tensor:
        """Add a micro-batch, in smaller ones where memory runs out, and return the columns of `Tokens`.

        first: the losses before it have been added.

        Raises:
            TooLargeError: memory runs out, and the micro-batch cannot be halved.
        """
        batches, n = self._learner.micro_batches, len(part.responses)
        if n > batches.size:
            return torch.cat([self.add(smaller, watch, first) for smaller in part.cut(batches.size)])
        about, reached = self._tried(part, watch, first)
        if about is not None:
            return about
        batches.halve(n)  # whatever the failed pass held is free again
        return self.add(part, watch, reached)

    def _tried(self, part: Part, watch: Stopwatch, first: int) -> tuple[Tensor | None, int]:
        """Return the columns, None where memory runs out, and how many losses have been added: each whole or not."""
        row = first
        try:
            with watch.phase("student"):
                losses, about = _losses(self._learner, self._objectives, part, self._pictures)
            with watch.phase("update"):
                for row in range(first, len(losses)):
                    _add(self.gradients[row], losses[row], self._parameters, keep_graph=row + 1 < len(losses))
                    self.losses[row] += losses[row].item()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None, row
        return about, len(losses)


def needed(config: Config, objective: Objective | None = None) -> list[Objective]:
    """Return the distillation objectives that make a step: the trained one alone, unless eta is measured.

    Then the preservation term alone, if there is one, the steered loss without it, and the standard loss.
    objective: see `update`.
    """
    trained = objective or config.training_objective
    standard = Objective("standard", average=trained.average)
    if config.match_norm:
        return [trained, standard]
    if not config.measures_eta:
        return [trained]
    steered = replace(trained, lambda_=0.0)
    kept = [replace(trained, preservation_alone=True)] if trained.terms[2] else []
    return [*kept, steered, standard]


def n_gradients(config: Config) -> int:
    """How many gradients are summed apart: one a distillation objective; a surrogate is mixed in, or one more."""
    return len(needed(config)) + config.match_norm


def _losses(
    learner: Learner, objectives: Sequence[Objective], part: Part, pictures: PictureFeatures | None = None
) -> tuple[list[Tensor], Tensor]:
    """The losses of a micro-batch under each objective, and the columns of `Tokens`."""
    pair, config, responses = learner.pair, learner.config, part.responses
    text_graph = any(objective.trains_text_view for objective in objectives)
    with learner.accelerator.autocast():
        student = both_views(pair.student, responses, pair.n_ids, text_graph=text_graph, features=pictures)
        if learner.sharding is not None:
            student = learner.sharding.even(pair.student, responses, student, text_graph=text_graph)
    teacher, shown = part.teacher.to(student.image.device), has_image(responses, student.image.device)
    prior = None if part.prior is None else part.prior.to(student.image.device)
    with torch.set_grad_enabled(config.is_distilled):  # else they are recorded alone
        by_objective = [
            objective_loss_from_hidden(
                student,
                teacher,
                objective,
                thresholds=part.thresholds,
                shares=part.shares,
                has_image=shown,
                vds=part.vds,
                prior=prior if objective.needs_prior else None,
                top_k=config.top_k,
            )
            for objective in objectives
        ]
    losses = [each.loss for each in by_objective]
    if part.suppressed is not None:
        ids = grpo.token_ids(responses, student.image.device)
        losses = [suppression_loss(student.image, student.head, ids, part.suppressed)]
    if part.advantages is not None:
        losses = grpo.losses(config, _surrogate(learner, part, student), losses)
    return losses, _columns(by_objective[0], shown)


def _surrogate(learner: Learner, part: Part, student: HiddenViews) -> Tensor:
    """The surrogate loss of a micro-batch."""
    assert part.advantages is not None
    ids = grpo.token_ids(part.responses, student.image.device)
    pair = grpo.log_probs_and_old(student.image, student.head, ids, part.sampled, learner.config.top_p)
    return grpo_loss(*pair, part.advantages, part.shares).loss


def _normalised(config: Config, sums: Sequence[Gradient], losses: Tensor, tokens: Tokens) -> Summed:
    """The steered loss times eta, and the preservation term; `sums` are that, if any, then steered and standard."""
    *rest, steered, standard = sums
    eta = _ratio(_norm(standard), _norm(steered))
    of_rest = eta if config.training_objective.eta_scales == "loss" else 1.0
    gradient = [sum((of_rest * own[place] for own in rest), eta * g) for place, g in enumerate(steered)]
    return Summed(gradient, float(of_rest * losses[:-2].sum() + eta * losses[-2]), eta, tokens)


def _matched(alpha: float, sums: Sequence[Gradient], losses: Tensor, tokens: Tokens) -> Summed:
    """Surrogate and standard loss, the second as strong as vgs-lp would be; `sums` are surrogate, vgs-lp, standard."""
    eta = _ratio(_norm(sums[1]), _norm(sums[2]))
    gradient = [mixed(g, eta * standard, alpha) for g, standard in zip(sums[0], sums[2], strict=True)]
    return Summed(gradient, float(mixed(losses[0], eta * losses[2], alpha)), eta, tokens)


def _columns(loss: ObjectiveLoss, shown: Tensor) -> Tensor:
    parts, entropy = loss.parts, loss.entropy
    return torch.stack([parts.standard, parts.language, parts.visual, parts.vds, entropy, shown.to(entropy)], dim=1)


def _add(total: Gradient, loss: Tensor, parameters: Sequence[nn.Parameter], keep_graph: bool) -> None:
    if not loss.requires_grad:  # the text views of prompts without a picture, all of them constants
        return
    gradients = gradients_of(loss, parameters, keep_graph=keep_graph)
    for sum_, gradient in zip(total, gradients, strict=True):
        if gradient is not None:
            sum_ += gradient


def _over_processes(accelerator: Accelerator, gradient: Gradient) -> Gradient:
    if accelerator.num_processes == 1 or isinstance(gradient[0], DTensor):  # shards are added up as they are made
        return gradient
    flat = accelerator.reduce(torch.cat([g.flatten() for g in gradient]), "sum")
    pieces = flat.split([g.numel() for g in gradient])
    return [piece.view_as(g) for piece, g in zip(pieces, gradient, strict=True)]


def _norm(gradient: Gradient) -> float:
    return math.sqrt(float(whole(reduce(add, (g.double().square().sum() for g in gradient)))))


def _ratio(wanted: float, actual: float) -> float:
    """The factor that makes a gradient as long as another; 1 where it is 0."""
    return wanted / actual if actual else 1.0


def _apply(learner: Learner, gradient: Gradient) -> None:
    for parameter, g in zip(learner.parameters, gradient, strict=True):
        parameter.grad = g
    if learner.config.clip_norm != "none":
        nn.utils.clip_grad_norm_(learner.parameters, float(learner.config.clip_norm))
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)
