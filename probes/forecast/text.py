"""The forecast in the terminal: changes by bin, what gamma and lambda make of them, how far first order reaches."""

import math

import pandas as pd

from cli.tables import aligned
from probes.forecast.tables import ALL, HIGH
from records import Measurement

_ALONG = {"standard": "std", "visual": "vis", "language": "lang"}
_SHOWN_GAMMAS = (1.0, 2.0, 4.0)
_BOUND = 0.2  # relative error up to which a change counts as first-order


def summary(record: Measurement) -> str:
    """All of it."""
    tables = record.tables
    parts = [bin_table(tables["sensitivity"], tables["tokens"]), *reading_lines(tables["readings"], tables["steering"])]
    if "step_fits" in tables:
        parts.append(step_table(tables["step_fits"]))
    return "\n".join(parts)


def bin_table(sensitivity: pd.DataFrame, tokens: pd.DataFrame) -> str:
    """Mean changes of language and visual loss along three directions, by bin."""
    pictured = sensitivity[sensitivity["bin"] >= 0]
    parts = {str(bin_): rows for bin_, rows in pictured.groupby("bin")} | {ALL: pictured}
    titles = ["bin", "tokens", *(f"{loss} by {name}" for loss in ("language", "visual") for name in _ALONG.values())]
    lines = []
    for bin_, rows in parts.items():
        means = rows.groupby("direction")[["d_language_nats", "d_visual_nats"]].mean()
        n_tokens = int((rows["direction"] == "standard").sum())
        cells = [_signed(means[f"d_{loss}_nats"][name]) for loss in ("language", "visual") for name in _ALONG]
        lines.append([bin_, str(n_tokens), *cells])
    n_first = tokens["rollout_id"].nunique() - sensitivity["rollout_id"].nunique()
    caption = (
        f"First-order change (nats a unit of the learning rate) of the language and of the visual loss, its target"
        f" moving along,\non {sensitivity['rollout_id'].nunique()} responses, by a step along the gradient of each loss"
        f" over {n_first} others; negative: the loss falls.\nSampling is not differentiated: the responses stay."
    )
    return f"{caption}\n{aligned([titles, *lines])}"


def reading_lines(readings: pd.DataFrame, steering: pd.DataFrame) -> list[str]:
    """What gamma and lambda do to the language loss of the upper bins."""
    lines = [
        f"Language loss of the upper three tenths of the bins ({HIGH}), under standard + gamma visual + lambda LP:"
    ]
    titles = ["q*", "rises from gamma", *(f"lambda at gamma {gamma:g}" for gamma in _SHOWN_GAMMAS), "eta at gamma 2"]
    rows = []
    for prior, group in readings.groupby("prior", sort=False):
        rise = group[group["reading"] == "gamma_rise"].iloc[0]
        stops = group[group["reading"] == "lambda_stop"]
        of_prior = steering[(steering["prior"] == prior) & (steering["gamma"] == 2.0)]
        cells = [_with_interval(stops[stops["gamma"] == gamma].iloc[0]) for gamma in _SHOWN_GAMMAS]
        rows.append([str(prior), _with_interval(rise), *cells, f"{of_prior['eta'].iloc[0]:.2f}"])
    note = (
        "lambda: the least that stops the rise, without eta; with standard + gamma visual multiplied by eta, eta times"
        " it. In brackets 95 % over prompts."
    )
    return [*lines, aligned([titles, *rows]), note]


def step_table(fits: pd.DataFrame) -> str:
    """Predicted and measured over the bins, a row a step and loss."""
    titles = ["step", "rate", "loss", "slope", "correlation", "relative error", ""]
    lines = []
    for row in fits.to_dict("records"):
        rate = "" if math.isnan(row["lr"]) else f"{row['lr']:g}"
        verdict = "first order" if row["relative_error"] <= _BOUND else ""
        cells = (f"{row['slope']:.3f}", f"{row['correlation']:.3f}", f"{row['relative_error']:.2g}")
        lines.append([row["step"], rate, row["loss"], *cells, verdict])
    caption = (
        f"Measured on predicted change over the bins; first order: off by at most {_BOUND:g} of what was measured."
    )
    return f"{caption}\n{aligned([titles, *lines])}"


def _with_interval(row: pd.Series) -> str:
    return f"{_number(row['estimate'])} ({_number(row['low'])} to {_number(row['high'])})"


def _number(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.2g}"


def _signed(value: float) -> str:
    return f"{value:+.1e}" if abs(value) < 0.01 else f"{value:+.3f}"
