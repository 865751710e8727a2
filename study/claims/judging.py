"""How a claim is judged from the records.

A statement is *reproduced* if the 95 % interval of its number lies wholly in its region, *not reproduced* if it lies
wholly outside, else *unclear*. For runs of training the interval is over seeds, by the rule of `study.rules`. A region
with two bounds then holds by two one-sided tests, and a primary contrast counts by its adjusted p-value. One seed
decides nothing. A claim needs all its statements, and fails with one of them. A statement that is only shown, such as
one about runs that were seen before the rule, is left out of the verdict.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from study.claims.claim import Claim, Estimate, NotMeasured, Region, Statement, Within
from study.claims.gradient_claims import GRADIENT_CLAIMS
from study.claims.primary_claims import PRIMARY_CLAIMS
from study.claims.sources import RecordFolder
from study.claims.special_claims import SPECIAL_CLAIMS
from study.claims.training_claims import TRAINING_CLAIMS
from study.rules import ALPHA

CLAIMS = (*GRADIENT_CLAIMS, *PRIMARY_CLAIMS, *TRAINING_CLAIMS, *SPECIAL_CLAIMS)


class ClaimVerdict(StrEnum):
    """What a statement, or a claim of several statements, comes to."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    UNCLEAR = "unclear"
    ONE_SEED = "unclear (one seed)"
    NOT_MEASURED = "not measured"
    UNTESTABLE = "cannot be tested here"


@dataclass(frozen=True)
class JudgedStatement:
    """A statement, its verdict, and the number behind it if it was measured."""

    statement: Statement
    verdict: ClaimVerdict
    estimate: Estimate | None = None


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its judged statements, and the judged tests of its explanation."""

    claim: Claim
    statements: tuple[JudgedStatement, ...]
    tests: tuple[JudgedStatement, ...]

    @property
    def verdict(self) -> ClaimVerdict:
        """The verdict that follows from those of the statements."""
        if self.claim.untestable:
            return ClaimVerdict.UNTESTABLE
        return overall(judged.verdict for judged in self.statements if not judged.statement.shown)

    @property
    def needs_explanation(self) -> bool:
        """Whether something measured did not come out; a single seed has nothing to explain yet."""
        return self.verdict in (ClaimVerdict.NOT_REPRODUCED, ClaimVerdict.UNCLEAR)


def judge_claims(records: RecordFolder, claims: Sequence[Claim] = CLAIMS) -> list[JudgedClaim]:
    """Judge claims from a folder of records, in order.

    Raises:
        RecordError: a record of the folder is broken.
    """
    return [
        JudgedClaim(
            claim,
            tuple(judge_statement(statement, records) for statement in claim.statements),
            tuple(judge_statement(test, records) for test in claim.tests),
        )
        for claim in claims
    ]


def judge_statement(statement: Statement, records: RecordFolder) -> JudgedStatement:
    """Compute a statement's number and judge it; what is missing gives the verdict `NOT_MEASURED`."""
    try:
        estimate = statement.statistic.estimate(records.tables(statement.record))
    except NotMeasured:
        return JudgedStatement(statement, ClaimVerdict.NOT_MEASURED)
    return JudgedStatement(statement, judge(estimate, statement.region), estimate)


def judge(estimate: Estimate, region: Region) -> ClaimVerdict:
    """Return the verdict of a number on a region."""
    evidence = estimate.evidence
    if evidence is not None and not evidence.judged:
        return ClaimVerdict.ONE_SEED
    if evidence is not None and evidence.primary and not evidence.p < ALPHA:
        return ClaimVerdict.UNCLEAR
    inside = estimate.narrow if isinstance(region, Within) else (estimate.low, estimate.high)
    if region.holds(*inside):
        return ClaimVerdict.REPRODUCED
    return ClaimVerdict.NOT_REPRODUCED if region.fails(estimate.low, estimate.high) else ClaimVerdict.UNCLEAR


def overall(verdicts: Iterable[ClaimVerdict]) -> ClaimVerdict:
    """Return the verdict of a claim from those of its statements: the first below that one of them has."""
    present = set(verdicts)
    order = (ClaimVerdict.NOT_REPRODUCED, ClaimVerdict.NOT_MEASURED, ClaimVerdict.UNCLEAR, ClaimVerdict.ONE_SEED)
    return next((verdict for verdict in order if verdict in present), ClaimVerdict.REPRODUCED)
