"""What the explorer computes from: mean changes of each bin along each direction, and how these vary over prompts.

A step is standard + gamma visual + lambda gated language, with gamma shift where q* is attached. Its change of a loss
in a bin is linear in these weights `w`, and the squared standard error of that mean is a quadratic form in them:

    change = w . mean        error^2 = w . covariance . w

The interval is that of `stats.prompt_mean`, by Student's t with prompts as the independent units.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from geometry import Gram
from records import Measurement
from records.tables.forecast import DIRECTIONS
from stats import upper_bins

STEPPED: Final = ("standard", "visual", "shift", "gated_language")
"""The directions that a step combines, in the order of its weights."""
LOSSES: Final = ("standard", "language", "visual")
CONFIDENCE: Final = 0.95
GROUPS: Final = {"high": "upper bins", "all": "all bins", "text": "no picture"}


def bin_sums(record: Measurement) -> list[dict[str, Any]]:
    """Return for each bin and group of bins its means, covariances, number of tokens, and Student's t."""
    sensitivity, n_bins = record.table("sensitivity"), record.header["settings"]["bins"]
    tables = [sensitivity[sensitivity["direction"] == name] for name in STEPPED]
    values = np.stack([table[[f"d_{loss}_nats" for loss in LOSSES]].to_numpy() for table in tables], axis=2)
    bins, prompts = tables[0]["bin"].to_numpy(), tables[0]["prompt_id"].to_numpy(str)
    masks = {str(number): bins == number for number in range(n_bins)}
    masks |= {"high": bins >= upper_bins(n_bins)[0], "all": bins >= 0, "text": bins < 0}
    return [_sums(label, values[mask], prompts[mask]) for label, mask in masks.items() if mask.any()]


def _sums(label: str, values: np.ndarray, prompts: np.ndarray) -> dict[str, Any]:
    """Return the sums of one bin.

    values: `[tokens, losses, directions]`.
    """
    names, member = np.unique(prompts, return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, member, values)
    counts, means = np.bincount(member), values.mean(axis=0)
    n, residuals = len(names), sums - counts[:, None, None] * means
    covariance = np.einsum("pla,plb->lab", residuals, residuals) / counts.sum() ** 2
    return {
        "label": label,
        "name": GROUPS.get(label, f"bin {label}"),
        "tokens": len(values),
        "prompts": n,
        "t": _t(n),
        "mean": dict(zip(LOSSES, means.tolist(), strict=True)),
        "covariance": dict(zip(LOSSES, (covariance * n / max(n - 1, 1)).tolist(), strict=True)),
    }


def _t(n_prompts: int) -> float | None:
    """Return half the width of an interval in standard errors; None for fewer than two prompts."""
    if n_prompts < 2:
        return None
    from scipy.stats import t  # half a second

    return float(t.ppf((1 + CONFIDENCE) / 2, n_prompts - 1))


def gram_table(record: Measurement) -> Mapping[str, Any]:
    """Return the inner products of the directions, their names, and the resolution of `geometry.Gram`."""
    table = record.table("direction_products").pivot(index="direction_a", columns="direction_b", values="product")
    gram = Gram(table.loc[list(DIRECTIONS), list(DIRECTIONS)], DIRECTIONS)
    values = [[value if np.isfinite(value) else None for value in row] for row in gram.values.tolist()]
    return {"names": list(gram.names), "values": values, "resolution": gram.resolution}


def trial_points(record: Measurement, bins: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the steps that were tried, and the factor that puts them on the scale of the forecast; None without.

    The forecast belongs to a unit rate of plain descent, the trial to steps of AdamW. The factor is the least-squares
    slope of the forecast on the trial, over the losses and groups of bins of standard distillation.
    """
    if not record.has("trial"):
        return None
    rows = record.table("trial")
    first = rows.iloc[0]
    settings = [_tried(group) for _, group in rows.groupby(["gamma", "lambda", "prior"], sort=False)]
    factor = _factor(settings[0]["changes"], {one["label"]: one["mean"] for one in bins})
    return {"steps": int(first["steps"]), "lr": float(first["lr"]), "factor": factor, "settings": settings}


def _tried(rows: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    changes: dict[str, dict[str, list[float | None]]] = {}
    for row in rows.to_dict("records"):
        ends = [row[name] for name in ("change_nats", "low_nats", "high_nats")]
        changes.setdefault(str(row["bin"]), {})[str(row["loss"])] = [v if np.isfinite(v) else None for v in ends]
    setting = {"gamma": float(first["gamma"]), "lambda": float(first["lambda"]), "prior": str(first["prior"])}
    return setting | {"verdict": str(first["verdict"]), "changes": changes}


def _factor(tried: Mapping[str, Mapping[str, list[float | None]]], means: Mapping[str, Any]) -> float | None:
    """The slope of predicted on tried; None where it is not positive, and the two have no common scale."""
    pairs = [
        (change[0], means[label][loss][0])
        for label, losses in tried.items()
        for loss, change in losses.items()
        if label in means and change[0] is not None
    ]
    measured, predicted = np.array(pairs, dtype=float).reshape(-1, 2).T
    energy = measured @ measured
    slope = float(measured @ predicted / energy) if energy else 0.0
    return slope if slope > 0 else None
