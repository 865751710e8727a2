"""The trial as the decision reads it: the settings whose steps were taken, in order, until one passes.

`probes.diagnosis.judging` says what passes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from cli.progress import progress
from probes.diagnosis.judging import PASSES, UNDECIDED, Difference, Tried
from probes.stages.forecast import HIGH
from probes.stages.trial_steps import Ground, Setting, trial_rows
from records.tables.diagnosis import TRIED
from records.tables.forecast import PRIORS
from stats import Interval

SETTING = ["gamma", "lambda", "prior"]
"""The columns that name a setting."""


@dataclass(frozen=True)
class Trial:
    """`steps` steps at rate `lr` of each of these settings, in the order in which they were tried."""

    steps: int
    lr: float
    tried: Sequence[Tried]

    @property
    def passed(self) -> Tried | None:
        """The first setting that passes."""
        return next((one for one in self.tried if one.verdict == PASSES), None)

    @property
    def undecided(self) -> Sequence[Tried]:
        """The settings that neither pass nor fail."""
        return [one for one in self.tried if one.verdict == UNDECIDED]


def trial_of(table: pd.DataFrame) -> Trial:
    """Read the table `trial`."""
    others = table[~is_standard(table)]
    tried = [tried_of(rows) for _, rows in others.groupby(SETTING, sort=False)]
    return Trial(int(table["steps"].iloc[0]), float(table["lr"].iloc[0]), tried)


def is_standard(rows: pd.DataFrame) -> pd.Series:
    """Return which rows are standard distillation's."""
    return (rows["gamma"] == 0.0) & (rows["lambda"] == 0.0)


def setting_name(gamma: float, lambda_: float, prior: str = PRIORS[0]) -> str:
    """Return a setting in a few words.

    >>> setting_name(2.0, 0.01), setting_name(0.0, 1.0), setting_name(2.0, 0.01, "frozen")
    ('gamma 2, lambda 0.01', 'gamma 0, lambda 1', 'gamma 2, lambda 0.01, frozen')
    """
    if not gamma and not lambda_:
        return "standard"
    return f"gamma {gamma:g}, lambda {lambda_:g}" + ("" if prior == PRIORS[0] else f", {prior}")


def against_standard(row: Mapping) -> Interval:
    """Return the difference from standard's change, from a row of the table `trial`."""
    low, high, estimate = (float(row[f"against_standard_{end}nats"]) for end in ("low_", "high_", ""))
    return Interval(low, high, estimate)


def tried_of(rows: pd.DataFrame) -> Tried:
    """Return one setting, from its rows in the table `trial`, with or without verdict."""
    by_loss = {row["loss"]: row for row in rows[rows["bin"] == HIGH].to_dict("records")}
    differences = {loss: Difference(against_standard(by_loss[loss]), by_loss[loss]["margin_nats"]) for loss in TRIED}
    first = by_loss[TRIED[0]]
    return Tried(first["gamma"], first["lambda"], first["prior"], differences)


def trial_table(ground: Ground, settings: Sequence[Setting], *, every: bool = False) -> pd.DataFrame:
    """Return the table `trial`: standard distillation, then the settings in their order until one passes.

    every: go on after one has passed.
    """
    analyzer, pace = ground.analyzer, ground.pace
    n_bins, seed, tokens = analyzer.bin_options.bins, analyzer.seed, analyzer.tokens
    measured = tokens.loc[tokens["rollout_id"].isin(ground.halves[1].numbers), ["prompt_id", "bin"]]
    measured = measured.reset_index(drop=True)
    standard = Setting(0.0, 0.0, PRIORS[0])
    with progress("trial", 1 + len(settings)) as show:
        of_standard = _taken(ground, standard, measured, 0)
        frames = [trial_rows(standard, pace, of_standard, of_standard, n_bins, seed).assign(verdict="")]
        for shard, setting in enumerate(settings, start=1):
            show(shard)
            rows = trial_rows(setting, pace, _taken(ground, setting, measured, shard), of_standard, n_bins, seed)
            frames.append(rows.assign(verdict=(verdict := tried_of(rows).verdict)))
            if verdict == PASSES and not every:
                break
        show(1 + len(settings))
    return pd.concat(frames, ignore_index=True)


def _taken(ground: Ground, setting: Setting, measured: pd.DataFrame, shard: int) -> pd.DataFrame:
    """The changes of each token by a setting's steps, which an interrupted run may have taken."""
    shards = ground.analyzer.shards
    if shards.due(shard, "trial"):
        shards.add("trial", shard, measured.join(ground.changes(setting)).assign(shard=shard))
    rows = shards.gather("trial")
    return rows[rows["shard"] == shard].reset_index(drop=True)
