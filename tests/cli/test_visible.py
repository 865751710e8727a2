"""Text of others cannot steer the terminal, and every module prints through the one function."""

import ast
import io
import unicodedata
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.errors import Stopped, UserError, exit_code
from cli.progress import progress, say
from cli.tables import aligned
from cli.visible import print_err, print_out, visible, visible_lines
from tests.test_imports import OURS, ROOT

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
EVIL = "a\x1b[2J\x1b]0;title\x07b\rc\x9bd\u202ee\u2028f\ud800g\u2066h\x7f"
JOINERS = "\u200c\u200d"  # letters of Persian and of Hindi, and pictures of families, are made with them


@given(ANY_TEXT)
def test_what_is_visible_is_one_line_of_signs_that_are_seen(text):
    shown = visible(text)
    kinds = {unicodedata.category(sign) for sign in shown if sign not in JOINERS}
    hidden = {sign for sign in shown if unicodedata.category(sign) == "Cf" and sign not in JOINERS}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"} and len(shown.splitlines()) <= 1
    assert all(0x600 <= ord(sign) < 0x900 or ord(sign) > 0xFFFF for sign in hidden)  # marks of scripts that are drawn
    assert visible(shown) == shown


@pytest.mark.parametrize("text", ["plain", "caf\u00e9 \u4e2d\u6587", "\U0001f468\u200d\U0001f469", "a\\x1b", "\u200cx"])
def test_ordinary_text_stays(text):
    assert visible(text) == text


def test_lines_stay_lines():
    assert visible_lines("a\nb\x1b\n") == "a\nb\\x1b\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_every_way_to_the_terminal(encoding):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]

    def refused():
        raise UserError(EVIL + "\nsecond")

    def stopped():
        raise Stopped(EVIL + "\nsecond")

    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        print_out(EVIL, "\u00e9\u4e2d")
        print_err(EVIL)
        print_out(aligned([["a", EVIL + "\n"], ["b", "c"]]))
        assert exit_code(refused) == 2 and exit_code(stopped) == 1
        with progress(EVIL, 1) as show:
            show(1, EVIL)
    for stream in streams:
        stream.flush()
        shown = stream.buffer.getvalue().decode(encoding)
        assert visible_lines(shown) == shown and "\\x1b[2J" in shown
    assert len(shown.splitlines()) == 4  # print_err, two refusals of a line each, and progress


def test_what_is_said_above_a_bar(capsys):
    say(EVIL)
    assert capsys.readouterr().out == f"{visible(EVIL)}\n"


def prints(source: Path) -> list[str]:
    """Name the calls of a file that print past the one function."""
    banned = ("print", "sys.stderr.write", "sys.stdout.write", "tqdm.write")
    calls = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)]
    return [f"{source.relative_to(ROOT)}:{call.lineno}" for call in calls if ast.unparse(call.func) in banned]


def test_nothing_is_printed_past_the_one_function():
    allowed = {"cli/visible.py", "cli/progress.py"}
    sources = [path for package in OURS for path in sorted((ROOT / package).rglob("*.py"))]
    named = [one for path in sources for one in prints(path) if one.partition(":")[0] not in allowed]
    assert len(sources) > 250 and named == []
    assert prints(ROOT / "cli" / "visible.py") and prints(ROOT / "cli" / "progress.py")
