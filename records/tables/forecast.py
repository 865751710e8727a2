"""Tables of `probes.sensitivity`: what a step would change in the losses of held-out responses.

A change `d_..._nats` belongs to a unit step of plain descent along the gradient `g` of one objective's mean loss over
the first half of the responses: theta -= lr g changes the loss by lr times the change, to first order. A fall is
negative. In Adam's metric the step is lr g / (sqrt(v) + eps). Along the direction `after`, the way from one checkpoint
to another, the change belongs to the whole way. Sampling is not differentiated: the responses stay the same.

Intervals (low, high) are 95 % bootstrap intervals over prompts.
"""

from typing import Final

from records.columns import BIN, OBJECTIVES, POSITION, PRIOR, PROMPT_ID, ROLLOUT_ID
from records.table import Table, by_name, real, text, whole

DIRECTIONS: Final = (*OBJECTIVES, "gated_language")
"""Gradients of the mean losses; gated: of the tokens whose VDS exceeds Q_0.7 of the first half."""
AFTER: Final = "after"
CHANGED: Final = ("standard", "language", "visual", "visual_held", "student_vds")
"""The losses that a step changes; visual_held is the visual loss with its target q* held fixed."""
PRIORS: Final = ("detached", "attached")
STEERED_ANGLES: Final = (*DIRECTIONS, "visual_attached")
ENDS: Final = ("mean", "low", "high")
FIRST_ORDER: Final = 0.2
"""Relative error up to which a measured change counts as first-order."""

_CHANGED_WORDS: Final = {
    "standard": "standard loss",
    "language": "language loss",
    "visual": "visual loss, its target q* moving along",
    "visual_held": "visual loss, its target q* held fixed",
    "student_vds": "visual dependency of the student",
}
_END_WORDS: Final = {
    "mean": "Predicted mean change",
    "low": "Lower end of the interval of that change",
    "high": "Upper end of the same interval",
}
_STEERED_WORDS: Final = {"gated_language": "gated language", "visual_attached": "attached visual"}

GAMMA: Final = real("gamma", "Weight gamma of the visual term")
LAMBDA: Final = real("lambda", "Weight lambda of the gated language term")
FORECAST_BIN: Final = text(
    "bin", "VDS bin: its number, all, high (the upper three tenths), or text for prompts without a picture"
)
N_TOKENS: Final = whole("n_tokens", "Number of tokens")
STEP: Final = text("step", "Step that was taken: sgd, adamw, or after (the way to a later checkpoint)")
LR: Final = real("lr", "Learning rate; missing for after")
STEP_LOSS: Final = text("loss", "Loss that the step changes: standard, language, visual or student_vds")

SENSITIVITY: Final = Table(
    "sensitivity",
    "One row for each direction and token of the second half of the responses.",
    "probes.sensitivity",
    columns=(
        PROMPT_ID,
        ROLLOUT_ID,
        POSITION,
        BIN,
        text("direction", f"Direction of the step: {', '.join(DIRECTIONS)}, or {AFTER}"),
        *(real(f"d_{loss}_nats", f"First-order change of the {_CHANGED_WORDS[loss]}") for loss in CHANGED),
    ),
)

DIRECTION_PRODUCTS: Final = Table(
    "direction_products",
    "One row for each ordered pair of directions: an entry of their Gram matrix.",
    "probes.sensitivity",
    format="csv",
    columns=(
        text("direction_a", "First direction"),
        text("direction_b", "Second direction"),
        real("product", "Product of the two directions"),
    ),
)

FORECAST: Final = Table(
    "forecast",
    "One row for each (prior, gamma, lambda) and VDS bin: the predicted change of each loss.",
    "probes.sensitivity",
    format="csv",
    columns=(
        PRIOR,
        GAMMA,
        LAMBDA,
        FORECAST_BIN,
        N_TOKENS,
        *(
            real(f"d_{loss}_{end}_nats", f"{_END_WORDS[end]}: {_CHANGED_WORDS[loss]}")
            for loss in CHANGED
            for end in ENDS
        ),
    ),
)

STEERING: Final = Table(
    "steering",
    "One row for each (prior, gamma, lambda): where the steered direction points.",
    "probes.sensitivity",
    format="csv",
    columns=(
        PRIOR,
        GAMMA,
        LAMBDA,
        real("eta", "|g_std| / |g_std + gamma g_vis|; independent of lambda"),
        real("norm", "Norm of standard + gamma visual + lambda gated language, without eta"),
        *(
            real(f"angle_{name}_deg", f"Angle between the steered and the {_STEERED_WORDS.get(name, name)} direction")
            for name in STEERED_ANGLES
        ),
    ),
)

READINGS: Final = Table(
    "readings",
    "One row for each prior and question about the language loss of the upper bins.",
    "probes.sensitivity",
    format="csv",
    columns=(
        text("reading", "gamma_rise: the gamma from which it rises; lambda_stop: the lambda that stops the rise"),
        PRIOR,
        real("gamma", "Gamma at which lambda_stop is read; missing for gamma_rise"),
        real("estimate", "The value that answers the question; inf if no value does"),
        real("low", "Lower end of its interval"),
        real("high", "Upper end of its interval"),
        real("times_eta", "Estimate of lambda_stop if eta multiplies standard + gamma visual"),
    ),
)

STEP_CHANGES: Final = Table(
    "step_changes",
    "One row for each step that was taken, loss and VDS bin: predicted and measured change.",
    "probes.sensitivity",
    format="csv",
    columns=(
        STEP,
        LR,
        STEP_LOSS,
        FORECAST_BIN,
        N_TOKENS,
        real("predicted_nats", "Predicted change by the whole step, mean over the bin's tokens"),
        real("measured_nats", "Measured change by the whole step, mean over the bin's tokens"),
        real("slope", "Slope of measured on predicted over the tokens, through the origin"),
        real("correlation", "Correlation of measured and predicted over the tokens"),
    ),
)

STEP_FITS: Final = Table(
    "step_fits",
    "One row for each step that was taken and loss: how well the prediction fits over the bins.",
    "probes.sensitivity",
    format="csv",
    columns=(
        STEP,
        LR,
        STEP_LOSS,
        real("slope", "Slope of measured on predicted over the numbered bins, through the origin"),
        real("correlation", "Correlation of measured and predicted over the numbered bins"),
        real("relative_error", "|measured - predicted| / |measured|, norms over the numbered bins"),
    ),
)

TABLES: Final = by_name(SENSITIVITY, DIRECTION_PRODUCTS, FORECAST, STEERING, READINGS, STEP_CHANGES, STEP_FITS)
