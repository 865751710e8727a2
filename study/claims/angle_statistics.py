"""Numbers from a record of angles: means of bins, differences between bins and from the null, ratios of norms.

They are read from the tables `units` and `bins` of `probes.angles`, over all parameters. Intervals resample prompts
with all their units; two means that are compared are resampled together.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stats.bootstrap import Interval, bootstrap_interval, bootstrap_of_mean
from study.claims.claim import Estimate, NotMeasured, ReadTable, Statistic

SCOPE = "all"
_Z = 1.959964  # of a 95 % interval


def mean_angle(angle: str, bins: Sequence[int]) -> Statistic:
    """The mean of an angle over the units of some bins."""

    def estimate(read: ReadTable) -> Estimate:
        rows = _units(read, bins)
        return _estimate(_bootstrap(rows, rows[f"{angle}_deg"]), rows)

    return Statistic(estimate)


def between_bins(angle: str, bins: Sequence[int], others: Sequence[int]) -> Statistic:
    """The mean of an angle over some bins, minus its mean over others."""

    def estimate(read: ReadTable) -> Estimate:
        rows = _units(read, [*bins, *others]).dropna(subset=f"{angle}_deg")
        first = rows["bin"].isin(bins).to_numpy()
        values, prompts = rows[f"{angle}_deg"].to_numpy(), rows["prompt_id"].to_numpy(dtype=str)
        return _estimate(difference_of_means(values, prompts, first), rows)

    return Statistic(estimate)


def difference_of_means(values: np.ndarray, prompts: np.ndarray, first: np.ndarray) -> Interval:
    """Return the mean of the values marked as first minus that of the others, resampling prompts once for both."""
    sums_and_counts = np.column_stack([values * first, first, values * ~first, ~first])
    return bootstrap_of_mean(sums_and_counts, prompts, lambda m: m[:, 0] / m[:, 1] - m[:, 2] / m[:, 3])


def between_angles(angle: str, other: str, bins: Sequence[int]) -> Statistic:
    """The mean over units of one angle minus another of the same unit."""

    def estimate(read: ReadTable) -> Estimate:
        rows = _units(read, bins)
        return _estimate(_bootstrap(rows, rows[f"{angle}_deg"] - rows[f"{other}_deg"]), rows)

    return Statistic(estimate)


def from_null(angle: str, bin_: int) -> Statistic:
    """The mean of an angle in a bin minus that of unrelated tokens; the two uncertainties added in quadrature.

    The pairs of unrelated tokens form chains, in which each token is in two pairs; for the null's standard error they
    are taken as independent. There are at least as many as units.
    """

    def estimate(read: ReadTable) -> Estimate:
        rows, bins = _units(read, [bin_]), read("bins")
        null = bins[(bins["scope"] == SCOPE) & (bins["bin"] == bin_)].iloc[0]
        interval = _bootstrap(rows, rows[f"{angle}_deg"])
        error = _Z * null[f"{angle}_null_std_deg"] / np.sqrt(null["n_units"])
        value = interval.estimate - null[f"{angle}_null_mean_deg"]
        below, above = (np.hypot(end - interval.estimate, error) for end in (interval.low, interval.high))
        return _estimate(Interval(value - below, value + above, value), rows)

    return Statistic(estimate)


def ratio_of_norms(objective: str, other: str) -> Statistic:
    """The root mean square of a gradient's norm over that of another: units count as they do in a sum of gradients."""

    def estimate(read: ReadTable) -> Estimate:
        rows = _units(read)
        squares = rows[[f"norm_{objective}", f"norm_{other}"]].to_numpy() ** 2
        prompts = rows["prompt_id"].to_numpy(dtype=str)
        return _estimate(bootstrap_of_mean(squares, prompts, lambda means: np.sqrt(means[:, 0] / means[:, 1])), rows)

    return Statistic(estimate)


def _units(read: ReadTable, bins: Sequence[int] | None = None) -> pd.DataFrame:
    """The units of some bins, or of all."""
    units = read("units")
    inside = units["bin"] >= 0 if bins is None else units["bin"].isin(bins)
    rows = units[(units["scope"] == SCOPE) & inside]
    if rows.empty or set(bins or ()) - set(rows["bin"]):
        raise NotMeasured
    return rows


def _bootstrap(rows: pd.DataFrame, values: pd.Series) -> Interval:
    return bootstrap_interval(values.to_numpy(dtype=float), rows["prompt_id"].to_numpy(dtype=str))


def _estimate(interval: Interval, rows: pd.DataFrame) -> Estimate:
    sample = f"{len(rows)} units of {rows['prompt_id'].nunique()} prompts"
    return Estimate(float(interval.estimate), float(interval.low), float(interval.high), sample)
