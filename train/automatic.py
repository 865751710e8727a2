"""Steering whose strength sets itself: `--objective auto`.

The loss is that of vgs-lp whose visual target holds the prior of the student before training.

gamma is chosen once, from the first batch: the smallest at which the gradient has turned half of the way from standard
to visual, at most `gamma_max`. The other half needs a gamma without bound.

lambda moves by dual ascent, so that what the student knew of language stays a bound. After each step

    lambda <- max(0, lambda + rho (L - L0))

L is the mean language loss of the step's tokens whose VDS is above the quantile, those that LP preserves. L0 is that of
the student before training on the same tokens, so that easy and hard batches do not move lambda.

There is no eta: it would be a factor of the whole loss, which has no effect under Adam.
"""

from dataclasses import dataclass, replace
from typing import Any

from cli.errors import OptionError
from cli.progress import say
from geometry import NEAR_STANDARD_DEG, Gram, Objective, halfway_gamma, total
from train.batch import Batch
from train.checkpoint import Progress
from train.config import Config
from train.gradients import batch_grams
from train.learner import Learner
from train.outcome import Outcome


def choose_gamma(learner: Learner, progress: Progress, batch: Batch) -> None:
    """Set the gamma of a run that chooses it and has not done so: from a batch and the weights before the first step.

    Raises:
        OptionError: the lengths of the gradients are not known.
    """
    config = learner.config
    if not config.is_automatic or progress.gamma is not None or batch.thresholds is None:
        return
    gram = total(batch_grams(learner, batch))
    try:
        progress.gamma = halfway_gamma(gram, config.gamma_max)
    except ValueError:
        raise OptionError(
            "`objective` auto must have gradients of known lengths to begin with, and those of the first batch cancel,"
            " as where the student does what its teacher does, or are not finite; train another student"
        ) from None
    if learner.accelerator.is_main_process:
        say(chosen(gram, progress.gamma))


def chosen(gram: Gram, gamma: float) -> str:
    """Say in one line which gamma was chosen, and whether steering has much to do."""
    if not gamma:
        return "gamma 0: the first batch has no gradient to steer"
    whole = float(gram.angle_deg("standard", "visual"))
    turned = float(gram.angle_deg("standard", {"standard": 1.0, "visual": gamma}))
    line = f"gamma {gamma:.2f}: it turns the standard gradient by {turned:.0f} of the {whole:.0f} degrees to visual"
    return f"{line}, so that steering has little to do" if whole < NEAR_STANDARD_DEG else line


def objective_of_step(config: Config, progress: Progress) -> Objective:
    """Return what the next step minimises: with the present strengths, if the run sets them by itself."""
    trained = config.training_objective
    if not config.is_automatic or progress.gamma is None:
        return trained
    return replace(trained, gamma=progress.gamma, lambda_=progress.lambda_)


@dataclass(frozen=True)
class Strengths:
    """The strengths of a step, and the language that it found unlearnt, in nats; None where lambda does not move."""

    gamma: float | None = None
    lambda_: float | None = None
    unlearnt_nats: float | None = None

    @property
    def in_journal(self) -> dict[str, Any]:
        """The fields of the step's line."""
        return vars(self)


def moved(config: Config, progress: Progress, batch: Batch, outcome: Outcome) -> Strengths:
    """Return the strengths of the step that was taken, and move lambda for the next one.

    A step that was skipped moves nothing, and neither does one without a token above the quantile.
    """
    if not config.is_automatic:
        return Strengths()
    used = Strengths(progress.gamma, progress.lambda_, None if outcome.skipped else unlearnt(batch, outcome))
    if used.unlearnt_nats is not None:
        progress.lambda_ = raised(progress.lambda_, config.rho, used.unlearnt_nats)
    return used


def raised(lambda_: float, rho: float, unlearnt_nats: float) -> float:
    """Return lambda after a step of the dual ascent.

    >>> raised(0.5, 5.0, 0.1), raised(0.5, 5.0, -0.2)
    (1.0, 0.0)
    """
    return max(0.0, lambda_ + rho * unlearnt_nats)


def unlearnt(batch: Batch, outcome: Outcome) -> float | None:
    """Return L - L0 of the step's global batch, in nats, the same in all processes; None without a token in it."""
    tokens = outcome.tokens
    if tokens is None or batch.thresholds is None or batch.first_language is None:
        return None
    above = (tokens.vds > batch.thresholds[0].high) & tokens.has_image.bool()
    return float(tokens.language[above].double().mean()) - batch.first_language if above.any() else None
