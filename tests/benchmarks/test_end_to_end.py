"""The benchmark from start to end times what it says, and leaves no worktree behind."""

import subprocess

import pytest

from tests.benchmarks import end_to_end
from tests.benchmarks.stage_seconds import STAGES


def run(**seconds):
    return {**dict.fromkeys(STAGES, 1.0), "other": 2.0, "all": 8.0, **seconds}


def test_the_table_has_the_least_of_all_rounds():
    here = [run(null=4.0, scoring=2.0), run(null=3.0, scoring=9.0)]
    there = [run(null=30.0, all=80.0), run(null=12.0, all=40.0)]
    titles, *lines = end_to_end.table(here, there, "abc").splitlines()
    assert titles.split() == ["stage", "abc", "s", "here", "s", "times", "as", "fast"]
    rows = {stage.strip(): values for stage, *values in (line.rsplit(maxsplit=3) for line in lines)}
    assert rows["null"] == ["12.00", "3.00", "4.00"]
    assert rows["scoring + gradients + null"] == ["14.00", "7.00", "2.00"]
    assert rows["all"] == ["40.00", "8.00", "5.00"]
    assert list(rows) == [*STAGES, "other", "scoring + gradients + null", "all"]


def test_an_unknown_commit_is_one_line(capsys):
    assert end_to_end.main(["--against", "no-such-commit"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: `against` must be a commit of this repository, got 'no-such-commit'")


@pytest.mark.slow
def test_this_commit_against_itself(capsys):
    before = subprocess.run(["git", "worktree", "list"], capture_output=True, text=True, check=True).stdout
    flags = ["--against", "HEAD", "--rounds", "1", "--limit", "4", "--per-bin", "1"]
    assert end_to_end.main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    seconds = [float(word) for line in lines[1:-1] for word in line.split()[-3:-1]]
    assert min(seconds) > 0 and len(lines) == len(STAGES) + 5
    assert subprocess.run(["git", "worktree", "list"], capture_output=True, text=True, check=True).stdout == before
