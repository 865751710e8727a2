"""A claim: what the paper says, the statements it comes to, and what tests our explanation where it fails."""

from dataclasses import dataclass

from study.claims.evidence import Evidence, NotMeasured, Part, Verdict, judge, overall
from study.claims.sources import Shelf


@dataclass(frozen=True)
class Claim:
    """A row of the scoreboard."""

    title: str
    paper: str
    """What the paper says, and where; of a question of our own what it is about."""
    parts: tuple[Part, ...]
    explanation: str = ""
    """Why it may have come out as it did, shown where it was not reproduced or is unclear."""
    tests: tuple[Part, ...] = ()
    """What would hold if the explanation were right."""
    note: str = ""
    """What to know of the numbers, shown whatever came out."""
    ours: bool = False
    """It is a question of this project's, not a claim of the paper's."""


@dataclass(frozen=True)
class Finding:
    """A statement with what was found of it."""

    part: Part
    verdict: Verdict
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Outcome:
    """A claim with what was found of its statements."""

    claim: Claim
    parts: tuple[Finding, ...]
    tests: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """What the parts make of the claim."""
        return overall(finding.verdict for finding in self.parts)

    @property
    def explained(self) -> bool:
        """Whether the explanation is called for: one seed has nothing to explain yet."""
        return self.verdict in (Verdict.NOT_REPRODUCED, Verdict.UNCLEAR)


def weigh(claim: Claim, shelf: Shelf) -> Outcome:
    """Return what the records make of a claim.

    Raises:
        RecordError: a record that is there is broken.
    """
    return Outcome(claim, *(tuple(_find(part, shelf) for part in parts) for parts in (claim.parts, claim.tests)))


def _find(part: Part, shelf: Shelf) -> Finding:
    try:
        found = part.statistic.of(shelf.tables(part.record))
    except NotMeasured:
        return Finding(part, Verdict.NOT_MEASURED)
    return Finding(part, judge(found, part.region), found)
