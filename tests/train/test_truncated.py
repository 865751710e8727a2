"""A run whose first responses are nearly all truncated is refused, and goes on where that is allowed."""

import json

import pytest

from records.journal import JOURNAL, read_journal
from tests.train.small import flags, small
from train.__main__ import main
from train.loop import _warn_truncated
from vlm.responses import truncation


@pytest.fixture(autouse=True)
def _limit(monkeypatch):
    monkeypatch.setattr(truncation, "REFUSED", 0.8)


def test_refused_before_the_first_step_and_continued(checkpoints, tmp_path, capsys):
    out = tmp_path / "run"
    config = small(checkpoints, steps=1, geometry_every=0, out=str(out), allow_truncated=False, max_response=1)
    assert main(flags(config)) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == (
        "error: 4 of 4 responses (100 %) are truncated at `max_response` 1, above 80 %: raise `max_response`, or add"
        " --allow-truncated to go on with these"
    )
    assert not (out / "held_out.json").exists() and not (out / JOURNAL).exists()
    assert main([*flags(config), "--resume"]) == 2
    assert main([*flags(config), "--resume", "--allow-truncated"]) == 0
    shown = "".join(capsys.readouterr())
    assert "warning: 4 of 4 responses" in shown and "warning: 100 % of the responses are truncated" in shown
    assert "100 % truncated, " in shown and "(4 of 4 without a box, 100 % truncated" in shown
    assert len(json.loads((out / "held_out.json").read_bytes())["rollouts"]) == 4
    journal = read_journal(out)
    assert journal.steps[0].truncated_share == 1.0 and journal.evaluations[0].truncated_share == 1.0


class Journal:
    """A journal of steps with these shares of truncated responses."""

    def __init__(self, monkeypatch, *shares):
        monkeypatch.setattr("train.loop.StepLine", Line)
        self.lines = [Line(share) for share in shares]


class Line:
    def __init__(self, share):
        self.truncated_share = share


@pytest.mark.parametrize(
    ("shares", "is_warned"), [((0.2,), False), ((0.3,), True), ((0.1, 0.3), True), ((0.3, 0.4), False)]
)
def test_the_first_step_with_many_is_warned_of(monkeypatch, capsys, shares, is_warned):
    _warn_truncated(Journal(monkeypatch, *shares), 64)
    assert ("are truncated at `max_response` 64: raise it" in capsys.readouterr().out) is is_warned
