"""The differences between the arms of a study, each judged by the rule of `study.rules`.

A run gives one number: its accuracy on a group of scenes, or a loss after its last step. Arms are compared over all
their seeds, unpaired. The untrained student is a constant.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from records.journal_lines import LOSSES
from records.tables.study import ALL_BINS, EFFECTS
from stats.adjustment import holm
from stats.bins import N_BINS, bins_label, upper_bins
from study.arms import INITIAL
from study.evidence import Evidence, Terms, accuracy_terms, between
from study.published import EFFECTS as PUBLISHED
from study.rules import LOSS_MARGIN, PRIMARY, PRIMARY_GROUP, PRIMARY_SEEDS

AGAINST: Mapping[str, tuple[str, ...]] = {
    "grpo+standard": ("grpo",),
    "grpo+vgs-lp": ("grpo", "grpo+standard", "grpo+standard-matched"),
    "vgs-frozen": ("vgs",),
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
CORRECT = "correct"
"""The quantity of a comparison of accuracies; every other one is a loss."""


@dataclass(frozen=True)
class Contrast:
    """Two arms, the quantity in which they are compared, and where: a group of scenes, or bins."""

    arm: str
    against: str
    quantity: str
    where: str

    @property
    def directions(self) -> tuple[str, str]:
        """What a difference above 0 counts as, and one below."""
        return ("better", "worse") if self.quantity == CORRECT else ("higher", "lower")

    @property
    def primary(self) -> bool:
        """Whether the rules name this contrast as a primary one."""
        place = self.quantity, self.where
        return (self.arm, self.against) in PRIMARY and place == (CORRECT, PRIMARY_GROUP)


def run_accuracies(verdicts: pd.DataFrame, group: str) -> pd.Series:
    """Return the points of right answers to a group's scenes, for each (arm, seed)."""
    rows = verdicts[verdicts["group"] == group]
    return 100.0 * rows.groupby(["arm", "seed"], sort=False)[CORRECT].mean()


def last_losses(curves: pd.DataFrame, loss: str, where: str) -> pd.Series:
    """Return the mean loss in nats on the fixed rollouts after the last step, for each (arm, seed)."""
    fixed = curves[(curves["rollouts"] == "fixed") & (curves["step"] == curves["step"].max())]
    rows = fixed[fixed["bin"].isin(BINS[where])]
    return rows.groupby(["arm", "seed"], sort=False)[f"{loss}_nats"].mean().dropna()


def contrast_arms(runs: pd.Series, contrast: Contrast, primary: bool = False) -> Evidence | None:
    """Return the evidence of a contrast; None if an arm has no run.

    Args:
        runs: one number for each (arm, seed), accuracies in points.
        primary: whether the contrast is judged as a primary one. Its seeds are then those of the rules, and it
            lacks its p-value until `adjusted` has set that.
    """
    ours, theirs = (_values(runs, arm, primary) for arm in (contrast.arm, contrast.against))
    if not len(ours) or not len(theirs):
        return None
    other = float(theirs.mean()) if contrast.against == INITIAL else theirs
    return between(ours, other, _terms(contrast, len(PRIMARY) if primary else 1))


def adjusted(evidence: Mapping[Contrast, Evidence]) -> dict[Contrast, Evidence]:
    """Give each primary contrast its p-value by Holm, over all that the rules name; others stay as they are."""
    family = [contrast for contrast, one in evidence.items() if one.primary]
    raw = [evidence[one].difference.p_value() if evidence[one].judged else math.nan for one in family]
    p_values = dict(zip(family, holm(raw, len(PRIMARY)), strict=True))
    return {one: replace(of, p_holm=p_values[one]) if one in p_values else of for one, of in evidence.items()}


def primary_contrasts(verdicts: pd.DataFrame) -> dict[Contrast, Evidence]:
    """Return the evidence of the primary contrasts that were measured, adjusted by Holm."""
    runs = run_accuracies(verdicts, PRIMARY_GROUP)
    contrasts = [Contrast(arm, other, CORRECT, PRIMARY_GROUP) for arm, other in PRIMARY]
    evidence = {one: contrast_arms(runs, one, primary=True) for one in contrasts}
    return adjusted({one: of for one, of in evidence.items() if of is not None})


def compare_arms(curves: pd.DataFrame, verdicts: pd.DataFrame, primary: bool = False) -> pd.DataFrame:
    """Return the table `effects`: one row for each two arms that are compared and each quantity.

    Args:
        curves: losses by run, step, rollouts and bin, see `records.tables.study`.
        verdicts: answers by run and scene, of any groups.
        primary: whether the study is the one that the primary contrasts are about; else all rows are exploratory.
    """
    quantities = {(CORRECT, group): run_accuracies(verdicts, group) for group in dict.fromkeys(verdicts["group"])}
    quantities |= {(loss, where): last_losses(curves, loss, where) for loss in LOSSES for where in BINS}
    evidence = {}
    for arm, other in _pairs(list(dict.fromkeys(verdicts["arm"]))):
        for (quantity, where), runs in quantities.items():
            contrast = Contrast(arm, other, quantity, where)
            if (one := contrast_arms(runs, contrast, primary and contrast.primary)) is not None:
                evidence[contrast] = one
    rows = [_row(contrast, one) for contrast, one in adjusted(evidence).items()]
    return pd.DataFrame(rows, columns=EFFECTS.names)


def _pairs(arms: list[str]) -> Iterator[tuple[str, str]]:
    for arm in arms:
        for other in (INITIAL, "standard", *AGAINST.get(arm, ())):
            if arm != INITIAL and arm != other and other in arms:
                yield arm, other


def _values(runs: pd.Series, arm: str, primary: bool) -> np.ndarray:
    """The numbers of an arm's seeds, of a primary contrast only those that the rules name."""
    if arm not in runs.index.get_level_values("arm"):
        return np.empty(0)
    of_arm = runs[arm]
    return of_arm[of_arm.index.isin(PRIMARY_SEEDS)].to_numpy() if primary else of_arm.to_numpy()


def _terms(contrast: Contrast, n_tests: int) -> Terms:
    if contrast.quantity != CORRECT:
        return Terms(LOSS_MARGIN)
    if contrast.where != PRIMARY_GROUP:
        return replace(accuracy_terms(contrast.arm, contrast.against), priors=(None, None))
    published = PUBLISHED.get((contrast.arm, contrast.against), math.nan)
    return accuracy_terms(contrast.arm, contrast.against, published, n_tests)


def _row(contrast: Contrast, one: Evidence) -> dict[str, Any]:
    unit = 0.01 if contrast.quantity == CORRECT else 1.0  # the table has shares
    low, high = one.difference.interval() if one.judged else (math.nan, math.nan)
    lengths = {
        "mean": one.ours.mean,
        "mean_against": one.theirs.mean,
        "sd": one.ours.sd,
        "sd_against": one.theirs.sd,
        "difference": one.difference.value,
        "low": low,
        "high": high,
        "least": one.least,
        "greatest": one.greatest,
        "margin": one.margin,
        "detectable": one.detectable if one.judged else math.nan,
        "published": one.paper_effect,
    }
    return {
        "arm": contrast.arm,
        "against": contrast.against,
        "quantity": contrast.quantity,
        "where": contrast.where,
        "kind": "primary" if one.primary else "exploratory",
        "n_seeds": one.ours.n,
        "n_against": one.theirs.n,
        **{name: unit * value for name, value in lengths.items()},
        "p": one.difference.p_value() if one.judged else math.nan,
        "p_holm": one.p_holm,
        "p_equivalent": one.difference.p_equivalent(one.margin) if one.judged else math.nan,
        "power": one.power if one.judged else math.nan,
        "seeds_needed": one.seeds_needed if one.judged else math.nan,
        "counts_as": one.verdict(*contrast.directions),
    }
