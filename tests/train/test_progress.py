"""What a run shows of its steps."""

import re

import pytest

from records.journal import read_journal
from tests.train.small import small
from train.loop import train
from train.progress import words


def test_a_log_has_a_line_now_and_then_with_all_that_is_asked_of_a_step(checkpoints, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cli.progress.LINE_EVERY_S", 0.0)
    train(small(checkpoints, out=str(tmp_path / "run"), steps=2, evaluate_every=0, geometry_every=0))
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("training: ")]
    number = r"([\d.,e+-]+)"
    pattern = (
        rf"training: (\d)/2, standard {number}, language {number}, visual {number}, lr 0.0003, gradient norm {number},"
        rf" response {number} tokens, (?:\d+ % truncated, )?{number} tokens/s, \d+ s left"
    )
    found = [re.fullmatch(pattern, line) for line in shown]
    assert [match and match[1] for match in found] == ["1", "2"], shown
    for match, line in zip(found, read_journal(tmp_path / "run").steps, strict=True):
        values = [float(text.replace(",", "")) for text in match.groups()[1:]]
        speed = 6 * line.response_tokens / sum(line.seconds.values())
        expected = [*line.losses.values(), line.gradient_norm, line.response_tokens, speed]
        assert values == pytest.approx(expected, rel=0.01, abs=0.5)
        assert line.losses["standard"] == pytest.approx(values[0], abs=1e-4)
        assert words(line, 6 * line.response_tokens, 3e-4) in match[0]


def test_on_a_terminal_one_line_is_written_again(checkpoints, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "300")
    train(small(checkpoints, out=str(tmp_path / "run"), steps=2, evaluate_every=1, geometry_every=0))
    shown = capsys.readouterr()
    lines = [line for line in re.split(r"[\r\n]", shown.err) if line.startswith("training: ")]
    assert "2/2" in lines[-1] and "tokens/s" in lines[-1] and "gradient norm" in lines[-1]
    assert shown.out.count("held-out accuracy") == 3


def test_a_resumed_run_counts_on_from_where_it_was(checkpoints, tmp_path, capsys):
    changes = {"out": str(tmp_path / "run"), "evaluate_every": 0, "geometry_every": 0}
    train(small(checkpoints, steps=1, **changes))
    train(small(checkpoints, steps=2, resume=True, override=True, **changes))
    shown = [line.split(",")[0] for line in capsys.readouterr().err.splitlines() if line.startswith("training: ")]
    assert shown == ["training: 1/1", "training: 2/2"]
