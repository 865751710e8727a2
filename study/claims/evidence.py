"""What was measured of a statement, and what that makes of it.

A statement is *reproduced* where the 95 % interval of its number lies wholly in its region, *not reproduced* where it
lies wholly outside, else *unclear*. Of runs of training the region is asked of the seeds, too: the least and the
greatest must lie where the interval does. One seed decides nothing.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from study.claims.regions import Region


class NotMeasured(Exception):
    """A record, or an arm of it, is not there."""


class Verdict(StrEnum):
    """What a statement, or a claim of several, comes to."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    UNCLEAR = "unclear"
    ONE_SEED = "unclear (one seed)"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Evidence:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float
    sample: str = ""
    """What the number is of beside its seeds, such as `58 prompts`."""
    n_seeds: int | None = None
    """Of runs of training alone."""
    least: float = float("nan")
    greatest: float = float("nan")
    """Of the seeds, where there are any."""
    seeds_half: float = float("nan")
    """Half a 95 % interval over seeds, where `low` and `high` are over something else."""

    @property
    def detectable(self) -> float:
        """The smallest effect that would have been told from none: half the interval, or that over seeds if larger."""
        half = (self.high - self.low) / 2
        return half if math.isnan(self.seeds_half) else max(half, self.seeds_half)


Tables = Callable[[str], pd.DataFrame]
"""A record's table by name."""


@dataclass(frozen=True)
class Statistic:
    """How a number is had from a record."""

    of: Callable[[Tables], Evidence]
    arms: tuple[str, ...] = ()
    """Of a study, those that it compares."""


@dataclass(frozen=True)
class Unit:
    """What a number is counted in, and with how many digits it is worth reading."""

    name: str
    digits: int

    def number(self, value: float) -> str:
        """Return a value as it is read.

        >>> Unit("points", 1).number(-0.04)
        '0.0'
        """
        return f"{value:z.{self.digits}f}"


DEGREES, POINTS, NATS, RATIO = Unit("degrees", 1), Unit("points", 1), Unit("nats", 3), Unit("", 2)


@dataclass(frozen=True)
class Part:
    """One statement: a number, and the region it must lie in."""

    statement: str
    unit: Unit
    region: Region
    record: str
    statistic: Statistic

    @property
    def rule(self) -> str:
        """The region in words."""
        return self.region.words(self.unit.name)


def judge(found: Evidence, region: Region) -> Verdict:
    """Return what evidence makes of a region."""
    if found.n_seeds is not None and found.n_seeds < 2:
        return Verdict.ONE_SEED
    spans = [(found.low, found.high)]
    if found.n_seeds is not None:
        spans.append((found.least, found.greatest))
    if all(region.holds(*span) for span in spans):
        return Verdict.REPRODUCED
    return Verdict.NOT_REPRODUCED if all(region.fails(*span) for span in spans) else Verdict.UNCLEAR


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Return what the parts make of their claim: it fails with one of them, and needs them all."""
    found = set(verdicts)
    for verdict in (Verdict.NOT_REPRODUCED, Verdict.NOT_MEASURED, Verdict.UNCLEAR, Verdict.ONE_SEED):
        if verdict in found:
            return verdict
    return Verdict.REPRODUCED
