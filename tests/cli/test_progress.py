"""How far a long command is."""

from cli.progress import progress


def test_progress_is_lines_in_a_log_and_a_bar_on_a_terminal(capsys, monkeypatch):
    with progress("things", 2) as show:
        show(1)
        show(2)
    assert capsys.readouterr().err == "things: 2/2, 0 s left\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress("things", 2) as show:
        show(2)
    assert "100%" in capsys.readouterr().err
