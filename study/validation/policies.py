"""What following the diagnosis would have cost: the regret of policies, and a threshold that is fitted on other pairs.

A policy chooses one setting for each pair, or standard distillation. Its regret on a pair is how far its choice stands
behind the best that was trained, standard included: 0 is best, in nats of loss or in points of accuracy.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from geometry.objective_settings import GAMMA, LAMBDA
from stats import Interval, prompt_mean
from study.validation.reading import LOSS

Policy = Callable[[pd.DataFrame], pd.Series | None]
"""From the rows of a pair to the row that is chosen; None for standard distillation."""


def by_advice(rows: pd.DataFrame) -> pd.Series | None:
    """Choose what the diagnosis recommends; standard where it does not steer or is undecided."""
    advised = rows[rows["advised"]]
    return None if advised.empty else advised.iloc[0]


def always_standard(rows: pd.DataFrame) -> pd.Series | None:
    """Choose standard distillation."""
    return None


class NotTrained(LookupError):
    """A policy's setting was not trained on a pair, so that its regret there is unknown."""


def always(gamma: float, lambda_: float) -> Policy:
    """Return the policy that takes these strengths on every pair, q* detached.

    Raises:
        NotTrained: by the policy, on a pair where they were not trained.
    """

    def choose(rows: pd.DataFrame) -> pd.Series | None:
        own = (rows["gamma"] == gamma) & (rows["lambda"] == lambda_) & (rows["prior"] == "detached")
        if not own.any():
            raise NotTrained
        return rows[own].iloc[0]

    return choose


def below(threshold_nats: float) -> Policy:
    """Return the policy that takes the setting with the least predicted loss if that lies below a threshold."""

    def choose(rows: pd.DataFrame) -> pd.Series | None:
        least = rows.iloc[int(rows["predicted"].to_numpy(float).argmin())]
        return least if float(least["predicted"]) < threshold_nats else None

    return choose


POLICIES: Final[Mapping[str, Policy]] = {
    "the diagnosis": by_advice,
    "always standard": always_standard,
    f"always gamma {GAMMA:g}": always(GAMMA, 0.0),
    f"always gamma {GAMMA:g}, lambda {LAMBDA:g}": always(GAMMA, LAMBDA),
}


def regrets(rows: pd.DataFrame, policy: Policy, endpoint: str = LOSS) -> pd.Series:
    """Return the regret of a policy on each pair, by name; pairs without the endpoint or its setting are left out."""
    sign = 1.0 if endpoint == LOSS else -1.0  # a loss is to be low, an accuracy high
    by_pair = {}
    for pair, members in rows[rows[endpoint].notna()].groupby("pair", sort=True):
        try:
            chosen = policy(members)
        except NotTrained:
            continue
        value = 0.0 if chosen is None else sign * float(chosen[endpoint])
        by_pair[str(pair)] = value - min(0.0, float((sign * members[endpoint]).min()))
    return pd.Series(by_pair, dtype=float)


def mean_regret(rows: pd.DataFrame, policy: Policy, endpoint: str = LOSS) -> Interval:
    """Return the mean regret over pairs with its 95 % interval by Student's t."""
    each = regrets(rows, policy, endpoint)
    return prompt_mean(each.to_numpy(), np.arange(len(each)))


def fitted_threshold(rows: pd.DataFrame) -> float:
    """Return the threshold with the least mean regret on these rows; the least such one, so that ties do not steer."""
    least = np.sort(rows.groupby("pair")["predicted"].min().unique())
    between = (least[:-1] + least[1:]) / 2
    candidates = [-math.inf, *between, math.inf]
    costs = [regrets(rows, below(candidate)).mean() for candidate in candidates]
    return float(candidates[int(np.argmin(costs))])


@dataclass(frozen=True)
class HeldOut:
    """A threshold fitted on some pairs and judged on others."""

    name: str
    threshold_nats: float
    pairs: Sequence[str]
    """The pairs that it is judged on."""
    regret: Interval
    standard: Interval
    """The regret of always standard on the same pairs."""


def held_out(rows: pd.DataFrame, name: str, pairs: Sequence[str]) -> HeldOut:
    """Fit the threshold on all other pairs and judge it on these."""
    mine = rows["pair"].isin(pairs)
    threshold = fitted_threshold(rows[~mine])
    judged = rows[mine]
    return HeldOut(
        name, threshold, list(pairs), mean_regret(judged, below(threshold)), mean_regret(judged, always_standard)
    )


def split_in_half(rows: pd.DataFrame, seed: int = 0) -> list[str]:
    """Return the names of half of the pairs, drawn at random; of an odd number the smaller half."""
    names = sorted(rows["pair"].unique())
    return sorted(np.random.default_rng(seed).permutation(names)[: len(names) // 2].tolist())


def leave_kinds_out(rows: pd.DataFrame) -> list[HeldOut]:
    """Return the judgement of each kind of pairs by a threshold that was fitted on the other kinds."""
    kinds = rows.drop_duplicates("pair").groupby("kind", sort=True)["pair"]
    by_kind = {str(kind): sorted(pairs) for kind, pairs in kinds}
    return [held_out(rows, kind, pairs) for kind, pairs in by_kind.items()] if len(by_kind) > 1 else []
