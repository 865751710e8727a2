"""The scoreboard, as a Markdown page and as a table for the terminal: the same numbers and words in both."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from study.claims.claim import Estimate, Measure
from study.claims.judging import ClaimVerdict, JudgedClaim, JudgedStatement
from study.claims.sources import RecordFolder, command

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
(`study/claims/*_claims.py`) when all three seeds of the arms without a reward, one of those with, and the first draw of
prompts (`angles`) had been seen, and before the records `angles_second`, `angles_blind`, `study_small_rate`,
`study_eta`, `study_blind` and `study_cost`, the second and third seeds of the arms with a reward, and the arms of other
strengths. After the first seed of vgs-lp-lambda-1 had been seen: the margins of "not higher than with standard" (0.02
nats) and "not worse" (-1 point), and the questions about lambda 1 and about what the diagnosis recommends. A review
that knew these numbers, `angles_second`, `angles_blind` and all seeds of the arms with a reward had two-sided rules ask
the least and the greatest seed, too, put Student's t in the place of two standard errors, and language preservation
beside standard in the place of the untrained student; it added language steering where the picture is beside the point
or absent, and the question what standard distillation itself unlearns."""
_COLUMNS = ("statement", "ours, 95 % interval", "rule", "smallest detectable", "over", "verdict")
_ANSWERS = {ClaimVerdict.REPRODUCED: "yes", ClaimVerdict.NOT_REPRODUCED: "no"}


def markdown_page(judged: Sequence[JudgedClaim], records: RecordFolder) -> str:
    """Return the page in Markdown, ending in a newline."""
    table = markdown_table(("claim", "paper", "ours, 95 % interval", "rule", "verdict"), _rows(judged))
    sections = ["\n\n".join(_section(number, one, records)) for number, one in enumerate(judged, start=1)]
    rules = RULES.format(folder=records.folder.as_posix())
    return "\n\n".join([TITLE, summary(judged), rules, table, *sections]) + "\n"


def terminal_table(judged: Sequence[JudgedClaim]) -> str:
    """Return one line for each claim, and one beneath it for each statement if there are several.

    The commands that measure what is missing follow.
    """
    lines = [line for number, one in enumerate(judged, start=1) for line in _lines(number, one)]
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    rows = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in lines]
    return "\n".join(rows + missing(statement for one in judged for statement in (*one.statements, *one.tests)))


def summary(judged: Sequence[JudgedClaim]) -> str:
    """Count the verdicts of the paper's claims, and the answers to questions of our own."""
    lines = []
    for whose, ours in (("Of the paper's {n} claims", False), ("Of {n} questions of our own", True)):
        chosen = [one for one in judged if one.claim.ours is ours]
        counts = Counter(verdict_word(one.verdict, ours).partition(" (")[0] for one in chosen)
        kinds = [verdict_word(verdict, ours) for verdict in ClaimVerdict if verdict is not ClaimVerdict.ONE_SEED]
        if chosen:
            words = ", ".join(f"**{counts[kind]}** {kind}" for kind in kinds)
            lines.append(f"{whose.format(n=len(chosen))}: {words}.")
    return "\n".join(lines)


def verdict_word(verdict: ClaimVerdict, ours: bool) -> str:
    """Return a verdict in words; a question of our own is answered yes or no.

    >>> verdict_word(ClaimVerdict.NOT_REPRODUCED, ours=True)
    'no'
    """
    return _ANSWERS.get(verdict, verdict.value) if ours else verdict.value


def value_words(estimate: Estimate, unit: Measure) -> str:
    """Return a value with its interval.

    >>> value_words(Estimate(1.24, 0.5, 2.0), Measure("points", 1))
    '1.2 [0.5, 2.0] points'
    """
    ends = "" if math.isnan(estimate.low) else f" [{unit.number(estimate.low)}, {unit.number(estimate.high)}]"
    return f"{unit.number(estimate.value)}{ends} {unit.name}".rstrip()


def sample_words(estimate: Estimate, unit: Measure) -> str:
    """Return what a number is over: its sample, and the seeds with their least and greatest.

    >>> sample_words(Estimate(1, 0, 2, "40 scenes", 3, -0.5, 2.5), Measure("points", 1))
    '40 scenes; 3 seeds, -0.5 to 2.5'
    """
    words = [estimate.sample] if estimate.sample else []
    if estimate.n_seeds == 1:
        words.append("1 seed")
    elif estimate.n_seeds is not None:
        spread = f"{unit.number(estimate.least)} to {unit.number(estimate.greatest)}"
        words.append(f"{estimate.n_seeds} seeds, {spread}")
    return "; ".join(words)


@dataclass(frozen=True)
class Citation:
    """A record that statements rest on, whether it has what they need, and the command that measures it."""

    record: str
    measured: bool
    command: str


def citations(statements: Iterable[JudgedStatement]) -> list[Citation]:
    """Return the citations in the order of the statements: one for each record, with all arms that they need."""
    arms: dict[tuple[str, bool], dict[str, None]] = {}
    for judged in statements:
        needed = arms.setdefault((judged.statement.record, judged.estimate is not None), {})
        needed |= dict.fromkeys(judged.statement.statistic.arms)
    return [Citation(record, there, command(record, tuple(names))) for (record, there), names in arms.items()]


def missing(statements: Iterable[JudgedStatement]) -> list[str]:
    """Return one line for each command that measures something missing."""
    return [f"not measured: `{cited.command}`" for cited in citations(statements) if not cited.measured]


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
    """Return a text as it may stand in a cell: without bars, line breaks, and stars that open an emphasis."""
    return text.replace("|", r"\|").replace("*", r"\*").replace("\n", "<br>")


def _rows(judged: Sequence[JudgedClaim]) -> Iterator[list[str]]:
    for number, one in enumerate(judged, start=1):
        claim, rules = one.claim, list(dict.fromkeys(each.statement.rule for each in one.statements))
        if len(rules) > 1:
            rules = [each.statement.rule for each in one.statements]
        values = [*_values(one.statements), *missing(one.statements)]
        title = f"{number}. {claim.title}" + (" (ours)" if claim.ours else "")
        yield [title, claim.paper, "\n".join(values), "\n".join(rules), verdict_word(one.verdict, claim.ours)]


def _values(statements: Sequence[JudgedStatement]) -> Iterator[str]:
    """The values that were measured; if there are several statements, each value after its statement."""
    for judged in statements:
        if judged.estimate is not None:
            words = _value(judged)
            yield words if len(statements) == 1 else f"{judged.statement.text}: {words}"


def _value(judged: JudgedStatement) -> str:
    return "" if judged.estimate is None else value_words(judged.estimate, judged.statement.unit)


def _section(number: int, one: JudgedClaim, records: RecordFolder) -> Iterator[str]:
    claim = one.claim
    yield f"## {number}. {_text(claim.title)}"
    yield f"**{verdict_word(one.verdict, claim.ours).capitalize()}.** " + _text(
        f"{'A question of our own' if claim.ours else 'The paper'}: {claim.paper}"
    )
    if claim.note:
        yield _text(claim.note)
    yield from _details(one.statements, claim.ours, records)
    if one.needs_explanation and claim.explanation:
        yield _text(f"Why it may be so: {claim.explanation}")
        if one.tests:
            yield "What would hold if that were so:"
            yield from _details(one.tests, True, records)


def _text(text: str) -> str:
    return text.replace("*", r"\*")


def _details(statements: Sequence[JudgedStatement], ours: bool, records: RecordFolder) -> Iterator[str]:
    """A table of the statements, and the records and commands behind it."""
    yield markdown_table(_COLUMNS, [_detail(judged, ours) for judged in statements])
    lines = []
    for cited in citations(statements):
        name = f"`{cited.record}`"
        words = f"Record {name}, {records.fingerprint(cited.record)}" if cited.measured else f"Not measured, for {name}"
        lines.append(f"{words}: `{cited.command}`")
    yield "  \n".join(lines)


def _detail(judged: JudgedStatement, ours: bool) -> list[str]:
    statement, estimate = judged.statement, judged.estimate
    verdict = verdict_word(judged.verdict, ours)
    if estimate is None:
        return [statement.text, "not measured", statement.rule, "", "", verdict]
    least = "" if math.isnan(estimate.detectable) else statement.unit.number(estimate.detectable)
    return [statement.text, _value(judged), statement.rule, least, sample_words(estimate, statement.unit), verdict]


def _lines(number: int, one: JudgedClaim) -> Iterator[tuple[str, str, str]]:
    title, verdict = f"{number:>2} {one.claim.title}", verdict_word(one.verdict, one.claim.ours)
    if len(one.statements) == 1:
        yield title, _value(one.statements[0]), verdict
        return
    yield title, "", verdict
    for judged in one.statements:
        yield f"     {judged.statement.text}", _value(judged), verdict_word(judged.verdict, one.claim.ours)
