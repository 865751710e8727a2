"""Flags from frozen dataclasses: a field is a flag, its metadata the help, the class's docstring the group's title.

A long dataclass names its groups in the metadata: a field without a group belongs to that of the field before it.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, field, fields
from types import UnionType
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from cli.config_file import refuse_unreadable
from cli.errors import OptionError, UserError, say_interrupted
from cli.signals import terminable
from cli.values import broken_text, unusable
from cli.vgs import COMMANDS
from cli.visible import print_err, visible

Options = TypeVar("Options")
CHECKPOINT = "folder, hub id or ID@REVISION, or bundled (default)"


def flag(default: Any, text: str, *, group: str = "", short: str = "") -> Any:
    """Return a dataclass field with its help text, and with the title of the group of flags that begins with it.

    short: what the value is called in the help, such as `FOLDER`.
    """
    return field(default=default, metadata={"help": text, "group": group, "metavar": short or None})


class Parser(ArgumentParser):
    """A parser whose help shows a module's manual, and whose complaints are one line each."""

    def __init__(self, module: str, manual: str | None, **settings: Any) -> None:
        settings |= {"formatter_class": _Help, "allow_abbrev": False}
        super().__init__(prog=program(module), description=manual, **settings)
        self.kinds: dict[str, Any] = {}

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the complaint as one line and exit with code 2."""
        said = f"{visible(_one_line(message, self.kinds)):.1000}{self._meant(message)}"
        print_err(f"error: {said}; see {self.prog} --help")
        self.exit(2)

    def _meant(self, message: str) -> str:
        """Return the flag that is most like one that does not exist, as words of a message; empty if none is."""
        unknown = re.search(r"[Uu]nrecognized arguments: (--[\w-]+)", message)
        alike = difflib.get_close_matches(unknown[1], self._option_string_actions, 1) if unknown else []
        return f"; did you mean {alike[0]}?" if alike else ""

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **settings: Any) -> Any:  # type: ignore[override]
        """Return the flags of a command; what no command can use is a complaint. A signal ends it in one line."""
        words = list(sys.argv[1:] if args is None else args)
        if complaint := next(filter(None, map(_broken_word, words)), None):
            self.error(complaint)
        try:
            refuse_unreadable(words)
        except OptionError as error:
            self.error(str(error))
        try:
            with terminable():
                return self._sound(lambda: super(Parser, self).parse_args(words, *rest, **settings))
        except KeyboardInterrupt as error:
            self.exit(say_interrupted(error))

    def parse_object(self, *args: Any, **settings: Any) -> Any:
        """Return the flags of keywords; what no command can use is a complaint."""
        return self._sound(lambda: super(Parser, self).parse_object(*args, **settings))

    def _sound(self, parse: Callable[[], Any]) -> Any:
        """Complain in one line of what parsing raises, and of values that no flag can have."""
        try:
            parsed = parse()
        except UserError:
            raise
        except (ValueError, TypeError, ArithmeticError, RecursionError, OSError) as error:
            self.error(
                f"the flags cannot be read ({type(error).__name__}: {_one_line(str(error), {}):.200}): mend them"
            )
        for name, value in vars(parsed).items():
            if wrong := unusable(value, self.kinds.get(name, Any)):
                self.error(f"`{flag_name(name)}` must {wrong}")
        return parsed

    def add_options(
        self,
        options: type[Any],
        defaults: Mapping[str, Any] | None = None,
        read_by: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Add a flag for each field of a dataclass.

        defaults: by field name, values that replace the defaults of the fields.
        read_by: by field name, the objectives that alone read a flag; its help ends with them, in brackets.
        """
        hints, titled = get_type_hints(options), None
        for f in _own_first(options):
            if titled is None or f.metadata["group"]:
                titled = self.add_argument_group(f.metadata["group"] or options.__doc__)
            name = flag_name(f.name)
            self.kinds[f.name.rstrip("_")] = hints[f.name]
            default = (defaults or {}).get(f.name, f.default)
            text = _help_text(f.metadata["help"], hints[f.name], default, (read_by or {}).get(f.name, ()))
            if hints[f.name] is bool:
                titled.add_argument(name, action="store_true", help=text)
            else:
                words = _words(hints[f.name], f.metadata["metavar"])
                titled.add_argument(name, default=list(default) if "nargs" in words else default, help=text, **words)


def _broken_word(word: str) -> str | None:
    """What is wrong with a word of the command line as text; None if nothing is."""
    named, _, value = word.partition("=") if word.startswith("--") else ("an argument", "", word)
    wrong = broken_text(value) or broken_text(named)
    return f"`{named}` must {wrong}" if wrong else None


def _own_first(options: type[Any]) -> list[Field[Any]]:
    """The fields of a dataclass, those that it inherits behind its own."""
    own = vars(options).get("__annotations__", {})
    return sorted(fields(options), key=lambda f: f.name not in own)


def _words(kind: Any, short: str | None) -> dict[str, Any]:
    """Return how a flag of this kind is read: its type, its name in the help, and whether it takes several words."""
    entries = {}
    if get_origin(kind) is Sequence:  # its entries are words of the command line: --seeds 0 1
        kind, entries = get_args(kind)[0], {"nargs": "+"}
    metavar = short or _letter(kind)
    return {
        "type": _text_or_none if kind == (str | None) else kind,
        **entries,
        **({"metavar": metavar} if metavar else {}),
    }


def _text_or_none(value: Any) -> str | None:
    """Return text as it is: read as YAML, `# Be brief` would be a comment and `null` none."""
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"Got value: {value}")


class _Help(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The manual as it is written, one line of usage, and each flag's text without the name of a Python type."""

    def add_usage(self, usage: str | None, actions: Iterable[argparse.Action], *args: Any, **kwargs: Any) -> None:
        positional = [action for action in actions if not action.option_strings]
        names = [f"[{action.dest}{' ...' if action.nargs == '*' else ''}]" for action in positional]
        super().add_usage(usage or " ".join(["%(prog)s", *names, "[flags]"]), [], *args, **kwargs)

    def _get_help_string(self, action: argparse.Action) -> str:
        return action.help or ""


def _letter(kind: Any) -> str | None:
    """Return the letter that stands for a number in the help: N for a whole one, else X; None for other kinds."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    words = {kind_words(one) for one in kinds if one is not type(None)}
    if len(words) > 1:
        return None
    return "N" if "whole" in min(words) else "X" if "number" in min(words) else None


def _help_text(text: str, kind: Any, default: Any, readers: Sequence[str]) -> str:
    """Return a flag's help: its text, the objectives that read it, what it admits if that is mixed, and its default."""
    is_mixed = get_origin(kind) in (Union, UnionType) and any(get_origin(one) is Literal for one in get_args(kind))
    about = [kind_words(kind)] if is_mixed else []
    said, _, rest = text.partition(" (default: ")
    if rest.endswith(")"):  # a default that is said in words comes last, as others do
        text, about = said, [*about, f"default: {rest[:-1]}"]
    elif default is not None and default is not False and "default:" not in text:
        about.append(f"default: {_shown(default)}")
    objectives = f" [{', '.join(readers)}]" if readers else ""
    return text + objectives + (f" ({'; '.join(about)})" if about else "")


def _shown(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, (tuple, list)) else str(default)


def program(module: str) -> str:
    """Return what to type to run a module, as this process was started: `vgs angles`, or `python -m probes.angles`.

    module: by its name for `python -m`, such as `probes.angles`.
    """
    words = {path.removesuffix(".__main__"): word for word, (path, _) in COMMANDS.items()}
    is_vgs = bool(sys.argv) and sys.argv[0].startswith("vgs ")
    return f"vgs {words[module]}" if is_vgs and module in words else f"python -m {module}"


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


class _Checker(Parser):
    """A parser of keywords, which raises what a command would print."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise OptionError(
            re.sub("`--([a-z-]+)`", lambda flag: f"`{flag[1].replace('-', '_')}`", _one_line(message, self.kinds))
        )


def checked(group: type[Options], values: Mapping[str, Any]) -> Options:
    """Return a group of flags with those of `values` that are its own, checked as on the command line.

    Raises:
        OptionError: a value is none that its flag admits.
    """
    parser = _Checker(group.__name__, None)
    parser.add_options(group)
    names = {f.name: f.name.rstrip("_") for f in fields(group)}  # type: ignore[arg-type]
    own = {names[name]: value for name, value in values.items() if name in names}
    return pick(parser.parse_object({n: list(v) if isinstance(v, tuple) else v for n, v in own.items()}), group)


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
        kinds = [one for one in get_args(kind) if one is not type(None)]
        words = [choice for one in kinds if get_origin(one) is Literal for choice in get_args(one)]
        others = [kind_words(one) for one in kinds if get_origin(one) is not Literal]
        return " or ".join([*others, *([kind_words(Literal[tuple(words)])] if words else [])])
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if get_origin(kind) in (tuple, Sequence):
        return f"a list, each entry {kind_words(get_args(kind)[0])}"
    return _WORDS.get(getattr(kind, "__name__", str(kind)), "a value of its kind")


_VALUE = r"(?:Given value|Got value|converting [\w ]+|literal for .*?|to float): (.+)$"


_OTHER_VALUE = r"(?:Not of type \w+: |a real number, not )(\S+)(?= does not conform| not an integer|$)"


def _one_line(message: str, kinds: Mapping[str, Any]) -> str:
    """Return a complaint of the parser as one line that names the flag, what it must be, and what it is."""
    key = re.match(r'Parser key "([\w.]+)"(?: element \d+)?:', message)
    if key and key.group(1) in kinds:
        value = re.search(_VALUE, message, re.M) or re.search(_OTHER_VALUE, message)
        got = f", got {value.group(1).strip()}" if value else ""
        return f"`{flag_name(key.group(1))}` must be {kind_words(kinds[key.group(1)])}{got}"
    return re.sub(r"\s+", " ", message).strip().rstrip(".")
