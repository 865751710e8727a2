"""The command of a page that is written from the code: its one flag says where."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cli.errors import exit_code
from cli.options import Parser
from cli.visible import print_out
from records.files import write_page


def write_by_command(
    module: str, manual: str | None, page: Callable[[], str], place: str, argv: Sequence[str] | None
) -> int:
    """Parse the flags of a command, write its page and print where it is; return the exit code.

    Args:
        module: what follows `python -m`.
        manual: the module's docstring, which the help shows.
        page: returns the page as Markdown.
        place: where it is written by default.
        argv: the flags; None for those of the process.
    """
    parser = Parser(module, manual)
    parser.add_argument("--out", type=Path, default=Path(place), help="file of the page")
    out = parser.parse_args(argv).out
    return exit_code(lambda: _write(out, page()))


def _write(out: Path, page: str) -> None:
    write_page(out, page)
    print_out(out)
