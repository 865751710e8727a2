"""A claim as data: the statements that it comes to, and the rule that decides each.

A statement is about one number. Its rule is a region that the number must lie in. A region is asked of an interval, and
answers twice: does the interval lie wholly inside, does it lie wholly outside? Where both answers are no, nothing is
decided; an end of nan makes both no.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    n_seeds: int | None = None
    """For runs of training alone."""
    least: float = math.nan
    greatest: float = math.nan
    """The least and the greatest seed, if there are seeds."""
    seeds_half: float = math.nan
    """Half a 95 % interval over seeds, if `low` and `high` are over something else."""

    @property
    def detectable(self) -> float:
        """The smallest effect distinguishable from zero: half the interval, or that over seeds if it is larger."""
        half = (self.high - self.low) / 2
        return half if math.isnan(self.seeds_half) else max(half, self.seeds_half)


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


@dataclass(frozen=True)
class Statement:
    """One number, the record that it is computed from, and the region that it must lie in."""

    text: str
    unit: Measure
    region: Region
    record: str
    statistic: Statistic

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
    ours: bool = False
    """Whether it is a question of this project's instead of a claim of the paper's."""
