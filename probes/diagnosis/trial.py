"""The trial as the decision reads it: settings of vgs-lp whose steps were taken, each beside standard distillation.

A setting *passes* if after its steps neither the language nor the visual loss of the upper three tenths of the bins is
surely above what as many steps of standard distillation leave: the lower bound of the difference is at most 0. A
setting that unlearns language is no good, and one that lowers the visual loss less than standard does has no point.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from probes.forecast.tables import HIGH
from stats.bootstrap import Interval

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
