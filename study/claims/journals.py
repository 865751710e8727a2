"""Numbers from the journals of a study's runs: how gradients, lengths and times change, by seed."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from figures.training_norms import implied_eta
from geometry.objective_settings import GAMMA
from records.journal_lines import PHASES
from study.claims.evidence import Evidence, NotMeasured, Statistic, Tables
from study.claims.seeds import of_arms, over_seeds

SCOPE = "all"
Quantity = Callable[[pd.DataFrame], pd.Series]
"""A number a row of the table `gradients`."""


def eta(rows: pd.DataFrame) -> pd.Series:
    """The eta that keeps the length of the standard gradient at the published gamma (arXiv:2606.00564, Eq. 15)."""
    return implied_eta(rows, GAMMA)


def norm_ratio(rows: pd.DataFrame) -> pd.Series:
    """The length of the visual gradient over that of the standard one."""
    return rows["norm_visual"] / rows["norm_standard"]


def cosine(rows: pd.DataFrame) -> pd.Series:
    """The cosine of the standard and the visual gradient."""
    return np.cos(np.deg2rad(rows["angle_standard_visual_deg"]))


def drift(arm: str, quantity: Quantity, relative: bool = True) -> Statistic:
    """The mean of a quantity over the last third of the measured steps, over (or minus) that over the first third."""

    def of(tables: Tables) -> Evidence:
        gradients = of_arms(tables("gradients"), {arm})
        rows = gradients[gradients["scope"] == SCOPE]
        wide = rows.assign(value=quantity(rows)).pivot(index="step", columns="seed", values="value").sort_index()
        third = max(1, len(wide) // 3)
        first, last = wide.iloc[:third].mean().to_numpy(), wide.iloc[-third:].mean().to_numpy()
        sample = f"first and last {third} of {len(wide)} measured steps"
        return over_seeds(last / first if relative else last - first, sample)

    return Statistic(of, (arm,))


def growth(arm: str) -> Statistic:
    """The mean length of own responses at the last evaluation, over that at the first."""

    def of(tables: Tables) -> Evidence:
        rows = of_arms(tables("evaluations"), {arm})
        wide = rows.pivot_table(index="step", columns="seed", values="response_tokens").sort_index()
        return over_seeds((wide.iloc[-1] / wide.iloc[0]).dropna().to_numpy())

    return Statistic(of, (arm,))


def step_time(arm: str, other: str) -> Statistic:
    """The median seconds of a step, all phases together, over those of another arm."""

    def of(tables: Tables) -> Evidence:
        rows = of_arms(tables("steps"), {arm, other})
        seconds = rows[[f"{phase}_seconds" for phase in PHASES]].sum(axis=1)
        medians = seconds.groupby([rows["arm"], rows["seed"]]).median()
        ratios = (medians[arm] / medians[other]).dropna()
        if ratios.empty:
            raise NotMeasured
        return over_seeds(ratios.to_numpy())

    return Statistic(of, (arm, other))
