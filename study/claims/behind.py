"""What is behind the numbers of some findings: the records, and the commands that measure them."""

from collections.abc import Iterable
from dataclasses import dataclass

from study.claims.claim import Finding
from study.claims.sources import command


@dataclass(frozen=True)
class Source:
    """A record that statements rest on, or that is not there yet."""

    record: str
    there: bool
    command: str


def behind(findings: Iterable[Finding]) -> list[Source]:
    """Return the sources in the order of the findings, those of one record together with all their arms."""
    arms: dict[tuple[str, bool], dict[str, None]] = {}
    for finding in findings:
        needed = arms.setdefault((finding.part.record, finding.evidence is not None), {})
        needed |= dict.fromkeys(finding.part.statistic.arms)
    return [Source(record, there, command(record, tuple(names))) for (record, there), names in arms.items()]


def missing(findings: Iterable[Finding]) -> list[str]:
    """Return a line for each command that measures what is not there, the same in a page and in a terminal."""
    return [f"not measured: `{source.command}`" for source in behind(findings) if not source.there]
