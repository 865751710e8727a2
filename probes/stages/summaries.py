"""Means with intervals over prompts, by VDS bin and over `all` bins: the tables `layers` and `norms`."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from geometry import OBJECTIVES
from probes.stages.tables import divergences, gram_of_rows, measures
from records import ANGLES, LAYER_ANGLES
from stats.bootstrap import bootstrap_interval
from vlm.families import scopes

ALL = "all"
_DIVERGENCES = ("vds", "student_vds", "kl_standard", "kl_language", "kl_visual")


def layer_rows(units: pd.DataFrame, grams: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A row a group and bin from the tables `units` and `grams`, groups in the order of `grams`.

    A share is the mean over units of the part of an objective's squared norm that lies in the group; units without
    a gradient of that objective are left out. An angle is a mean over the units whose two gradients are not 0 there.
    """
    known = units.loc[units["scope"] == ALL, ["unit_id", "prompt_id", "bin"]]
    cells = _cells(grams).merge(known, on="unit_id")
    language = scopes(cells["group"].unique())["language_model"]
    return pd.DataFrame(
        {"group": group, "in_language_model": group in language, "bin": bin_, **_layer_statistics(inside, seed)}
        for group, members in cells.groupby("group", sort=False)
        for bin_, inside in _by_bin(members)
    )


def norm_rows(tokens: pd.DataFrame, units: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A row a scope and bin from the tables `tokens` and `units` of one checkpoint."""
    inside = dict(_by_bin(tokens[tokens["bin"] >= 0]))
    return pd.DataFrame(
        {"scope": scope, "bin": bin_, **_scored(inside[bin_]), **_norm_statistics(probed, seed)}
        for scope, members in units.groupby("scope")
        for bin_, probed in _by_bin(members)
    )


def _by_bin(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each bin in order, then all of them."""
    for bin_, inside in rows.groupby("bin"):
        yield str(bin_), inside
    yield ALL, rows


def _cells(grams: pd.DataFrame) -> pd.DataFrame:
    """A row a unit and group: norms, angles, and shares of the unit's squared norms."""
    cells = grams[["unit_id", "group"]].assign(**measures(gram_of_rows(grams)))
    for name in OBJECTIVES:
        squared = cells[f"norm_{name}"] ** 2
        whole = squared.groupby(cells["unit_id"]).transform("sum")
        cells[f"share_{name}"] = (squared / whole).where(whole > 0)
    return cells


def _layer_statistics(inside: pd.DataFrame, seed: int) -> dict[str, float]:
    means = [f"{quantity}_{name}" for quantity in ("norm", "share") for name in OBJECTIVES]
    found: dict[str, float] = {"n_units": len(inside), **{f"{name}_mean": inside[name].mean() for name in means}}
    return found | _intervals(inside, [f"{angle}_deg" for angle in LAYER_ANGLES], seed)


def _scored(tokens: pd.DataFrame) -> dict[str, float]:
    means = divergences(tokens)
    return {name: means[name] for name in ("n_tokens", *(f"{name}_mean_nats" for name in _DIVERGENCES))}


def _norm_statistics(probed: pd.DataFrame, seed: int) -> dict[str, float]:
    columns = [f"norm_{name}" for name in OBJECTIVES] + [f"{angle}_deg" for angle in ANGLES]
    found = {"n_units": len(probed), **_intervals(probed, columns, seed)}
    visual = found["norm_visual_mean"]
    return found | {"norm_ratio_language_visual": found["norm_language_mean"] / visual if visual > 0 else np.nan}


def _intervals(rows: pd.DataFrame, columns: Sequence[str], seed: int) -> dict[str, float]:
    """The mean of each column and its 95 % interval over prompts; `_deg` stays at the end of a name."""
    found = {}
    prompts = rows["prompt_id"].to_numpy(dtype=str)
    for column in columns:
        interval = bootstrap_interval(rows[column].to_numpy(copy=True), prompts, seed=seed)
        name, unit = (column.removesuffix("_deg"), "_deg") if column.endswith("_deg") else (column, "")
        for statistic, value in (("mean", interval.estimate), ("low", interval.low), ("high", interval.high)):
            found[f"{name}_{statistic}{unit}"] = value
    return found
