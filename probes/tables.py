"""From Gram matrices to the tables `units`, `grams` and `bins`."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from geometry import OBJECTIVES, angles_deg, attached, norms, total
from probes.units import Unit
from records import ANGLES, EFFECTIVE, NULL_ANGLES
from stats.bootstrap import bootstrap_interval, bootstrap_of_mean
from vlm.families import scopes

_S, _L, _V, _P, _ = range(5)
_UPPER = [(a, b) for a in range(5) for b in range(a, 5)]


def gram_rows(units: Sequence[Unit], grams: Mapping[str, Tensor]) -> pd.DataFrame:
    """A row a unit and group from Gram matrices `[U, 5, 5]`: the 15 entries on and above the diagonal."""
    frames = []
    for group, gram in grams.items():
        entries = {f"gram_{OBJECTIVES[a]}_{OBJECTIVES[b]}": gram[:, a, b].numpy() for a, b in _UPPER}
        frames.append(pd.DataFrame({"unit_id": [unit.unit_id for unit in units], "group": group, **entries}))
    return pd.concat(frames, ignore_index=True)


def gram_tensor(rows: pd.DataFrame) -> Tensor:
    """The Gram matrices `[rows, 5, 5]` that `gram_rows` wrote down."""
    gram = torch.empty(len(rows), 5, 5, dtype=torch.float64)
    for a, b in _UPPER:
        entry = torch.from_numpy(rows[f"gram_{OBJECTIVES[a]}_{OBJECTIVES[b]}"].to_numpy(copy=True))
        gram[:, a, b] = gram[:, b, a] = entry
    return gram


def product_rows(units: Sequence[Unit], grams: Mapping[str, Tensor]) -> pd.DataFrame:
    """A row a group and pair of (bin, objective) from the products `[U, 5, U, 5]` between units."""
    bins = [unit.bin for unit in units]
    keys = pd.MultiIndex.from_product(
        [list(grams), bins, OBJECTIVES, bins, OBJECTIVES],
        names=["group", "bin_a", "objective_a", "bin_b", "objective_b"],
    )
    products = torch.stack(list(grams.values())).flatten().numpy()
    return pd.DataFrame({"product": products}, index=keys).reset_index()


def unit_rows(units: Sequence[Unit], grams: Mapping[str, Tensor]) -> pd.DataFrame:
    """A row a unit and scope from Gram matrices `[U, 5, 5]` by group: norms and angles."""
    known = pd.DataFrame(
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
    frames = [known.assign(scope=scope, **measures(total(grams, names))) for scope, names in scopes(grams).items()]
    return pd.concat(frames, ignore_index=True)


def bin_rows(
    tokens: pd.DataFrame, units: pd.DataFrame, grams: pd.DataFrame, null: pd.DataFrame, seed: int
) -> pd.DataFrame:
    """A row a scope and bin: counts, mean divergences, and each angle's mean, spread, interval and null.

    Of signed-bins the Gram matrices are averaged before any angle is taken, and the spread is its standard error.
    """
    rows = []
    signed = units["unit"].eq("signed-bin").any()
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
                row |= _averaged_statistics(angle, scoped, members["prompt_id"].to_numpy(dtype=str), seed)
        for angle, column in zip(NULL_ANGLES, ("detached_deg", "attached_deg"), strict=True):
            row[f"{angle}_null_mean_deg"] = unrelated[column].mean()
            row[f"{angle}_null_std_deg"] = unrelated[column].std(ddof=0)
        rows.append(row)
    return pd.DataFrame(rows)


def measures(gram: Tensor) -> dict[str, np.ndarray]:
    """Norms and angles of `[U, 5, 5]` in the columns of `units`."""
    detached, follow = angles_deg(gram), angles_deg(attached(gram))
    angles = {
        "angle_language_visual_deg": detached[:, _L, _V],
        "angle_standard_visual_deg": detached[:, _S, _V],
        "angle_standard_language_deg": detached[:, _S, _L],
        "angle_language_visual_attached_deg": follow[:, _L, _V],
        "angle_standard_visual_attached_deg": follow[:, _S, _V],
        "angle_prior_language_deg": detached[:, _P, _L],
    }
    lengths = {f"norm_{name}": length for name, length in zip(OBJECTIVES, norms(gram).unbind(-1), strict=True)}
    return {name: values.numpy() for name, values in (lengths | angles).items()}


def scope_grams(grams: pd.DataFrame, unit_ids: pd.Series, scope: str) -> np.ndarray:
    """The Gram matrices `[U, 5, 5]` of some units over the groups of a scope, from the table `grams`."""
    chosen = grams[grams["group"].isin(scopes(grams["group"].unique())[scope])]
    entries = chosen.drop(columns="group").groupby("unit_id", sort=False).sum().loc[unit_ids]
    return gram_tensor(entries.reset_index()).numpy()


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


def _averaged_statistics(angle: str, grams: np.ndarray, prompts: np.ndarray, seed: int) -> dict[str, float]:
    found = bootstrap_of_mean(
        grams, prompts, lambda means: measures(torch.from_numpy(means))[f"{angle}_deg"], seed=seed
    )
    return {
        f"{angle}_mean_deg": found.estimate,
        f"{angle}_std_deg": found.standard_error,
        f"{angle}_low_deg": found.low,
        f"{angle}_high_deg": found.high,
        f"{angle}_obtuse_share": float("nan"),
    }


def _angle_statistics(angle: str, members: pd.DataFrame, seed: int) -> dict[str, float]:
    values = torch.from_numpy(members[f"{angle}_deg"].to_numpy(copy=True))
    known = values[~values.isnan()]
    interval = bootstrap_interval(values, members["prompt_id"].to_numpy(dtype=str), seed=seed)
    nothing = len(known) == 0
    return {
        f"{angle}_mean_deg": float("nan") if nothing else float(known.mean()),
        f"{angle}_std_deg": float("nan") if nothing else float(known.std(correction=0)),
        f"{angle}_low_deg": interval.low,
        f"{angle}_high_deg": interval.high,
        f"{angle}_obtuse_share": float("nan") if nothing else float((known > 90).double().mean()),
    }
