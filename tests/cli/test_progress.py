"""How far a long command is."""

from cli.progress import progress, say


def test_progress_is_lines_in_a_log_and_a_bar_on_a_terminal(capsys, monkeypatch):
    with progress("things", 2) as show:
        show(1)
        show(2)
    assert capsys.readouterr().err == "things: 2/2, 0 s left\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress("things", 2) as show:
        show(2)
    assert "100%" in capsys.readouterr().err


def test_words_stand_in_the_line_and_on_the_bar(capsys, monkeypatch):
    """After a start the time left is that of the things since: one took 4 s, so two take 8."""
    clock = iter([0.0, 4.0, 20.0])
    monkeypatch.setattr("cli.progress.monotonic", lambda: next(clock))
    monkeypatch.setattr("cli.progress.LINE_EVERY_S", 4.0)
    with progress("things", 13, start=10) as show:
        show(11, "loss 0.5")
        show(12)
    assert capsys.readouterr().err == "things: 11/13, loss 0.5, 8 s left\nthings: 12/13, 10 s left\n"
    monkeypatch.undo()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    with progress("things", 3) as show:
        show(1, "loss 0.25")
        say("between")
        show(3, "loss 0.125")
    shown = capsys.readouterr()
    assert shown.out == "between\n" and "\n" not in shown.err.rstrip("\n")  # one line, written again and again
    assert "3/3" in shown.err and "loss 0.125" in shown.err


def test_a_line_is_said_without_a_bar_too(capsys):
    say("as it is")
    assert capsys.readouterr().out == "as it is\n"
