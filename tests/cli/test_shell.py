"""A command that is printed runs, when it is pasted, with the very words that were meant."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.shell import run_module, shell_command
from cli.visible import visible

WORDS = ["runs/plain", "a b", "x; touch hacked", "$(touch hacked)", "`touch hacked`", "'", '"', "a\nb", "\x1b[31m", "",
         "-f", "*", "~", "a\\nb", "it's\x07 $HOME", "caf\u00e9", "\u202etxt.exe", "a&b|c>d"]  # fmt: skip


def read_back(line, folder):
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, cwd=folder, timeout=60, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_one_word(tmp_path, word):
    line = shell_command("/usr/bin/printf", r"%s\0", word)
    assert visible(line) == line
    assert read_back(line, tmp_path) == [word] and not list(tmp_path.iterdir())


@settings(max_examples=20)
@given(st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")), min_size=1, max_size=8))
def test_any_words(words):
    assert read_back(shell_command("/usr/bin/printf", r"%s\0", *words), "/") == words


def test_a_module(tmp_path):
    assert run_module("train", "--out", tmp_path / "a;b") == f"python -m train --out '{tmp_path}/a;b'"
