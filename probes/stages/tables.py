"""From Gram matrices to the tables `units`, `grams`, `bins`, `layers` and `norms`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
from torch import Tensor

from geometry import ANGLES, BASIS, OBJECTIVES, Gram, total
from geometry.gram import COMBINATIONS
from probes.stages.units import Unit
from records import EFFECTIVE, LAYER_ANGLES, NULL_ANGLES, POOLED_UNIT
from records.columns import INTERVAL
from stats import bootstrap_interval, bootstrap_of_mean
from vlm.families import scopes

_ENTRIES = list(combinations_with_replacement(OBJECTIVES, 2))


def gram_rows(units: Sequence[Unit], grams: Mapping[str, Gram]) -> pd.DataFrame:
    """Return a row for each unit and group: the products of every two of `OBJECTIVES`."""
    frames = []
    for group, gram in grams.items():
        entries = {f"gram_{a}_{b}": gram.product(a, b) for a, b in _ENTRIES}
        frames.append(pd.DataFrame({"unit_id": [unit.unit_id for unit in units], "group": group, **entries}))
    return pd.concat(frames, ignore_index=True)


def gram_of_rows(rows: pd.DataFrame) -> Gram:
    """Return the Gram matrices `[rows, 4, 4]` that `gram_rows` wrote down."""
    columns = [[_column(a, b) for b in BASIS] for a in BASIS]
    return Gram(np.stack([rows[names].to_numpy() for names in columns], axis=1))


def _column(a: str, b: str) -> str:
    return f"gram_{a}_{b}" if (a, b) in _ENTRIES else f"gram_{b}_{a}"


def product_rows(units: Sequence[Unit], grams: Mapping[str, Tensor]) -> pd.DataFrame:
    """Return a row for each group and pair of (bin, objective), from the products `[U, 4, U, 4]` between units."""
    bins = [unit.bin for unit in units]
    keys = pd.MultiIndex.from_product(
        [list(grams), bins, OBJECTIVES, bins, OBJECTIVES],
        names=["group", "bin_a", "objective_a", "bin_b", "objective_b"],
    )
    expand = np.array([[float(name in (part, *COMBINATIONS.get(part, ()))) for name in BASIS] for part in OBJECTIVES])
    products = [np.einsum("ij,ujvk,lk->uivl", expand, gram.numpy(), expand) for gram in grams.values()]
    return pd.DataFrame({"product": np.stack(products).ravel()}, index=keys).reset_index()


def unit_rows(units: Sequence[Unit], grams: Mapping[str, Gram]) -> pd.DataFrame:
    """Return a row for each unit and scope from Gram matrices by group: norms and angles."""
    frame = pd.DataFrame(
        {
            "unit_id": [unit.unit_id for unit in units],
            "unit": [unit.kind for unit in units],
            "prompt_id": [unit.prompt_id for unit in units],
            "rollout_id": [unit.rollout_id for unit in units],
            "position": [unit.position for unit in units],
            "bin": [unit.bin for unit in units],
            "n_tokens": [unit.n_tokens for unit in units],
        }
    )
    frames = [frame.assign(scope=scope, **measures(total(grams, names))) for scope, names in scopes(grams).items()]
    return pd.concat(frames, ignore_index=True)


def bin_rows(
    tokens: pd.DataFrame, units: pd.DataFrame, grams: pd.DataFrame, null: pd.DataFrame, seed: int
) -> pd.DataFrame:
    """Return one row per scope and bin: counts, mean divergences, and each angle's mean, spread, interval and null.

    The angle of signed-bins is pooled, read from the mean of their Gram matrices, and the spread is its standard error.
    """
    rows = []
    signed = _are_pooled(units)
    for (scope, bin_), members in units.groupby(["scope", "bin"]):
        inside = tokens[tokens["bin"] == bin_]
        unrelated = null[(null["scope"] == scope) & (null["bin"] == bin_)]
        row = {"scope": scope, "bin": bin_, "n_units": len(members), **divergences(inside)}
        row |= {f"effective_units_{name}": _effective(members[f"norm_{name}"]) for name in EFFECTIVE}
        scoped = scope_grams(grams, members["unit_id"], str(scope)) if signed else None
        for angle in ANGLES:
            if scoped is None:
                row |= _angle_statistics(angle, members, seed)
            else:
                row |= _pooled_statistics(angle, scoped, members["prompt_id"].to_numpy(dtype=str), seed)
        for angle, column in zip(NULL_ANGLES, ("detached_deg", "attached_deg"), strict=True):
            row[f"{angle}_null_mean_deg"] = unrelated[column].mean()
            row[f"{angle}_null_std_deg"] = unrelated[column].std(ddof=0)
        rows.append(row)
    return pd.DataFrame(rows)


def measures(gram: Gram) -> dict[str, np.ndarray]:
    """Return norms and angles in the columns of `units`."""
    lengths = {f"norm_{name}": gram.norm(name) for name in OBJECTIVES}
    return lengths | {f"{name}_deg": gram.angle_deg(*pair) for name, pair in ANGLES.items()}


def scope_grams(grams: pd.DataFrame, unit_ids: pd.Series, scope: str) -> Gram:
    """Return the Gram matrices of some units over the groups of a scope, from the table `grams`."""
    chosen = grams[grams["group"].isin(scopes(grams["group"].unique())[scope])]
    entries = chosen.drop(columns="group").groupby("unit_id", sort=False).sum().loc[unit_ids]
    return gram_of_rows(entries.reset_index())


def divergences(inside: pd.DataFrame) -> dict[str, float]:
    """How many tokens there are, and their mean divergences in nats."""
    means = ("kl_standard", "kl_language", "kl_visual", "student_vds")
    vds = inside["vds_nats"]
    return {
        "n_tokens": len(inside),
        "vds_mean_nats": vds.mean(),
        "vds_low_nats": vds.min(),
        "vds_high_nats": vds.max(),
        **{f"{name}_mean_nats": inside[f"{name}_nats"].mean() for name in means},
    }


def _effective(lengths: pd.Series) -> float:
    """How many units of equal squared norm would share it as evenly: (sum e)^2 / sum e^2."""
    energies = lengths.to_numpy() ** 2
    return float(energies.sum() ** 2 / (energies**2).sum()) if energies.any() else float("nan")


def _are_pooled(units: pd.DataFrame) -> bool:
    """Whether these units' Gram matrices are added up before an angle is read."""
    return bool(units["unit"].eq(POOLED_UNIT).any())


def _pooled_intervals(angles: Iterable[str], grams: Gram, prompts: pd.Series, seed: int) -> dict[str, float]:
    """The pooled angles of some units, in the columns of mean angles and their intervals."""
    names, statistics = prompts.to_numpy(dtype=str), dict[str, float]()
    for angle in angles:
        pooled = _pooled_statistics(angle, grams, names, seed)
        columns = [f"{angle}_{end}_deg" for end in INTERVAL]
        statistics |= {column: pooled[column] for column in columns}
    return statistics


def _pooled_statistics(angle: str, grams: Gram, prompts: np.ndarray, seed: int) -> dict[str, float]:
    interval = bootstrap_of_mean(grams.values, prompts, lambda means: Gram(means).angle_deg(*ANGLES[angle]), seed=seed)
    return {
        f"{angle}_mean_deg": interval.estimate,
        f"{angle}_std_deg": interval.standard_error,
        f"{angle}_low_deg": interval.low,
        f"{angle}_high_deg": interval.high,
        f"{angle}_obtuse_share": float("nan"),
    }


def _angle_statistics(angle: str, members: pd.DataFrame, seed: int) -> dict[str, float]:
    values = members[f"{angle}_deg"].to_numpy(copy=True)
    finite = values[~np.isnan(values)]
    interval = bootstrap_interval(values, members["prompt_id"].to_numpy(dtype=str), seed=seed)
    nothing = len(finite) == 0
    return {
        f"{angle}_mean_deg": float("nan") if nothing else float(finite.mean()),
        f"{angle}_std_deg": float("nan") if nothing else float(finite.std()),
        f"{angle}_low_deg": interval.low,
        f"{angle}_high_deg": interval.high,
        f"{angle}_obtuse_share": float("nan") if nothing else float((finite > 90).mean()),
    }


ALL = "all"
_DIVERGENCES = ("vds", "student_vds", "kl_standard", "kl_language", "kl_visual")


def layer_rows(units: pd.DataFrame, grams: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return one row per group and bin from the tables `units` and `grams`, groups in the order of `grams`.

    A share is the mean over units of the part of an objective's squared norm that lies in the group; units without
    a gradient of that objective are left out. An angle is a mean over the units whose two gradients are not 0 there;
    of signed-bins it is pooled.
    """
    in_bins = units.loc[units["scope"] == ALL, ["unit_id", "unit", "prompt_id", "bin"]]
    cells = _cells(grams).merge(in_bins, on="unit_id")
    language = scopes(cells["group"].unique())["language_model"]
    return pd.DataFrame(
        {"group": group, "in_language_model": group in language, "bin": bin_, **_layer_statistics(inside, seed)}
        for group, members in cells.groupby("group", sort=False)
        for bin_, inside in _by_bin(members)
    )


def norm_rows(tokens: pd.DataFrame, units: pd.DataFrame, seed: int, grams: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per scope and bin from the tables `tokens` and `units` of one checkpoint.

    grams: the table of that name, for signed-bins, whose angles are pooled.
    """
    inside = dict(_by_bin(tokens[tokens["bin"] >= 0]))
    return pd.DataFrame(
        {"scope": scope, "bin": bin_, **_scored(inside[bin_]), **_norm_statistics(probed, str(scope), seed, grams)}
        for scope, members in units.groupby("scope")
        for bin_, probed in _by_bin(members)
    )


def _by_bin(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each bin in order, then all of them."""
    for bin_, inside in rows.groupby("bin"):
        yield str(bin_), inside
    yield ALL, rows


def _cells(grams: pd.DataFrame) -> pd.DataFrame:
    """Return one row per unit and group: products, norms, angles, and shares of the unit's squared norms."""
    cells = grams.assign(**measures(gram_of_rows(grams)))
    for name in OBJECTIVES:
        squared = cells[f"norm_{name}"] ** 2
        whole = squared.groupby(cells["unit_id"]).transform("sum")
        cells[f"share_{name}"] = (squared / whole).where(whole > 0)
    return cells


def _layer_statistics(inside: pd.DataFrame, seed: int) -> dict[str, float]:
    means = [f"{quantity}_{name}" for quantity in ("norm", "share") for name in OBJECTIVES]
    row: dict[str, float] = {"n_units": len(inside), **{f"{name}_mean": inside[name].mean() for name in means}}
    if _are_pooled(inside):
        return row | _pooled_intervals(LAYER_ANGLES, gram_of_rows(inside), inside["prompt_id"], seed)
    return row | _intervals(inside, [f"{angle}_deg" for angle in LAYER_ANGLES], seed)


def _scored(tokens: pd.DataFrame) -> dict[str, float]:
    means = divergences(tokens)
    return {name: means[name] for name in ("n_tokens", *(f"{name}_mean_nats" for name in _DIVERGENCES))}


def _norm_statistics(probed: pd.DataFrame, scope: str, seed: int, grams: pd.DataFrame | None) -> dict[str, float]:
    row = {"n_units": len(probed), **_intervals(probed, [f"norm_{name}" for name in OBJECTIVES], seed)}
    if grams is None:
        row |= _intervals(probed, [f"{angle}_deg" for angle in ANGLES], seed)
    else:
        row |= _pooled_intervals(ANGLES, scope_grams(grams, probed["unit_id"], scope), probed["prompt_id"], seed)
    visual = row["norm_visual_mean"]
    return row | {"norm_ratio_language_visual": row["norm_language_mean"] / visual if visual > 0 else np.nan}


def _intervals(rows: pd.DataFrame, columns: Sequence[str], seed: int) -> dict[str, float]:
    """The mean of each column and its 95 % interval over prompts; `_deg` stays at the end of a name."""
    ends = {}
    prompts = rows["prompt_id"].to_numpy(dtype=str)
    for column in columns:
        interval = bootstrap_interval(rows[column].to_numpy(copy=True), prompts, seed=seed)
        name, unit = (column.removesuffix("_deg"), "_deg") if column.endswith("_deg") else (column, "")
        for statistic, value in (("mean", interval.estimate), ("low", interval.low), ("high", interval.high)):
            ends[f"{name}_{statistic}{unit}"] = value
    return ends
