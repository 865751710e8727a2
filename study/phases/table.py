"""The table `phases`, from the records of the pairs and their cards.

The primary quantity of a run is the change of its standard loss in bins 7-9 on the first student's responses, from
before the first step to after the last. Arms are compared over the seeds' differences, see `study.rules`: each with
standard, and the two of each primary contrast.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from figures.training_norms import standard_and_visual
from geometry.objective_settings import GAMMA
from records import Measurement
from records.journal_lines import LOSSES
from records.tables.phases import PHASES
from stats.bins import N_BINS, bins_label, upper_bins
from study.comparison import BINS, CORRECT, Contrast, run_accuracies
from study.evidence import Terms, between
from study.rules import ACCURACY_MARGIN, LOSS_MARGIN, PRIMARY, PRIMARY_GROUP, STANDARD

UPPER: Final = bins_label(upper_bins(N_BINS))
GAPS: Final = "bins 7-9"
"""The row of a card's gaps that the diagram is drawn over."""


def phases(pairs: Mapping[str, tuple[Mapping[str, Any], Measurement]]) -> pd.DataFrame:
    """Return the table: pairs in order, each two arms of `contrasts` in each quantity.

    Args:
        pairs: by name, the card of each pair and the record of its runs.
    """
    rows = [row for name, (card, record) in pairs.items() for row in _rows(name, card, record)]
    return pd.DataFrame(rows, columns=PHASES.names)


def contrasts(arms: Sequence[str]) -> list[tuple[str, str]]:
    """Return which arms are compared with which, both of those that were run.

    >>> contrasts(["standard", "vgs", "vgs-lp-gamma-0-lambda-1"])
    [('vgs', 'standard'), ('vgs-lp-gamma-0-lambda-1', 'standard')]
    """
    with_standard = [(arm, STANDARD) for arm in arms if arm != STANDARD]
    return [two for two in dict.fromkeys((*with_standard, *PRIMARY)) if {*two} <= {*arms}]


def loss_changes(curves: pd.DataFrame, loss: str) -> pd.Series:
    """Return the change of a loss in bins 7-9 on the fixed rollouts, nats, for each (arm, seed)."""
    fixed = curves[(curves["rollouts"] == "fixed") & curves["bin"].isin(BINS[UPPER])]
    by_step = fixed.groupby(["arm", "seed", "step"], sort=False)[f"{loss}_nats"].mean().unstack("step")
    return by_step[by_step.columns.max()] - by_step[by_step.columns.min()]


def steered_angles(gradients: pd.DataFrame, gamma: float = GAMMA) -> pd.Series:
    """Return the angle between the standard and the steered gradient before the first step, for each (arm, seed).

    The steered gradient is standard plus gamma times visual, over all parameters; degrees.
    """
    first = gradients[(gradients["scope"] == "all") & (gradients["step"] == gradients["step"].min())]
    angles = standard_and_visual(first).angle_deg("standard", {"standard": 1.0, "visual": gamma})
    return pd.Series(angles, index=pd.MultiIndex.from_frame(first[["arm", "seed"]]))


def _rows(name: str, card: Mapping[str, Any], record: Measurement) -> Iterator[dict[str, Any]]:
    gaps = card["gaps"][GAPS]
    about = {"pair": name, "about": card["about"]}
    about |= {f"{loss}_gap_nats": gaps[loss] for loss in ("visual", "language", "standard")}
    gradients = record.table("gradients")
    about["steered_deg"] = float(steered_angles(gradients).mean()) if len(gradients) else math.nan
    quantities = {loss: loss_changes(record.table("curves"), loss) for loss in LOSSES}
    quantities[CORRECT] = run_accuracies(record.table("verdicts"), PRIMARY_GROUP)
    seeds = record.table("curves").groupby("arm", sort=False)["seed"].agg(set)
    for arm, against in contrasts(list(seeds.index)):
        if not seeds[arm] & seeds[against]:
            continue
        for quantity, runs in quantities.items():
            yield about | _row(runs, arm, against, quantity)


def _row(runs: pd.Series, arm: str, against: str, quantity: str) -> dict[str, Any]:
    contrast = Contrast(arm, against, quantity, PRIMARY_GROUP if quantity == CORRECT else UPPER)
    by_seed = runs.unstack("seed").loc[[arm, against]].dropna(axis="columns")
    apart = (by_seed.loc[arm] - by_seed.loc[against]).to_numpy()
    evidence = between(apart, 0.0, Terms(ACCURACY_MARGIN if quantity == CORRECT else LOSS_MARGIN))
    judged, difference = evidence.judged, evidence.difference
    low, high = difference.interval() if judged else (math.nan, math.nan)
    return {
        "arm": arm,
        "against": against,
        "quantity": quantity,
        "n_seeds": len(apart),
        "change": by_seed.loc[arm].mean(),
        "change_against": by_seed.loc[against].mean(),
        "sd": evidence.ours.sd,
        "difference": difference.value,
        "low": low,
        "high": high,
        "p": difference.p_value() if judged else math.nan,
        "detectable": evidence.detectable if judged else math.nan,
        "counts_as": evidence.verdict(*contrast.directions),
    }
