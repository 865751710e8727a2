"""The scoreboard as a compact table for the terminal."""

from collections.abc import Iterator, Sequence

from study.claims.behind import missing
from study.claims.claim import Finding, Outcome
from study.claims.words import interval, verdict_word


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a line a claim, of a claim of several statements one for each beneath it, and the commands that lack."""
    lines = [line for number, outcome in enumerate(outcomes, start=1) for line in _lines(number, outcome)]
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    rows = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in lines]
    return "\n".join(rows + missing(f for outcome in outcomes for f in (*outcome.parts, *outcome.tests)))


def _lines(number: int, outcome: Outcome) -> Iterator[tuple[str, str, str]]:
    title, verdict = f"{number:>2} {outcome.claim.title}", verdict_word(outcome.verdict, outcome.claim.ours)
    if len(outcome.parts) == 1:
        yield title, _value(outcome.parts[0]), verdict
        return
    yield title, "", verdict
    for finding in outcome.parts:
        yield f"     {finding.part.statement}", _value(finding), verdict_word(finding.verdict, outcome.claim.ours)


def _value(finding: Finding) -> str:
    return "" if finding.evidence is None else interval(finding.evidence, finding.part.unit)
