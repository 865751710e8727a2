"""Commands that are printed to be pasted into a shell: every word is one word there, whatever signs it has."""

import shlex
from os import PathLike, fspath

from cli.visible import visible


def shell_command(*words: str | PathLike[str]) -> str:
    r"""Return words as a command line that can be pasted; words that need it are quoted.

    Signs that steer a terminal are written as escapes, which bash and zsh read as the signs.

    >>> shell_command("python", "-m", "train", "--out", "runs; rm x")
    "python -m train --out 'runs; rm x'"
    >>> shell_command("ls", "a\nb")
    "ls $'a\\u000ab'"
    """
    return " ".join(_quoted(fspath(word)) for word in words)


def run_module(module: str, *words: str | PathLike[str]) -> str:
    """Return the command line that runs a module with these words.

    >>> run_module("figures", "my record")
    "python -m figures 'my record'"
    """
    return shell_command("python", "-m", module, *words)


def _quoted(word: str) -> str:
    if visible(word) == word:
        return shlex.quote(word)
    signs = (sign if visible(sign) == sign and sign not in "\\'" else _escape(sign) for sign in word)
    return f"$'{''.join(signs)}'"


def _escape(sign: str) -> str:
    return f"\\{sign}" if sign in "\\'" else f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"
