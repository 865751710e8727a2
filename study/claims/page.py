"""The scoreboard as a Markdown page."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from study.claims.behind import behind, missing
from study.claims.claim import Finding, Outcome
from study.claims.evidence import Verdict
from study.claims.sources import Shelf
from study.claims.words import interval, seeds, verdict_word

TITLE = "# The paper's claims, one by one"
RULES = """\
Written by `python -m study.claims` from the records in `{folder}`; a test holds the committed page to the
gallery's. One pair of models, the bundled one: what does not come out here may well come out on another.

A statement is **reproduced** if the 95 % interval of its number lies wholly in the region that its rule names, **not
reproduced** if it lies wholly outside, else **unclear**. Of training the rule asks the same of the least and the
greatest seed, and one seed decides nothing. A claim is reproduced if all its statements are, not reproduced if one is
not. Questions of our own are answered by the same rules, **yes** or **no**.

Intervals of angles and norms resample prompts. Those of accuracies resample scenes: they speak of these seeds, not of
others, and the seeds' spread stands beside them. Those of numbers that each seed has (losses, ratios, lengths) are over
seeds, by Student's t; `study.effects`, the study's own rule, takes twice the standard error instead, which is 82 % at
three seeds. The *smallest detectable* effect is half the interval; of an accuracy it is half of Student's interval of
the seeds' differences where that is larger. Accuracies are in points, percent of the scenes: high those that need the
picture, low those that show it beside the point, text those without.

A study's command trains the arms that the statements above it need, and its record is `runs/NAME/record`. The gallery's
records of studies hold all arms (`python -m study.effects runs/NAME --out figures/gallery/NAME`).

When the rules were written: that of `study.effects` before the study's runs ([LOG.md](../LOG.md)). The margins here
(`study/claims/*_rows.py`) when all three seeds of the arms without a reward, one of those with, and the first draw of
prompts (`angles`) had been seen, and before the records `angles_second`, `angles_blind`, `study_small_rate`,
`study_eta`, `study_blind` and `study_cost`, the second and third seeds of the arms with a reward, and the arms of other
strengths. After the first seed of vgs-lp-lambda-1 had been seen: the margins of "not higher than with standard" (0.02
nats) and "not worse" (-1 point), and the questions about lambda 1 and about what the diagnosis recommends. A review
that knew these numbers, `angles_second`, `angles_blind` and all seeds of the arms with a reward had two-sided rules ask
the least and the greatest seed, too, put Student's t in the place of two standard errors, and language preservation
beside standard in the place of the untrained student; it added language steering where the picture is beside the point
or absent, and the question what standard distillation itself unlearns."""
_PARTS = ("statement", "ours, 95 % interval", "rule", "smallest detectable", "over", "verdict")


def page(outcomes: Sequence[Outcome], shelf: Shelf) -> str:
    """Return the page, ending in a newline."""
    table = markdown_table(("claim", "paper", "ours, 95 % interval", "rule", "verdict"), _rows(outcomes))
    sections = ["\n\n".join(_section(number, outcome, shelf)) for number, outcome in enumerate(outcomes, start=1)]
    rules = RULES.format(folder=shelf.folder.as_posix())
    return "\n\n".join([TITLE, summary(outcomes), rules, table, *sections]) + "\n"


def summary(outcomes: Sequence[Outcome]) -> str:
    """Count the verdicts of the paper's claims, and the answers to questions of our own."""
    lines = []
    for whose, ours in (("Of the paper's {n} claims", False), ("Of {n} questions of our own", True)):
        chosen = [outcome for outcome in outcomes if outcome.claim.ours is ours]
        counts = Counter(verdict_word(outcome.verdict, ours).partition(" (")[0] for outcome in chosen)
        kinds = [verdict_word(v, ours) for v in Verdict if v is not Verdict.ONE_SEED]
        if chosen:
            words = ", ".join(f"**{counts[kind]}** {kind}" for kind in kinds)
            lines.append(f"{whose.format(n=len(chosen))}: {words}.")
    return "\n".join(lines)


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown, bars in its cells escaped.

    >>> print(markdown_table(["a"], [["|g|"]]))
    | a |
    | --- |
    | \\|g\\| |
    """
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cell(text) for text in line)} |" for line in lines)


def cell(text: str) -> str:
    """Return a text as it may stand in a cell: no bar ends it, no line break, no star that opens an emphasis."""
    return text.replace("|", r"\|").replace("*", r"\*").replace("\n", "<br>")


def _rows(outcomes: Sequence[Outcome]) -> Iterator[list[str]]:
    for number, outcome in enumerate(outcomes, start=1):
        claim, rules = outcome.claim, list(dict.fromkeys(finding.part.rule for finding in outcome.parts))
        if len(rules) > 1:
            rules = [finding.part.rule for finding in outcome.parts]
        found = [*_measured(outcome.parts), *missing(outcome.parts)]
        title = f"{number}. {claim.title}" + (" (ours)" if claim.ours else "")
        yield [title, claim.paper, "\n".join(found), "\n".join(rules), verdict_word(outcome.verdict, claim.ours)]


def _measured(findings: Sequence[Finding]) -> Iterator[str]:
    """The numbers that are there; of a claim of several statements each with its own."""
    for finding in findings:
        if finding.evidence is not None:
            words = interval(finding.evidence, finding.part.unit)
            yield words if len(findings) == 1 else f"{finding.part.statement}: {words}"


def _section(number: int, outcome: Outcome, shelf: Shelf) -> Iterator[str]:
    claim = outcome.claim
    yield f"## {number}. {_text(claim.title)}"
    yield f"**{verdict_word(outcome.verdict, claim.ours).capitalize()}.** " + _text(
        f"{'A question of our own' if claim.ours else 'The paper'}: {claim.paper}"
    )
    if claim.note:
        yield _text(claim.note)
    yield markdown_table(_PARTS, [_details(finding, claim.ours) for finding in outcome.parts])
    yield _behind(outcome.parts, shelf)
    if outcome.explained and claim.explanation:
        yield _text(f"Why it may be so: {claim.explanation}")
        if outcome.tests:
            yield "What would hold if that were so:"
            yield markdown_table(_PARTS, [_details(finding, True) for finding in outcome.tests])
            yield _behind(outcome.tests, shelf)


def _text(text: str) -> str:
    return text.replace("*", r"\*")


def _details(finding: Finding, ours: bool) -> list[str]:
    part, found = finding.part, finding.evidence
    verdict = verdict_word(finding.verdict, ours)
    if found is None:
        return [part.statement, "not measured", part.rule, "", "", verdict]
    least = "" if math.isnan(found.detectable) else part.unit.number(found.detectable)
    return [part.statement, interval(found, part.unit), part.rule, least, seeds(found, part.unit), verdict]


def _behind(findings: Sequence[Finding], shelf: Shelf) -> str:
    """The records and the commands behind some numbers, a line each."""
    lines = []
    for source in behind(findings):
        name = f"`{source.record}`"
        words = f"Record {name}, {shelf.fingerprint(source.record)}" if source.there else f"Not measured, for {name}"
        lines.append(f"{words}: `{source.command}`")
    return "  \n".join(lines)
