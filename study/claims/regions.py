"""Where a number must lie for a statement to hold: the rules of the scoreboard.

A region is asked of an interval, and answers twice: does it lie wholly inside, does it lie wholly outside? Where both
answers are no, nothing is known; an end of nan makes both no.
"""

from dataclasses import dataclass


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
