"""The schema of what `probes.sensitivity` writes: what a step would do to the losses of held-out responses.

    sensitivity.parquet     a row a response token of the second half and direction
    direction_products.csv  a row a pair of directions: their Gram matrix
    forecast.csv            a row a (prior, gamma, lambda) and VDS bin: the predicted change of each loss
    steering.csv            a row a (prior, gamma, lambda): the steered direction's length, eta and angles
    readings.csv            a row a question that has a number for an answer
    step_changes.csv        a row a step that was taken, loss and bin: predicted and measured
    step_fits.csv           a row a step that was taken and loss: predicted and measured over the bins

A change `d_..._nats` belongs to a unit step of plain descent along the gradient `g` of one objective's mean loss over
the first half: theta -= lr g changes the loss by lr times it, to first order, so that a fall is negative. In Adam's
metric the step is lr g / (sqrt(v) + eps). Along the direction `after`, the way from one checkpoint to another, it
belongs to the whole way. Sampling is not differentiated: all losses are of the same responses before and after.

A bin is text: its number, `all` for the bins together, `high` for the upper three tenths of them (7 to 9 of ten), or
`text` for tokens of prompts without a picture, which are in no bin. low and high are 95 % intervals over prompts.
`prior` says whether q* is held fixed in the gradient of the steering term (detached) or followed (attached).
"""

from typing import Final

import pyarrow as pa

from records.columns import OBJECTIVES, REAL, TEXT, WHOLE

DIRECTIONS: Final = (*OBJECTIVES, "gated_language")
"""Gradients of the mean losses; gated: of the tokens whose VDS exceeds Q_0.7 of the first half."""
AFTER: Final = "after"
CHANGED: Final = ("standard", "language", "visual", "visual_held", "student_vds")
"""The losses that a step changes: visual in total, its target moving along, and with the target held."""
PRIORS: Final = ("detached", "attached")
STEERED_ANGLES: Final = (*DIRECTIONS, "visual_attached")
ENDS: Final = ("mean", "low", "high")

SENSITIVITY = {
    "prompt_id": TEXT,
    "rollout_id": WHOLE,
    "position": WHOLE,
    "bin": WHOLE,
    "direction": TEXT,
    **{f"d_{loss}_nats": REAL for loss in CHANGED},
}
DIRECTION_PRODUCTS = {"direction_a": TEXT, "direction_b": TEXT, "product": REAL}
FORECAST = {
    "prior": TEXT,
    "gamma": REAL,
    "lambda": REAL,
    "bin": TEXT,
    "n_tokens": WHOLE,
    **{f"d_{loss}_{end}_nats": REAL for loss in CHANGED for end in ENDS},
}
STEERING = {
    "prior": TEXT,
    "gamma": REAL,
    "lambda": REAL,
    "eta": REAL,  # |g_std| / |g_std + gamma g_vis|: lambda has no part in it
    "norm": REAL,  # of standard + gamma visual + lambda gated language, without eta
    **{f"angle_{name}_deg": REAL for name in STEERED_ANGLES},
}
READINGS = {
    "reading": TEXT,  # gamma_rise or lambda_stop, see `probes.forecast.tables`
    "prior": TEXT,
    "gamma": REAL,  # missing for gamma_rise
    "estimate": REAL,  # inf: no value does it
    "low": REAL,
    "high": REAL,
    "times_eta": REAL,  # the estimate of lambda_stop where standard + gamma visual is multiplied by eta
}
STEP_CHANGES = {
    "step": TEXT,  # sgd, adamw or after
    "lr": REAL,  # missing for after
    "loss": TEXT,
    "bin": TEXT,
    "n_tokens": WHOLE,
    "predicted_nats": REAL,  # mean over the bin's tokens, of the whole step
    "measured_nats": REAL,
    "slope": REAL,  # of measured on predicted over the tokens, through the origin
    "correlation": REAL,
}
STEP_FITS = {
    "step": TEXT,
    "lr": REAL,
    "loss": TEXT,
    "slope": REAL,  # of measured on predicted over the numbered bins, through the origin
    "correlation": REAL,
    "relative_error": REAL,  # |measured - predicted| / |measured|, lengths over the bins
}

SCHEMAS: Final = {
    "sensitivity": pa.schema(SENSITIVITY),
    "direction_products": pa.schema(DIRECTION_PRODUCTS),
    "forecast": pa.schema(FORECAST),
    "steering": pa.schema(STEERING),
    "readings": pa.schema(READINGS),
    "step_changes": pa.schema(STEP_CHANGES),
    "step_fits": pa.schema(STEP_FITS),
}
BY_EYE: Final = ("direction_products", "forecast", "steering", "readings", "step_changes", "step_fits")
