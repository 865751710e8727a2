"""The lines of a training journal: what is measured of a step, an evaluation and the gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

LOSSES: Final = ("standard", "language", "visual")
PHASES: Final = ("rollout", "teacher", "student", "update")
NULL_TOKENS: Final = ("all", "upper")
"""Tokens of a response whose gradients are compared with a null: all, or those of the upper VDS bins."""

Binned = Mapping[str, Sequence[float | None]]
"""For each of `LOSSES` the mean in each VDS bin, bin 0 the least visual."""


@dataclass(frozen=True)
class StepLine:
    """One update, on the rollouts of the global batch."""

    kind: ClassVar[str] = "step"

    step: int
    skipped: bool
    """Whether a loss or gradient was not finite, so that the weights stayed as they were."""
    loss: float | None
    """What was minimised."""
    losses: Mapping[str, float | None]
    """Means over response tokens; of the visual loss over those whose prompt has a picture."""
    losses_by_fixed_bin: Binned
    """By VDS bin with the edges of step 0."""
    losses_by_step_bin: Binned
    """By VDS bin with this step's own edges, `edges_nats`."""
    edges_nats: Sequence[float | None]
    """The inner edges of this step's bins of equal frequency; a bin holds its lower edge."""
    tokens_by_fixed_bin: Sequence[int]
    """Number of tokens in each bin with the edges of step 0."""
    response_tokens: float
    """Mean length of a response."""
    truncated_share: float
    """Share of responses cut at the greatest length."""
    reward: float | None
    """Mean reward of the responses whose answer is known: 1 if it is right, else 0."""
    banned_mass: float
    """Mean probability that the model that speaks gives to ids which sampling bans: pictures and rows of padding."""
    entropy_nats: float | None
    """Mean entropy of the student's image view."""
    gradient_norm: float | None
    """Before clipping."""
    eta: float | None
    """Factor of the steered loss, arXiv:2606.00564, Eq. 15; without effect under Adam except on lambda's term.
    If a mix of rewards and distillation matches norms, the factor of the standard loss."""
    seconds: Mapping[str, float]
    """By phase, `PHASES`."""
    gamma: float | None = None
    """Strength of the steering in the step, if the run chose it; else null."""
    lambda_: float | None = None
    """Strength of the preservation term in the step, if the run moves it; else null."""
    unlearnt_nats: float | None = None
    """Language loss minus that of the student before training, which moves lambda: a mean over the step's tokens with
    VDS above the quantile; null where lambda does not move."""


@dataclass(frozen=True)
class LanguageRise:
    """The language loss of the tokens of the upper VDS bins, minus that of the same tokens at the first measurement.

    A mean over tokens, in nats. The interval (low, high) is a 95 % bootstrap interval over prompts.
    """

    first_nats: float | None
    """Mean language loss of these tokens at the first measurement."""
    mean_nats: float | None
    low_nats: float | None
    high_nats: float | None


@dataclass(frozen=True)
class EvaluationLine:
    """The student on prompts that it is not trained on."""

    kind: ClassVar[str] = "evaluation"

    step: int
    losses: Mapping[str, float | None]
    """Means over the tokens of fixed rollouts, the first student's; of the visual loss as in `StepLine`."""
    losses_by_bin: Binned
    """The same by VDS bin, whose edges make them equally frequent on the fixed rollouts."""
    own_losses: Mapping[str, float | None]
    """Means over the tokens of the present student's own responses to the same prompts."""
    own_losses_by_bin: Binned
    """The same by VDS bin, with the edges of the fixed rollouts."""
    own_response_tokens: float
    """Mean length of those responses."""
    accuracy: Mapping[str, float]
    """Share of greedy answers that are right, by dependency group, among the prompts that state an answer."""
    answers: Mapping[str, int]
    """Number of prompts that state an answer, by dependency group."""
    seconds: float
    unboxed: int | None = None
    """Number of these prompts whose response has no answer in a box, which is wrong; null in older journals."""
    unanswered: int | None = None
    """Number of prompts that state no answer, which are not judged; null in older journals."""
    truncated_share: float | None = None
    """Share of these answers that are cut at the greatest length; null in older journals."""
    language_rise: LanguageRise | None = None
    """How far the language loss of the visual tokens has risen on the fixed rollouts; null where none is measured."""


@dataclass(frozen=True)
class GeometryLine:
    """The gradients of a batch's loss, by scope (`SCOPES`): of the step's batch, or of fixed rollouts."""

    kind: ClassVar[str] = "geometry"

    step: int
    norms: Mapping[str, Mapping[str, float | None]]
    """By scope, the length of each of `OBJECTIVES`."""
    angles_deg: Mapping[str, Mapping[str, float | None]]
    """By scope, each of `ANGLES`; null where a gradient is 0."""
    group_norms: Mapping[str, Mapping[str, float | None]]
    """By parameter group, as `norms`."""
    group_angles_deg: Mapping[str, Mapping[str, float | None]]
    """By parameter group, as `angles_deg`."""
    seconds: float
    gamma: float | None = None
    """Strength of the steering that `eta` is of; null where no eta is measured."""
    eta: float | None = None
    """|g_std| / |g_std + gamma g_vis| over all parameters, arXiv:2606.00564, Eq. 15."""
    against_null: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float | None]]]] | None = None
    """By scope, tokens (`NULL_TOKENS`) and angle: `angle_deg`, a mean over responses, `null_deg`, `difference_deg`, its
    standard error `error_deg`, and `n_pairs`; null where no null is measured."""


Line = StepLine | EvaluationLine | GeometryLine


@dataclass(frozen=True)
class Journal:
    """A whole journal as read back."""

    steps: Sequence[StepLine]
    evaluations: Sequence[EvaluationLine]
    geometry: Sequence[GeometryLine]
