"""How far steering turns the gradient: the angle from standard to standard + gamma visual, by bin and over all bins."""

import numpy as np
import pandas as pd

from geometry import NEAR_STANDARD_DEG, Gram
from geometry.objective_settings import GAMMA
from probes.stages.tables import scope_grams

ALL_BINS = -1


def steered_angles(units: pd.DataFrame, grams: pd.DataFrame, scope: str, gamma: float = GAMMA) -> pd.DataFrame:
    """Return a row for each bin, and one for all bins: pooled angles in degrees, `detached_deg` and `attached_deg`.

    The angles are read from mean Gram matrices, so that units with long gradients decide. Bins have equal numbers of
    tokens: the matrix of all bins is the mean of theirs.

    Args:
        units, grams: the tables of these names.
    """
    members = units[(units["scope"] == scope) & (units["bin"] >= 0)]
    means = {
        bin_: scope_grams(grams, inside["unit_id"], scope).values.mean(axis=0)
        for bin_, inside in members.groupby("bin")
    }
    stacked = np.stack([*means.values(), np.mean(list(means.values()), axis=0)])
    return pd.DataFrame(
        {
            "bin": [*means, ALL_BINS],
            "detached_deg": Gram(stacked).angle_to_steered_deg(gamma),
            "attached_deg": Gram(stacked).angle_to_steered_deg(gamma, prior="attached"),
        }
    )


def steered_lines(angles: pd.DataFrame, gamma: float = GAMMA) -> str:
    """Return the angles in words, from the rows of `steered_angles`, and how they read."""
    bins, whole = angles[angles["bin"] != ALL_BINS], angles[angles["bin"] == ALL_BINS].iloc[0]
    lines = [f"pooled angle between the standard and the steered gradient (gamma {gamma:g}), degrees:"]
    for prior in ("detached", "attached"):
        by_bin = " ".join(f"{angle:.0f}" for angle in bins[f"{prior}_deg"])
        near = [str(label) for label, angle in zip(bins["bin"], bins[f"{prior}_deg"], strict=True) if is_near(angle)]
        words = f"; below {NEAR_STANDARD_DEG:g} in bin {', '.join(near)}: little to expect there" if near else ""
        over_all = f"q* {prior}: {whole[f'{prior}_deg']:.0f} over all bins"
        lines.append(f"  {over_all}; {by_bin} in bins 0 to {len(bins) - 1}{words}")
    return "\n".join(lines)


def is_near(angle_deg: float) -> bool:
    """Whether a steered direction is so close to standard that steering changes little."""
    return angle_deg < NEAR_STANDARD_DEG
