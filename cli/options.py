"""Flags from frozen dataclasses: a field is a flag, its metadata the help, the class's docstring the group's title.

A long dataclass names its groups in the metadata: a field without a group belongs to that of the field before it.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from types import UnionType
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

Options = TypeVar("Options")
CHECKPOINT = "folder, hub id or bundled (default)"


def flag(default: Any, text: str, *, group: str = "", short: str = "") -> Any:
    """Return a dataclass field with its help text, and with the title of the group of flags that begins with it.

    short: what the value is called in the help, such as `FOLDER`.
    """
    return field(default=default, metadata={"help": text, "group": group, "metavar": short or None})


class Parser(ArgumentParser):
    """A parser whose help shows a module's manual, and whose complaints are one line each."""

    def __init__(self, module: str, manual: str | None, **settings: Any) -> None:
        super().__init__(prog=program(module), description=manual, formatter_class=_Help, **settings)
        self.kinds: dict[str, Any] = {}

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the complaint as one line and exit with code 2."""
        sys.stderr.write(f"error: {_one_line(message, self.kinds)}; see {self.prog} --help\n")
        self.exit(2)

    def add_options(self, options: type[Any], defaults: Mapping[str, Any] | None = None) -> None:
        """Add a flag for each field of a dataclass; `defaults` replace those of the fields."""
        hints, titled = get_type_hints(options), None
        for f in fields(options):
            if titled is None or f.metadata["group"]:
                titled = self.add_argument_group(f.metadata["group"] or options.__doc__)
            name = flag_name(f.name)
            self.kinds[f.name.rstrip("_")] = hints[f.name]
            if hints[f.name] is bool:
                titled.add_argument(name, action="store_true", help=f.metadata["help"])
                continue
            default = (defaults or {}).get(f.name, f.default)
            words = {"metavar": f.metadata["metavar"]} if f.metadata["metavar"] else {}
            kind = hints[f.name]
            if get_origin(kind) is Sequence:  # its entries are words of the command line: --seeds 0 1
                kind, words = get_args(kind)[0], words | {"nargs": "+"}
            titled.add_argument(name, type=kind, default=default, help=f.metadata["help"], **words)


class _Help(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The manual as it is written, and the default of each flag."""


def program(module: str) -> str:
    """Return what was typed to run a module: `vgs angles`, or `python -m probes.angles`."""
    typed = sys.argv[0] if sys.argv else ""
    return typed if typed.startswith("vgs ") else f"python -m {module}"


def flag_name(field_name: str) -> str:
    """Return the flag of a field: `lambda_`, which Python reserves without its last sign, is `--lambda`."""
    return "--" + field_name.rstrip("_").replace("_", "-")


def parser_for(module: str, manual: str | None, groups: Sequence[type[Any]], *, series: bool = False) -> Parser:
    """Return a parser of a checkpoint, which needs no flag, and of the fields of `groups`.

    series: there may be several, as `checkpoints`.
    """
    parser = Parser(module, manual)
    parser.add_argument("--config", action="config", help="YAML file with values for these flags")
    if series:
        words = f"the students, in order: each a {CHECKPOINT}"
        parser.add_argument("checkpoints", nargs="*", type=str, default=["bundled"], help=words)
    else:
        parser.add_argument("checkpoint", nargs="?", default="bundled", help=f"the student: {CHECKPOINT}")
    for group in groups:
        parser.add_options(group)
    return parser


def pick(parsed: Namespace, group: type[Options]) -> Options:
    """Return the values of one group of flags."""
    return group(**{f.name: getattr(parsed, f.name.rstrip("_")) for f in fields(group)})  # type: ignore[arg-type]


_WORDS = {
    "PositiveInt": "a whole number above 0",
    "NonNegativeInt": "a whole number of at least 0",
    "PositiveFloat": "a number above 0",
    "NonNegativeFloat": "a number of at least 0",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "Path": "a path",
}


def kind_words(kind: Any) -> str:
    """Say what a type admits.

    >>> kind_words(int | Literal["all"] | None)
    'a whole number or all'
    """
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(kind_words(one) for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if get_origin(kind) in (tuple, Sequence):
        return f"a list, each entry {kind_words(get_args(kind)[0])}"
    return _WORDS.get(getattr(kind, "__name__", str(kind)), "a value of its kind")


_VALUE = r"(?:Given value|Got value|converting [\w ]+|literal for .*?|to float): (.+)$"


def _one_line(message: str, kinds: Mapping[str, Any]) -> str:
    """Return a complaint of the parser as one line that names the flag, what it must be, and what it is."""
    key = re.match(r'Parser key "([\w.]+)"(?: element \d+)?:', message)
    if key and key.group(1) in kinds:
        value = re.search(_VALUE, message, re.M) or re.search(r"Not of type \w+: (\S+) does not conform", message)
        got = f", got {value.group(1).strip()}" if value else ""
        return f"`{flag_name(key.group(1))}` must be {kind_words(kinds[key.group(1)])}{got}"
    return re.sub(r"\s+", " ", message).strip().rstrip(".")
