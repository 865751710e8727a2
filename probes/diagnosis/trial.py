"""The trial as the decision reads it: settings of vgs-lp whose steps were taken, each beside standard distillation.

A setting *passes* if after its steps neither the language nor the visual loss of the upper three tenths of the bins is
surely above what as many steps of standard distillation leave: the lower bound of the difference is at most 0. A
setting that unlearns language is no good, and one that lowers the visual loss less than standard does has no point.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from cli.progress import progress
from probes.stages.forecast import HIGH
from probes.stages.real_steps import Ground, Setting, trial_rows
from records.tables.forecast import PRIORS
from stats import Interval

PASSES = "passes"


@dataclass(frozen=True)
class Tried:
    """A steered setting: how far the losses of the upper bins stand from where standard leaves them, in nats."""

    gamma: float
    lambda_: float
    language: Interval
    visual: Interval

    @property
    def verdict(self) -> str:
        """A word or two for the table `trial`."""
        rising = [name for name in ("language", "visual") if surely_rises(getattr(self, name))]
        return f"{' and '.join(rising)} above standard" if rising else PASSES

    @property
    def words(self) -> str:
        """Both numbers with their intervals."""
        return f"{signed(self.language)} nats of language loss, {signed(self.visual)} of visual loss"


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


def trial_of(table: pd.DataFrame) -> Trial:
    """Read the table `trial`."""
    steered = table[table["gamma"] > 0.0]
    tried = [tried_of(rows) for _, rows in steered.groupby(["gamma", "lambda"], sort=False)]
    return Trial(int(table["steps"].iloc[0]), float(table["lr"].iloc[0]), tried)


def surely_rises(found: Interval) -> bool:
    """Whether the whole interval is above 0; never of one that is not known."""
    return found.low > 0.0


def signed(found: Interval) -> str:
    """The number with its sign and interval.

    >>> signed(Interval(-0.001, 0.02, 0.0123))
    '+0.012 (-0.001 to 0.02)'
    """
    return f"{found.estimate:+.2g} ({found.low:.2g} to {found.high:.2g})"


def setting_name(gamma: float, lambda_: float) -> str:
    """A setting in a word or four."""
    return f"gamma {gamma:g}, lambda {lambda_:g}" if gamma else "standard"


def beside_standard(row: Mapping) -> Interval:
    """The change beside standard's, from a row of the table `trial`."""
    low, high, estimate = (float(row[f"beside_standard_{end}nats"]) for end in ("low_", "high_", ""))
    return Interval(low, high, estimate)


def tried_of(rows: pd.DataFrame) -> Tried:
    """One steered setting, from its rows in the table `trial`, with or without verdict."""
    by_loss = {row["loss"]: row for row in rows[rows["bin"] == HIGH].to_dict("records")}
    language, visual = (beside_standard(by_loss[loss]) for loss in ("language", "visual"))
    first = by_loss["language"]
    return Tried(first["gamma"], first["lambda"], language, visual)


def trial_table(ground: Ground, steered: Sequence[Setting]) -> pd.DataFrame:
    """Return the table `trial`: standard distillation, then the steered settings in their order until one passes."""
    analyzer, pace = ground.analyzer, ground.pace
    n_bins, seed, tokens = analyzer.bin_options.bins, analyzer.seed, analyzer.tokens
    measured = tokens.loc[tokens["rollout_id"].isin(ground.halves[1].numbers), ["prompt_id", "bin"]]
    measured = measured.reset_index(drop=True)
    standard = Setting(0.0, 0.0, steered[0].prior if steered else PRIORS[0])
    with progress("trial", 1 + len(steered)) as show:
        of_standard = _taken(ground, standard, measured, 0)
        frames = [trial_rows(standard, pace, of_standard, of_standard, n_bins, seed).assign(verdict="")]
        for shard, setting in enumerate(steered, start=1):
            show(shard)
            rows = trial_rows(setting, pace, _taken(ground, setting, measured, shard), of_standard, n_bins, seed)
            frames.append(rows.assign(verdict=(verdict := tried_of(rows).verdict)))
            if verdict == PASSES:
                break
        show(1 + len(steered))
    return pd.concat(frames, ignore_index=True)


def _taken(ground: Ground, setting: Setting, measured: pd.DataFrame, shard: int) -> pd.DataFrame:
    """The changes of each token by a setting's steps, which an interrupted run may have taken."""
    shards = ground.analyzer.shards
    if shards.due(shard, "trial"):
        shards.add("trial", shard, measured.join(ground.changes(setting)).assign(shard=shard))
    rows = shards.gather("trial")
    return rows[rows["shard"] == shard].reset_index(drop=True)
