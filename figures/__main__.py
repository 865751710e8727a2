"""Draw the pictures of a record.

    python -m figures runs/demo
    python -m figures runs/demo gradient_plane ribbon --scope language_model --out pictures
    python -m figures runs/demo language_visual --style column --no-title
    python -m figures runs/diagnose-0123456789ab report
    python -m figures RECORD NAME --help

Reads a record that a probe or `python -m study.effects` wrote, or the folder of a training run or of a monitor; writes
`NAME.png` and `NAME.svg`, a page of its own where the picture is one, and prints the paths. Without a name it draws the
pictures that belong to the record, those that its probe draws, and says which others can be drawn from its tables. With
a name, `--help` adds the manual of that picture. A flag counts for each named picture that takes it. Choices that are
not the usual ones stand in the file's name, such as `angle_bins-language_model.png`.

`--style page` (6.75 inches) and `--style column` (3.3 inches) draw for print, and write `NAME-page.pdf`, too. No letter
is below 7 points at that width, and text in PDF and SVG is text. `--no-title` leaves the title and the caption to the
paper.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import UserError, exit_code
from cli.one_line import one_line
from cli.options import Parser, flag_name, program
from cli.visible import print_err, print_out
from figures.catalogue import PICTURES, Picture, drawable, picture
from figures.sheets import SHEETS

if TYPE_CHECKING:
    from records import Measurement


@dataclass(frozen=True)
class _Option:
    """A keyword parameter of some `draw` as a flag."""

    kind: type
    words: str
    short: str
    """What the value is called in the help."""
    several: bool = False


PAPER = "arXiv:2606.00564"
OPTIONS = {
    "scope": _Option(str, "parameters: all (default), language_model, or a group that the record has", "SCOPE"),
    "arms": _Option(str, "arms to draw (default: the main ones that the record has)", "ARM", several=True),
    "group": _Option(str, "dependency group of the scenes: high (default), low or text", "GROUP"),
    "quantity": _Option(str, "what is compared: standard, language or visual, a loss, or correct", "NAME"),
    "window": _Option(int, "steps of the running mean, an odd number (default: 15)", "STEPS"),
    "rollouts": _Option(str, "whose losses: training (default), fixed or own", "KIND"),
    "gamma": _Option(float, "strength of the steering (default: 2)", "GAMMA"),
    "bin_": _Option(str, "VDS bin: a number or all (default)", "BIN"),
    "weigh": _Option(str, "weight of the units: equal (default) or energy", "WEIGHT"),
    "prior": _Option(str, "q* in the steering term: detached (default) or attached", "PRIOR"),
    "responses": _Option(int, "ids of rollouts (default: the three with most conflicts)", "ID", several=True),
    "pictures": _Option(str, "picture files, one for each response", "FILE", several=True),
    "attached": _Option(bool, "let the visual target follow the student", ""),
    "threshold_deg": _Option(float, "angle above which gradients conflict (default: 90)", "DEGREES"),
}
"""Every parameter of a picture; the default stands in `draw`, which is not called with what was not typed."""


def listing() -> str:
    """Return one line for each picture: its name, what it shows, and the tables it needs."""
    width = max(len(one.name) for one in PICTURES)
    shown = [(one, one.summary.replace(f" of {PAPER}", "")) for one in PICTURES]
    lines = [f"  {one.name:{width}}  {words} [{', '.join(one.tables)}]" for one, words in shown]
    return "\n".join([f"Pictures (numbers are those of {PAPER}), and in brackets the tables they need:", "", *lines])


def main(argv: Sequence[str] | None = None) -> int:
    """Draw from the command line; return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        print_out(f"{listing()}\n\nDraw them with `{program('figures')} RECORD [NAME ...]`; --help shows the flags.")
        return 0
    parsed = _parser(words).parse_args(words)
    options = {name: getattr(parsed, name.rstrip("_")) for name in OPTIONS if hasattr(parsed, name.rstrip("_"))}
    folder, out = Path(parsed.record), Path(parsed.get("out", parsed.record))
    look = {name: parsed[name] for name in ("style",) if name in parsed} | {"title": "no_title" not in parsed}
    return exit_code(lambda: _draw(folder, parsed.get("names", []), _Job(out, options, look)))


def _parser(words: Sequence[str]) -> Parser:
    """Return the parser; its manual is that of the named pictures, too."""
    manuals = [f"{one.name}: {one.manual}" for one in PICTURES if one.name in words[1:]]
    parser = Parser("figures", "\n\n".join([__doc__ or "", *(manuals or [listing()])]))
    usual: dict[str, Any] = {"type": str, "default": argparse.SUPPRESS}  # the help says what the default is
    parser.add_argument("record", type=str, help="folder of the record")
    which = "pictures (default: those that belong to the record)"
    parser.add_argument("names", nargs="*", metavar="NAME", help=which, **usual)
    parser.add_argument("--out", metavar="FOLDER", help="folder of the pictures (default: the record's)", **usual)
    styles = ", ".join(SHEETS)
    parser.add_argument("--style", metavar="STYLE", help=f"what it is drawn for: {styles} (default: screen)", **usual)
    words = "leave out the title and the caption above the panels"
    parser.add_argument("--no-title", action="store_true", default=argparse.SUPPRESS, help=words)
    group = parser.add_argument_group("options of pictures")
    for name, option in OPTIONS.items():
        help_ = f"{option.words}; {', '.join(_takers(name))}"
        if option.kind is bool:
            group.add_argument(flag_name(name), action="store_true", default=argparse.SUPPRESS, help=help_)
        else:
            shape = usual | {"type": option.kind, "metavar": option.short, "nargs": "+" if option.several else None}
            group.add_argument(flag_name(name), help=help_, **shape)
            parser.kinds[name.rstrip("_")] = option.kind
    return parser


def _takers(name: str) -> list[str]:
    """Name the pictures that take an option."""
    return [one.name for one in PICTURES if name in one.options]


@dataclass(frozen=True)
class _Job:
    """Where pictures go, and how they are drawn."""

    out: Path
    options: Mapping[str, Any]
    look: Mapping[str, Any]
    """What every picture takes: `style` and `title`."""


def _draw(folder: Path, names: Sequence[str], job: _Job) -> None:
    """Draw the named pictures of a record, or those that belong to it; print the paths."""
    chosen = [picture(name) for name in dict.fromkeys(names)] or _own(folder)
    _check_taken(chosen, job.options)
    drawn = 0
    for one in chosen:
        taken = {name: value for name, value in job.options.items() if name in one.options}
        try:
            with _told(one.name, folder):
                print_out(*one.write(one.read(folder), job.out, **job.look, **taken))
            drawn += 1
        except UserError as error:
            if names or taken or (one is chosen[-1] and not drawn):
                raise
            print_err(f"{one.name} is left out: {error}")


def _own(folder: Path) -> list[Picture]:
    """Return the pictures that belong to a record, and name the others that can be drawn from it."""
    from records.run_folder import read_record_or_run

    with _told("its pictures", folder):
        record = read_record_or_run(folder)
        there = drawable(record.record["tables"])
        own = [one for one in there if one.belongs_to(record)]
    others = ", ".join(one.name for one in there if one not in own)
    if not own:
        raise UserError(_nothing(record, others))
    if others:
        print_err(f"more pictures of this record, drawn by name: {others}")
    return own


def _nothing(record: "Measurement", others: str) -> str:
    there = f"name one of {others}" if others else f"its tables are {', '.join(record.record['tables']) or 'none'}"
    return f"no picture belongs to `{record.path}`, a record of {record.header['probe']}: {there}"


def _check_taken(chosen: Sequence[Picture], options: Mapping[str, Any]) -> None:
    """Refuse an option that no picture takes."""
    for name in options:
        if not any(name in one.options for one in chosen):
            drawn = ", ".join(one.name for one in chosen)
            raise UserError(f"`{flag_name(name)}` is an option of {', '.join(_takers(name))}, not of {drawn}")


@contextmanager
def _told(what: str, folder: Path) -> Iterator[None]:
    """Say in one line of a record whose header or tables are none that can be drawn that it is none."""
    rule = f"cannot draw {what}: `{folder}` must be a record with the header and tables that a probe writes"
    try:
        with one_line(rule, "measure again"):
            yield
    except UserError as error:
        if isinstance(error.__cause__, OSError):
            raise UserError(f"cannot draw {what}: {error.__cause__}; choose another folder") from error
        raise


if __name__ == "__main__":
    sys.exit(main())
