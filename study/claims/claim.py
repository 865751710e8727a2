"""A claim as data: the statements that it comes to, and the rule that decides each.

A statement is about one number. Its rule is a region that the number must lie in. A region is asked of an interval, and
answers twice: does the interval lie wholly inside, does it lie wholly outside? Where both answers are no, nothing is
decided; an end of nan makes both no. A number from runs of training carries its evidence, see `study.evidence`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from study.evidence import Evidence
from study.rules import ALPHA

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Above:
    """Greater than a bound."""

    bound: float

    def holds(self, low: float, high: float) -> bool:
        """Say whether [low, high] lies wholly inside."""
        return low > self.bound

    def fails(self, low: float, high: float) -> bool:
        """Say whether [low, high] lies wholly outside."""
        return high <= self.bound

    def words(self, unit: str) -> str:
        """Return the rule in words."""
        return f"above {self.bound:g} {unit}".rstrip()


@dataclass(frozen=True)
class Below:
    """Less than a bound."""

    bound: float

    def holds(self, low: float, high: float) -> bool:
        """Say whether [low, high] lies wholly inside."""
        return high < self.bound

    def fails(self, low: float, high: float) -> bool:
        """Say whether [low, high] lies wholly outside."""
        return low >= self.bound

    def words(self, unit: str) -> str:
        """Return the rule in words."""
        return f"below {self.bound:g} {unit}".rstrip()


@dataclass(frozen=True)
class Within:
    """Between two bounds: what "no difference" and "stable" mean."""

    least: float
    greatest: float

    def holds(self, low: float, high: float) -> bool:
        """Say whether [low, high] lies wholly inside."""
        return self.least <= low and high <= self.greatest

    def fails(self, low: float, high: float) -> bool:
        """Say whether [low, high] lies wholly outside."""
        return high < self.least or low > self.greatest

    def words(self, unit: str) -> str:
        """Return the rule in words."""
        return f"between {self.least:g} and {self.greatest:g} {unit}".rstrip()


@dataclass(frozen=True)
class Apart:
    """Further from 0 than a margin, on either side."""

    margin: float

    def holds(self, low: float, high: float) -> bool:
        """Say whether [low, high] lies wholly on one side, beyond the margin."""
        return low > self.margin or high < -self.margin

    def fails(self, low: float, high: float) -> bool:
        """Say whether [low, high] lies wholly inside the margin."""
        return -self.margin <= low and high <= self.margin

    def words(self, unit: str) -> str:
        """Return the rule in words."""
        return f"more than {self.margin:g} {unit} from 0"


_FOUND_OFTEN = (1.959964 + 0.841621) / 1.959964
"""An effect found with a chance of 80 %, in halves of a 95 % interval, for a normal estimate."""
Region = Above | Below | Within | Apart


@dataclass(frozen=True)
class Measure:
    """What a number is counted in, and with how many digits it is worth reading."""

    name: str
    digits: int

    def number(self, value: float) -> str:
        """Return a value as it is read.

        >>> Measure("points", 1).number(-0.04)
        '0.0'
        """
        return f"{value:z.{self.digits}f}"


DEGREES, POINTS, NATS, RATIO = (
    Measure("degrees", 1),
    Measure("points", 1),
    Measure("nats", 3),
    Measure("", 2),
)


@dataclass(frozen=True)
class Estimate:
    """A number that was measured, with its 95 % interval."""

    value: float
    low: float
    high: float
    sample: str = ""
    """What the number is over, apart from seeds, such as `58 prompts`."""
    evidence: Evidence | None = None
    """The runs behind it; for runs of training alone."""

    @property
    def narrow(self) -> tuple[float, float]:
        """The interval that a region with two bounds is asked of: of runs the 90 % one, by two one-sided tests."""
        return (self.low, self.high) if self.evidence is None else self.evidence.difference.interval(1 - 2 * ALPHA)

    @property
    def detectable(self) -> float:
        """The smallest effect that would be found with a chance of 80 %, from the width of the interval."""
        if self.evidence is None:
            return (self.high - self.low) / 2 * _FOUND_OFTEN
        return self.evidence.detectable if self.evidence.judged else math.nan


ReadTable = Callable[[str], "pd.DataFrame"]
"""Returns a record's table by name."""


class NotMeasured(Exception):
    """A record, or an arm of it, does not exist yet."""


@dataclass(frozen=True)
class Statistic:
    """How a number is computed from the tables of a record; raises `NotMeasured` if they lack what it needs."""

    estimate: Callable[[ReadTable], Estimate]
    arms: tuple[str, ...] = ()
    """The arms of a study that are compared."""
    seeds: tuple[int, ...] = ()
    """The seeds that must be run, if not any will do."""


@dataclass(frozen=True)
class Statement:
    """One number, the record that it is computed from, and the region that it must lie in."""

    text: str
    unit: Measure
    region: Region
    record: str
    statistic: Statistic
    shown: str = ""
    """Why the statement is shown and decides nothing, such as `seen before the rule`; empty if it decides."""

    @property
    def rule(self) -> str:
        """The region in words."""
        return self.region.words(self.unit.name)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper's, or a question of our own, and the statements that it comes to."""

    title: str
    paper: str
    """What the paper says, and where; for a question of our own what it is about."""
    statements: tuple[Statement, ...]
    explanation: str = ""
    """Why it may have come out as it did; shown if it is not reproduced or unclear."""
    tests: tuple[Statement, ...] = ()
    """What would hold if the explanation were right."""
    note: str = ""
    """What a reader must know about the numbers; always shown."""
    untestable: str = ""
    """Why nothing measured on this pair can decide the claim, if that is so; it then stands in place of a verdict."""
    ours: bool = False
    """Whether it is a question of this project's instead of a claim of the paper's."""
