"""The journal: what is written is read, and what is broken is refused in one line."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from records.journal import JOURNAL, JournalError, JournalWriter, read_journal
from records.journal_lines import LOSSES, PHASES, EvaluationLine, GeometryLine, Journal, LanguageRise, StepLine
from records.journal_tables import Run, journal_tables
from records.tables.study import TABLES
from stats import N_BINS

ROOT = Path(__file__).resolve().parents[2]


def step(number, **changes):
    bins = {name: [0.1] * N_BINS for name in LOSSES}
    fields = {
        "step": number,
        "skipped": False,
        "loss": 0.5,
        "losses": dict.fromkeys(LOSSES, 0.5),
        "losses_by_fixed_bin": bins,
        "losses_by_step_bin": bins,
        "edges_nats": [0.01 * n for n in range(N_BINS - 1)],
        "tokens_by_fixed_bin": [3] * N_BINS,
        "response_tokens": 7.5,
        "truncated_share": 0.0,
        "reward": 0.5,
        "banned_mass": 0.0,
        "entropy_nats": 0.2,
        "gradient_norm": 1.5,
        "eta": 0.4,
        "seconds": dict.fromkeys(PHASES, 0.1),
    }
    return StepLine(**fields | changes)


def evaluation(number):
    losses, bins = dict.fromkeys(LOSSES, 0.5), {name: [0.1] * N_BINS for name in LOSSES}
    return EvaluationLine(number, losses, bins, losses, bins, 7.5, {"high": 0.5}, {"high": 10}, 1.0)


def geometry(number):
    norms, angles = {"standard": 1.0}, {"angle_language_visual": None}
    return GeometryLine(number, {"all": norms}, {"all": angles}, {"layer_00": norms}, {"layer_00": angles}, 1.0)


@pytest.fixture
def journal(tmp_path):
    """A journal of three steps, with an evaluation and a measurement before the second."""
    writer = JournalWriter(tmp_path, 0)
    for line in (step(0), evaluation(1), geometry(1), step(1), step(2), evaluation(3)):
        writer.append(line)
    return tmp_path / JOURNAL


def test_what_is_written_is_read(journal):
    found = read_journal(journal.parent)
    assert found.steps == [step(0), step(1), step(2)]
    assert found.evaluations == [evaluation(1), evaluation(3)]
    assert found.geometry == [geometry(1)]


def test_signs_that_end_lines_elsewhere_are_part_of_a_name(tmp_path):
    line = replace(
        evaluation(0), accuracy={"a\u2028b\u0085": 0.5}, answers={"a\u2028b\u0085": 2}, unboxed=1, unanswered=3
    )
    writer = JournalWriter(tmp_path, 0)
    writer.append(line)
    writer.append(step(0))
    assert read_journal(tmp_path).evaluations == [line]


def test_fields_that_came_later_may_be_missing(journal):
    texts = journal.read_text().splitlines(keepends=True)
    old = json.loads(texts[1])
    assert (old.pop("unboxed"), old.pop("unanswered")) == (None, None)
    journal.write_text("".join([texts[0], json.dumps(old) + "\n", *texts[2:]]))
    assert read_journal(journal.parent).evaluations[0] == evaluation(1)


def test_every_line_says_its_version_and_kind(journal):
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["version"] for line in lines] == [1] * 6
    assert [line["kind"] for line in lines] == ["step", "evaluation", "geometry", "step", "step", "evaluation"]


def test_numbers_that_are_not_finite_are_null(tmp_path):
    JournalWriter(tmp_path, 0).append(step(0, loss=float("nan"), gradient_norm=float("inf")))
    [line] = read_journal(tmp_path).steps
    assert (line.loss, line.gradient_norm) == (None, None)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda lines: lines[:3] + lines[4:], "step 2 where step 1 goes on"),
        (lambda lines: lines[:4] + lines[3:], "step 1 where step 2 goes on"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "the evaluation of step 1"),
        (lambda lines: lines[1:], "where step 0 goes on"),
        (lambda lines: [*lines[:-1], lines[-1][:20]], "line 6 is no line of a journal"),
        (lambda lines: [*lines, "[]\n"], "line 7 is no line of a journal"),
        (lambda lines: [lines[0].replace('"version": 1', '"version": 9')], "version 9"),
        (lambda lines: [lines[0].replace('"kind": "step"', '"kind": "leap"')], "'leap'"),
        (lambda lines: [lines[0].replace('"eta"', '"theta"')], "`eta`"),
        (lambda lines: [lines[0].replace('"step": 0', '"step": "0"')], "whole number"),
        (lambda lines: [lines[0][:-2] + ', "more": 1}\n'], "unknown field `more`"),
    ],
)
def test_a_broken_journal_is_refused_in_one_line(journal, spoil, named):
    journal.write_text("".join(spoil(journal.read_text().splitlines(keepends=True))))
    with pytest.raises(JournalError, match=named) as caught:
        read_journal(journal.parent)
    assert "\n" not in str(caught.value)


def test_no_journal_is_refused(tmp_path):
    with pytest.raises(JournalError, match="python -m train"):
        read_journal(tmp_path)


def test_a_resumed_run_drops_what_lies_beyond_its_checkpoint(journal):
    writer = JournalWriter(journal.parent, 1)
    assert writer.lines == [step(0)]
    writer.append(step(1))
    assert read_journal(journal.parent).steps == [step(0), step(1)]


@pytest.mark.parametrize("torn", ['{"version": 1, "ki', '{"version": 1, "kind": "\udcff'])
def test_a_resumed_run_drops_a_torn_line(journal, torn):
    with journal.open("ab") as file:
        file.write(torn.encode("utf-8", "surrogateescape"))
    writer = JournalWriter(journal.parent, 3)
    writer.begin()
    assert writer.lines[-1] == step(2)
    assert len(read_journal(journal.parent).steps) == 3


def test_a_journal_shorter_than_its_checkpoint_is_refused(journal):
    with pytest.raises(JournalError, match="ends after 3 steps, the checkpoint stands at 5"):
        JournalWriter(journal.parent, 5)


@pytest.mark.parametrize("line", [step(1), step(2), step(4), evaluation(4), evaluation(3)])
def test_a_line_out_of_order_is_not_written(journal, line):
    writer = JournalWriter(journal.parent, 3)
    writer.append(evaluation(3))
    before = journal.read_bytes()
    with pytest.raises(JournalError):
        writer.append(line)
    assert journal.read_bytes() == before


def test_strengths_are_read_and_older_lines_have_none(tmp_path):
    """Lines of runs that were written before the fields were there."""
    moving = step(1, gamma=1.5, lambda_=0.25, unlearnt_nats=-0.1)
    writer = JournalWriter(tmp_path, 0)
    for line in (step(0), moving):
        writer.append(line)
    first, second = (json.loads(text) for text in (tmp_path / JOURNAL).read_text().splitlines())
    older = {name: value for name, value in first.items() if name not in ("gamma", "lambda_", "unlearnt_nats")}
    (tmp_path / JOURNAL).write_text(json.dumps(older) + "\n" + json.dumps(second) + "\n")
    assert read_journal(tmp_path).steps == [step(0), moving]


def test_strengths_are_columns_where_a_run_has_them():
    plain, moving = Journal([step(0)], [], []), Journal([step(0, gamma=1.5, lambda_=0.0, unlearnt_nats=None)], [], [])
    alone = journal_tables([Run("standard", 0, plain)])["steps"]
    both = journal_tables([Run("standard", 0, plain), Run("auto", 0, moving)])["steps"]
    assert list(alone.columns) == TABLES["steps"].names and list(both.columns[-2:]) == ["gamma", "lambda"]
    assert both["gamma"].isna().tolist() == [True, False] and both["lambda"].tolist()[1] == 0.0
    for frame in (alone, both):
        TABLES["steps"].check(frame)


def test_nothing_is_written_before_the_first_line_or_begin(journal):
    before = journal.read_bytes()
    writer = JournalWriter(journal.parent, 1)
    assert journal.read_bytes() == before
    writer.begin()
    assert journal.read_bytes() == before.split(b"\n")[0] + b"\n"


def test_lines_that_are_kept_stay_as_they_were_written(journal):
    """Spaces and older fields, too, so that a hash of what came before a step stays the same."""
    first, *rest = journal.read_bytes().split(b"\n")
    spaced = first.replace(b'"step": 0', b'"step":   0')
    journal.write_bytes(b"\n".join([spaced, *rest]))
    writer = JournalWriter(journal.parent, 1)
    named = writer.sha256_before(1)
    writer.append(step(1))
    assert journal.read_bytes().startswith(spaced + b"\n") and writer.sha256_before(1) == named
    assert JournalWriter(journal.parent, 2).sha256_before(1) == named != writer.sha256_before(2)


def test_a_name_with_half_of_a_surrogate_pair_is_kept(tmp_path):
    line = replace(evaluation(0), accuracy={"\ud800": 0.5}, answers={"\ud800": 2}, unboxed=0, unanswered=0)
    JournalWriter(tmp_path, 0).append(line)
    assert read_journal(tmp_path).evaluations == [line]


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_part_of_itself(journal):
    """A process may write so many bytes and no more."""
    whole = journal.read_bytes()
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from records.journal import JournalWriter; from tests.records.test_journal import step\n"
        "writer = JournalWriter(Path(sys.argv[1]), 3); writer.begin(); size = writer.path.stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))\n"
        "try:\n    writer.append(step(3))\nexcept Exception as error:\n    sys.exit(f'{type(error).__name__}: {error}')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(journal.parent)], cwd=ROOT, capture_output=True, text=True)
    said = f"NotWritten: cannot write `{journal}` (File too large): mend that and run the same command again\n"
    assert done.stderr == said
    assert whole.startswith(journal.read_bytes()) and len(read_journal(journal.parent).steps) == 3


@pytest.mark.parametrize("value", ["NaN", "[]", '"much"', "{}"])
def test_numbers_of_another_kind_are_one_line(tmp_path, value):
    JournalWriter(tmp_path, 0).append(step(0))
    path = tmp_path / JOURNAL
    assert len(journal_tables([Run("standard", 0, read_journal(tmp_path))])["steps"]) == 1
    path.write_text(re.sub(r'"losses": \{[^}]*\}', f'"losses": {value}', path.read_text()))
    with pytest.raises(JournalError, match="no line of a journal|does not have the numbers") as caught:
        journal_tables([Run("standard", 0, read_journal(tmp_path))])
    assert "\n" not in str(caught.value)


RISE = LanguageRise(0.4, 0.1, 0.05, 0.15)


@pytest.fixture
def monitored(tmp_path):
    """A monitor's journal: no line of an update."""
    writer = JournalWriter(tmp_path, 0, every_step=False)
    for line in (evaluation(0), geometry(0), replace(evaluation(50), language_rise=RISE), geometry(50), evaluation(70)):
        writer.append(line)
    return tmp_path


def test_a_journal_without_updates_has_gaps(monitored):
    found = read_journal(monitored)
    assert [line.step for line in found.evaluations] == [0, 50, 70] and [line.step for line in found.geometry] == [
        0,
        50,
    ]
    assert found.evaluations[1].language_rise == RISE and found.evaluations[0].language_rise is None


@pytest.mark.parametrize("line", [evaluation(70), evaluation(50), geometry(50)])
def test_a_journal_without_updates_keeps_its_order(monitored, line):
    writer = JournalWriter(monitored, 80, every_step=False)
    with pytest.raises(JournalError, match="it is broken"):
        writer.append(line)
    (monitored / JOURNAL).write_text((monitored / JOURNAL).read_text() + (monitored / JOURNAL).read_text())
    with pytest.raises(JournalError, match="it is broken"):
        read_journal(monitored)


def test_a_journal_without_updates_is_continued(monitored):
    writer = JournalWriter(monitored, 50, every_step=False)
    assert [line.step for line in writer.lines] == [0, 0]
    writer.append(evaluation(50))
    assert [line.step for line in read_journal(monitored).evaluations] == [0, 50]
    with pytest.raises(JournalError, match="ends after 0 steps"):
        JournalWriter(monitored, 50)


def test_a_rise_without_its_numbers_is_refused(monitored):
    path = monitored / JOURNAL
    path.write_text(path.read_text().replace('"low_nats"', '"lowest_nats"'))
    with pytest.raises(JournalError, match="line 3 has no numbers in `language_rise`"):
        read_journal(monitored)
