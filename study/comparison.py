"""Which differences between the arms of a study count, by the rule that `study.effects` states.

Arms are paired: by prompt and seed in accuracy, by seed in a loss. The untrained student is the same for every seed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from records.journal_lines import LOSSES
from records.tables.study import ALL_BINS, EFFECTS
from stats.bins import N_BINS, bins_label, upper_bins
from stats.bootstrap import bootstrap_interval
from stats.seeds import common_seeds, standard_error
from study.arms import INITIAL

AGAINST: Mapping[str, tuple[str, ...]] = {
    "grpo+standard": ("grpo",),
    "grpo+vgs-lp": ("grpo", "grpo+standard", "grpo+standard-matched"),
    "vgs-lp": ("vgs", "language-steering"),
    "vgs-lp-attached": ("vgs-lp",),
    "vgs-lp-lambda-1": ("vgs-lp", "vgs-lp-gamma-0-lambda-1"),
    "vgs-lp-gamma-3.25-lambda-1": ("vgs-lp", "vgs-lp-lambda-1"),
    "vgs-lp-unclipped-eta": ("vgs-lp-unclipped",),
    "adaptive": ("vgs-lp",),
    "language-steering-printed": ("language-steering",),
}
"""What an arm is compared with, apart from `initial` and `standard`."""
UPPER_BINS = upper_bins(N_BINS)
BINS = {"all": (ALL_BINS,), bins_label(UPPER_BINS): UPPER_BINS}
"""Where losses are compared."""


@dataclass(frozen=True)
class PairedRuns:
    """One quantity of two arms, `[rows, seeds]`: the same prompts or steps in the rows, the common seeds in columns."""

    rows: np.ndarray
    ours: np.ndarray
    theirs: np.ndarray

    @property
    def differences(self) -> np.ndarray:
        """Ours minus theirs, `[rows, seeds]`."""
        return self.ours - self.theirs


def pair_runs(wide: pd.DataFrame, arm: str, other: str) -> PairedRuns | None:
    """Pair the columns (arm, seed) of two arms by seed; None if they have no seed in common.

    Every seed of an arm is paired with the untrained student's first run.
    """
    ours, theirs = ([int(seed) for seed in wide[name]] if name in wide else [] for name in (arm, other))
    untrained = other == INITIAL and bool(theirs)
    shared = sorted(ours) if untrained else common_seeds(ours, theirs)
    if not shared:
        return None
    columns = [min(theirs)] * len(shared) if untrained else shared
    return PairedRuns(wide.index.to_numpy(), wide[arm][shared].to_numpy(), wide[other][columns].to_numpy())


def answers_by_run(verdicts: pd.DataFrame, group: str) -> pd.DataFrame:
    """Return whether each answer to a group's prompts is right: prompts in rows, columns (arm, seed)."""
    rows = verdicts[verdicts["group"] == group]
    return rows.pivot_table(index="prompt_id", columns=["arm", "seed"], values="correct", aggfunc="mean")


@dataclass(frozen=True)
class Contrast:
    """Two arms, the quantity in which they are compared, and where: a group of prompts, or bins."""

    arm: str
    against: str
    quantity: str
    where: str

    @property
    def directions(self) -> tuple[str, str]:
        """What a difference above 0 counts as, and one below."""
        return ("better", "worse") if self.quantity == "correct" else ("higher", "lower")


def compare_arms(curves: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the table `effects`: one row for each two arms that are compared and each quantity.

    Args:
        curves: losses by run, step, rollouts and bin, see `records.tables.study`.
        verdicts: answers by run and prompt, of any groups.
    """
    answers = {group: answers_by_run(verdicts, group) for group in dict.fromkeys(verdicts["group"])}
    losses = {(loss, where): _last_losses(curves, loss, where) for loss in LOSSES for where in BINS}
    rows: list[dict[str, Any]] = []
    for arm, other in _pairs(list(dict.fromkeys(verdicts["arm"]))):
        for group, wide in answers.items():
            if (runs := pair_runs(wide, arm, other)) is not None:
                rows.append(_accuracy_effect(Contrast(arm, other, "correct", group), runs))
        for (loss, where), wide in losses.items():
            if (runs := pair_runs(wide, arm, other)) is not None:
                rows.append(_loss_effect(Contrast(arm, other, loss, where), runs))
    return pd.DataFrame(rows, columns=EFFECTS.names)


def _pairs(arms: list[str]) -> Iterator[tuple[str, str]]:
    for arm in arms:
        for other in (INITIAL, "standard", *AGAINST.get(arm, ())):
            if arm != INITIAL and arm != other and other in arms:
                yield arm, other


def _last_losses(curves: pd.DataFrame, loss: str, where: str) -> pd.DataFrame:
    """The mean loss on the fixed rollouts after the last step: one row, columns (arm, seed)."""
    fixed = curves[(curves["rollouts"] == "fixed") & (curves["step"] == curves["step"].max())]
    rows = fixed[fixed["bin"].isin(BINS[where])]
    return rows.pivot_table(index="rollouts", columns=["arm", "seed"], values=f"{loss}_nats", aggfunc="mean")


def _accuracy_effect(contrast: Contrast, runs: PairedRuns) -> dict[str, Any]:
    """The interval is a bootstrap over prompts, of each prompt's mean over seeds."""
    interval = bootstrap_interval(runs.differences.mean(axis=1), runs.rows.astype(str))
    return _effect(contrast, runs, interval.low, interval.high)


def _loss_effect(contrast: Contrast, runs: PairedRuns) -> dict[str, Any]:
    """The interval is twice the standard error over seeds, either way."""
    mean, half = float(runs.differences.mean()), 2.0 * standard_error(runs.differences[0])
    return _effect(contrast, runs, mean - half, mean + half)


def _effect(contrast: Contrast, runs: PairedRuns, low: float, high: float) -> dict[str, Any]:
    each = runs.differences.mean(axis=0)
    counts = "no difference" if len(each) > 1 else "not judged"
    if len(each) > 1 and (low > 0 < each.min() or high < 0 > each.max()):
        counts = contrast.directions[0 if low > 0 else 1]
    return {
        "arm": contrast.arm,
        "against": contrast.against,
        "quantity": contrast.quantity,
        "where": contrast.where,
        "n_seeds": len(each),
        "mean": runs.ours.mean(),
        "mean_against": runs.theirs.mean(),
        "difference": each.mean(),
        "low": low,
        "high": high,
        "least": each.min(),
        "greatest": each.max(),
        "counts_as": counts,
    }
