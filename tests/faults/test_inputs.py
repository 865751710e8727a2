"""Malformed inputs, by list and by hypothesis: each is refused in one line, and nothing of it is left.

The short form takes some of the list, the long one (`slow`) all of it. Both print how many inputs were tried.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import chdir
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults import inputs_checkpoints, inputs_flags, inputs_folders, inputs_prompts, inputs_runs
from tests.faults.inputs import Case, Outcome, Pair, in_process, run
from tests.models import copy_of
from vlm.views import chat_template

LISTS = (inputs_flags, inputs_prompts, inputs_checkpoints, inputs_folders, inputs_runs)
CASES = [case for module in LISTS for case in module.cases()]
LEAST = 400
CHEAP = {"number", "config file", "text of a flag"}
"""Kinds that load no model: most of them are tried in the short form, too."""
FIRST = {"picture": 6, "message": 2, "file of prompts": 5, "parquet": 2, "config": 16, "weights": 5, "chat template": 2,
         "file of a checkpoint": 5, "responses": 2, "optimizer state": 1, "folder of a run": 2, "file of a record": 5,
         "record": 2, "file of training": 3, "file of old training": 1, "state of old training": 1}  # fmt: skip
"""How many of a kind the short form takes, from all over its list; about a third of a second for each."""


@pytest.fixture(scope="module")
def sound(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return a sound pair."""
    folder = tmp_path_factory.mktemp("sound")
    return Pair(*(copy_of(checkpoints / side, folder / side) for side in ("student", "teacher")))


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop templates that do not end early."""
    monkeypatch.setattr(chat_template, "LONGEST_S", 1.0)


def some() -> Iterator[Case]:
    """Yield the cases of the short form: those that are certain to be refused, and of each kind as many as stated."""
    by_kind: dict[str, list[Case]] = {}
    for case in CASES:
        if not case.may_pass or case.kind in CHEAP:
            by_kind.setdefault(case.kind, []).append(case)
    for kind, cases in by_kind.items():
        wanted = len(cases) // 4 if kind in CHEAP else FIRST.get(kind, 0)
        yield from cases[:: max(len(cases) // max(wanted, 1), 1)][:wanted]


def tried(cases: Iterable[Case], pair: Pair, folder: Path) -> Counter[str]:
    """Try cases; return how many were refused, or taken for sound ones, by kind. The first fault of each is named."""
    counts: Counter[str] = Counter()
    faults = []
    for number, case in enumerate(cases):
        outcome = run(case, pair, folder / str(number))
        if case.may_pass and outcome.code == 0:
            counts[f"{case.kind}, taken"] += 1
            continue
        counts[f"{case.kind}, refused"] += 1
        if outcome.faults:
            faults.append(f"{case}: {outcome.faults}: {outcome.err[-300:]!r}")
    assert not faults, "\n".join(faults)
    return counts


def shown(capsys: pytest.CaptureFixture[str], counts: Counter[str]) -> int:
    """Print the counts past pytest; return the number of inputs that were refused."""
    refused = sum(n for kind, n in counts.items() if kind.endswith(", refused"))
    with capsys.disabled():
        print(f"\nmalformed inputs: {counts.total()} tried, {refused} refused in one line each, none lost")
        print(*(f"  {kind}: {n}" for kind, n in sorted(counts.items())), sep="\n")
    return refused


def test_the_list_is_long_and_names_each_case_once():
    names = Counter(map(str, CASES))
    assert [name for name, n in names.items() if n > 1] == []
    assert sum(not case.may_pass for case in CASES) > LEAST and {case.kind for case in some()} >= set(FIRST)


def test_short(sound, tmp_path, capsys):
    assert shown(capsys, tried(some(), sound, tmp_path)) > 150


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_long(sound, tmp_path, capsys):
    assert shown(capsys, tried(CASES, sound, tmp_path)) > LEAST


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(
    st.sampled_from([*inputs_prompts.FIELDS, "image", "image_1", "A", "B", "choices"]), JSON, max_size=4
)
NUMBERS = count()


def checked(case: Case, pair: Pair, folder: Path) -> Outcome:
    """Run a case that may be a sound input; it must end as one, or in one line."""
    outcome = run(case, pair, folder / f"any-{next(NUMBERS)}")
    assert outcome.code == 0 or not outcome.faults, (outcome.faults, outcome.err[-1500:])
    return outcome


def any_row(fields: dict, pair: Pair, folder: Path) -> None:
    """Show a prompt of a row with these fields."""
    prepare = inputs_prompts.rows(inputs_prompts.row(**fields))
    words = lambda given_pair: [*prepare(given_pair), "--show-prompt"]  # noqa: E731
    checked(Case("row", "any", "probes.vds", words, True), pair, folder)


def spoilt_bytes(content: bytes, name: str, pair: Pair, folder: Path) -> None:
    """Show a prompt of a file with this content."""
    prepare = inputs_prompts.file(name, content)
    words = lambda given_pair: [*prepare(given_pair), "--show-prompt"]  # noqa: E731
    checked(Case("file", "any", "probes.vds", words, True), pair, folder)


FLIPS = st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6)
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
SOUND_TABLE = inputs_prompts.parquet()


def flipped(whole: bytes, flips: list[tuple[float, int]]) -> bytes:
    """Return bytes with some replaced, each at a share of the length."""
    spoilt = bytearray(whole)
    for at, byte in flips:
        spoilt[int(at * len(whole))] = byte
    return bytes(spoilt)


@settings(max_examples=8, suppress_health_check=SHARED)
@given(fields=FIELDS)
def test_any_row(sound, tmp_path, fields):
    any_row(fields, sound, tmp_path)


@settings(max_examples=8, suppress_health_check=SHARED)
@given(flips=FLIPS)
def test_any_damage_of_a_table(sound, tmp_path, flips):
    spoilt_bytes(flipped(SOUND_TABLE, flips), "x.parquet", sound, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=300, suppress_health_check=SHARED)
@given(fields=FIELDS)
def test_any_row_long(sound, tmp_path, fields):
    any_row(fields, sound, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=200, suppress_health_check=SHARED)
@given(flips=FLIPS)
def test_any_damage_of_a_table_long(sound, tmp_path, flips):
    spoilt_bytes(flipped(SOUND_TABLE, flips), "x.parquet", sound, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=150, suppress_health_check=SHARED)
@given(value=JSON, field=st.sampled_from(sorted(inputs_checkpoints.CONFIGS)))
def test_any_config_long(sound, tmp_path, value, field):
    try:
        json.dumps(value)
    except ValueError:
        return
    spoil = inputs_checkpoints.spoilt(inputs_checkpoints.field_of("config.json", field, value))
    words = lambda given_pair: [*spoil(given_pair), "--show-prompt"]  # noqa: E731
    checked(Case("config", "any", "probes.vds", words, True), sound, tmp_path)


REAL = ("config file: probes.vds, binary", "file of prompts: a deep list, JSON", "config: text_config, {}")


@pytest.mark.parametrize("name", REAL)
def test_a_process_says_the_same(sound, tmp_path, name):
    case = next(case for case in CASES if str(case) == name)
    here = run(case, sound, tmp_path / "here")
    (tmp_path / "there").mkdir()
    with chdir(tmp_path / "there"):
        words = [sys.executable, "-m", case.command, *case.prepare(sound)]
        root = str(Path(__file__).resolve().parents[2])
        environment = os.environ | {"PYTHONPATH": root}
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment)
    assert (done.returncode, done.stderr, done.stdout) == (here.code, here.err, here.out)


def test_a_command_that_loses_an_input_is_found_out():
    lost = Outcome(None, "", "Traceback (most recent call last):\nValueError", ("./runs/record.json",))
    assert {"exit code None", "a traceback", "no line of ours", "files left: ./runs/record.json"} <= set(lost.faults)
    assert Outcome(2, "", "error: `a` must be b, got c: mend it\n", ()).faults == []
    assert Outcome(2, "", "error: `a` is wrong\n", ()).faults == ["no way out"]
    assert Outcome(2, "", "error: `a` is \x1b[31m: mend it\n", ()).faults == ["a control sign"]
    assert in_process("probes.vds", ["--bins", "0"])[0] == 2
