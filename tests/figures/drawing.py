"""The command that draws, called from tests."""

from figures.__main__ import main


def draw(capsys, *words):
    """Run the command; return the paths it prints."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out.split()


def refused(capsys, *words):
    """Run a command that must fail; return the one line that it says."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("error: ") and shown.err.count("\n") == 1
    return shown.err
