"""The scoreboard, as a Markdown page and as a table for the terminal: the same numbers and words in both."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from study.claims.claim import RATIO, Estimate, Measure
from study.claims.conditions import section
from study.claims.judging import ClaimVerdict, JudgedClaim, JudgedStatement
from study.claims.markdown import markdown_table
from study.claims.sources import RecordFolder, command

TITLE = "# The paper's claims, one by one"
RULES = """\
Written by `python -m study.claims` from the records in `{folder}`; a test holds the committed page to the
gallery's. One pair of models, the bundled one, except in the section about pairs with set gaps: what does not come out
here may well come out on another.

A statement is **reproduced** if the 95 % interval of its number lies wholly in the region that its rule names, **not
reproduced** if it lies wholly outside, else **unclear**. One seed decides nothing. A claim is reproduced if all its
statements are, not reproduced if one is not. A statement that is *shown* stands there for comparison and decides
nothing. Questions of our own are answered by the same rules, **yes** or **no**.

Intervals of angles and norms resample prompts. Those of training are over seeds, by the one rule of `study/rules.py`:
Welch's t, unpaired; on pairs with set gaps Student's t over the seeds' differences. Below 6 seeds the SD of an accuracy
on scenes high is pooled with a prior SD. The least and the greatest seed are shown, and nothing is judged by them. "No
difference" holds by two one-sided tests. Three contrasts are *primary*, with p-values adjusted by Holm. Every other
number of training is *exploratory* and unadjusted: where nothing differs, about 1 verdict in 20 says that something
does.

The *smallest detectable* effect is the true one that these data find with a chance of 80 %. *Power* is the chance to
find the effect that the paper publishes (`study/published.py`). *Seeds* are those in each arm that find a difference
as large as the margin (2 points, 0.02 nats, a tenth of a ratio) with a chance of 80 %. Accuracies are in points,
percent of the scenes: high those that need the picture, low those that show it beside the point, text those without.
Intervals over seeds are about these 3,000, 500 and 500 scenes.

A study's command trains the arms that the statements above it need, and its record is `runs/NAME/record`. The gallery's
records of studies hold all arms (`python -m study.effects runs/NAME --out figures/gallery/NAME`).

When the rules were written: those of training (`study/rules.py`, [LOG.md](../LOG.md)) after seeds 0 to 3 of standard,
vgs-lp and the arms with lambda 1 and seeds 0 to 2 of all other arms had been seen; so for these seeds no rule here is
blind. The margins of the claims (`study/claims/*_claims.py`) when all three seeds of the arms without a reward, one of
those with, and the first draw of prompts (`angles`) had been seen, and before the records `angles_second`,
`angles_blind`, `study_small_rate`, `study_eta`, `study_blind` and `study_cost`. After the first seed of vgs-lp-lambda-1
had been seen: the margins of "not higher than with standard" (0.02 nats) and "not worse" (-1 point), and the questions
about lambda 1 and about what the diagnosis recommends. The rules about pairs with set gaps stood before the runs that
they judge."""
_PROMPT_COLUMNS = ("statement", "ours, 95 % interval", "rule", "smallest detectable", "over", "verdict")
_SEED_COLUMNS = (*_PROMPT_COLUMNS[:-1], "power", "seeds", "kind", "verdict")
_NOTHING = "\u2013"
_ALWAYS_COUNTED = (
    ClaimVerdict.REPRODUCED,
    ClaimVerdict.NOT_REPRODUCED,
    ClaimVerdict.UNCLEAR,
    ClaimVerdict.NOT_MEASURED,
)
_ANSWERS = {ClaimVerdict.REPRODUCED: "yes", ClaimVerdict.NOT_REPRODUCED: "no"}


def markdown_page(judged: Sequence[JudgedClaim], records: RecordFolder) -> str:
    """Return the page in Markdown, ending in a newline."""
    conditions = [part for part in (section(records.folder),) if part]
    table = markdown_table(("claim", "paper", "ours, 95 % interval", "rule", "verdict"), _rows(judged))
    sections = ["\n\n".join(_section(number, one, records)) for number, one in enumerate(judged, start=1)]
    rules = RULES.format(folder=records.folder.as_posix())
    return "\n\n".join([TITLE, summary(judged), *conditions, "## How it is judged", rules, table, *sections]) + "\n"


def terminal_table(judged: Sequence[JudgedClaim]) -> str:
    """Return one line for each claim, and one beneath it for each statement if there are several.

    The commands that measure what is missing follow.
    """
    lines = [line for number, one in enumerate(judged, start=1) for line in _lines(number, one)]
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    rows = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in lines]
    every = (each for one in judged for each in (*one.statements, *one.tests))
    return "\n".join(rows + missing(every))


def summary(judged: Sequence[JudgedClaim]) -> str:
    """Count the verdicts of the paper's claims, and the answers to questions of our own."""
    lines = []
    for whose, ours in (("Of the paper's {n} claims", False), ("Of {n} questions of our own", True)):
        chosen = [one for one in judged if one.claim.ours is ours]
        counts = Counter(verdict_word(one.verdict, ours).partition(" (")[0] for one in chosen)
        kinds = [verdict_word(verdict, ours) for verdict in ClaimVerdict if verdict is not ClaimVerdict.ONE_SEED]
        usual = [verdict_word(verdict, ours) for verdict in _ALWAYS_COUNTED]
        if chosen:
            words = ", ".join(f"**{counts[kind]}** {kind}" for kind in kinds if counts[kind] or kind in usual)
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
    """Return what a number is over: its sample, and the seeds of both arms with the least and greatest of ours."""
    words = [estimate.sample] if estimate.sample else []
    if (evidence := estimate.evidence) is not None:
        counts = [one.n for one in (evidence.ours, evidence.theirs) if math.isfinite(one.df)]
        words.append(f"{' and '.join(map(str, counts))} {'seed' if counts == [1] else 'seeds'}")
        if evidence.judged:
            words[-1] += f", {unit.number(evidence.least)} to {unit.number(evidence.greatest)}"
    return "; ".join(words)


@dataclass(frozen=True)
class Citation:
    """A record that statements rest on, whether it has what they need, and the command that measures it."""

    record: str
    measured: bool
    command: str


def citations(statements: Iterable[JudgedStatement]) -> list[Citation]:
    """Return the citations in the order of the statements: one for each record, with all arms that they need."""
    needed: dict[tuple[str, bool], tuple[dict[str, None], set[int]]] = {}
    for judged in statements:
        statement, there = judged.statement, judged.estimate is not None
        arms, seeds = needed.setdefault((statement.record, there), ({}, set()))
        arms |= dict.fromkeys(statement.statistic.arms)
        seeds |= set(statement.statistic.seeds)
    return [
        Citation(record, there, command(record, (*arms, *_seed_flags(seeds))))
        for (record, there), (arms, seeds) in needed.items()
    ]


def _seed_flags(seeds: Iterable[int]) -> Iterator[str]:
    """What follows the arms in a command, if they need other seeds than the usual ones."""
    yield from (("--seeds", *map(str, sorted(seeds))) if seeds else ())


def missing(statements: Iterable[JudgedStatement]) -> list[str]:
    """Return one line for each command that measures something missing."""
    return [f"not measured: `{cited.command}`" for cited in citations(statements) if not cited.measured]


def _rows(judged: Sequence[JudgedClaim]) -> Iterator[list[str]]:
    for number, one in enumerate(judged, start=1):
        claim, deciding = one.claim, [each for each in one.statements if not each.statement.shown]
        rules = list(dict.fromkeys(each.statement.rule for each in deciding))
        if len(rules) > 1:
            rules = [each.statement.rule for each in deciding]
        values = [*_values(deciding), *missing(deciding)]
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
    if claim.untestable:
        yield _text(claim.untestable)
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
    trained = any(judged.statement.statistic.arms for judged in statements)
    details = [_detail(judged, ours, trained) for judged in statements]
    yield markdown_table(_SEED_COLUMNS if trained else _PROMPT_COLUMNS, details)
    lines = []
    for cited in citations(statements):
        name = f"`{cited.record}`"
        words = f"Record {name}, {records.fingerprint(cited.record)}" if cited.measured else f"Not measured, for {name}"
        lines.append(f"{words}: `{cited.command}`")
    yield "  \n".join(lines)


def _detail(judged: JudgedStatement, ours: bool, trained: bool) -> list[str]:
    statement, estimate = judged.statement, judged.estimate
    verdict = verdict_word(judged.verdict, ours)
    if estimate is None:
        cells = [statement.text, "not measured", statement.rule, "", ""]
        return [*cells, *([""] * 3 if trained else []), f"shown: {statement.shown}" if statement.shown else verdict]
    least = "" if math.isnan(estimate.detectable) else statement.unit.number(estimate.detectable)
    cells = [statement.text, _value(judged), statement.rule, least, sample_words(estimate, statement.unit)]
    cells += _planned(estimate, statement.unit) if trained else []
    return [*cells, f"{verdict} (shown: {statement.shown})" if statement.shown else verdict]


def _planned(estimate: Estimate, unit: Measure) -> list[str]:
    """The power, the seeds that would settle it and the kind of a number of training; a ratio has no p-value."""
    evidence = estimate.evidence
    if evidence is None or not evidence.judged:
        return [_NOTHING, _NOTHING, "exploratory"]
    power = _NOTHING if math.isnan(evidence.power) else f"{100 * evidence.power:.0f} % for {evidence.paper_effect:+.1f}"
    kind = "primary" if evidence.primary else "exploratory"
    kind += "" if unit is RATIO else f", p {evidence.p:.2g}"
    return [power, f"{evidence.seeds_needed:.0f}", kind]


def _lines(number: int, one: JudgedClaim) -> Iterator[tuple[str, str, str]]:
    title, verdict = f"{number:>2} {one.claim.title}", verdict_word(one.verdict, one.claim.ours)
    if len(one.statements) == 1:
        yield title, _value(one.statements[0]), verdict
        return
    yield title, "", verdict
    for judged in one.statements:
        yield f"     {judged.statement.text}", _value(judged), verdict_word(judged.verdict, one.claim.ours)
