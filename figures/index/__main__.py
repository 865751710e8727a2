"""Write one page over all records and training runs below a folder.

    python -m figures.index runs
    python -m figures.index runs --out pages/index.html

Each entry says what was measured, when it was written, with which weights, and its main number; a picture or a report
that lies in its folder is shown. Two entries can be chosen to stand side by side in the same page. The page holds no
copies: it links to files of these folders by relative paths, and needs no network. A record that is unfinished or
damaged is listed with the reason.

Reads `record.json` and small tables of records, and `metrics.jsonl` and `config.json` of runs.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cli.errors import UserError, exit_code
from cli.options import Parser
from cli.visible import print_out


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page and print how many entries it has; return the exit code."""
    parser = Parser("figures.index", __doc__)
    parser.add_argument("folder", type=str, help="folder below which records and runs lie")
    parser.add_argument("--out", type=str, default=None, metavar="FILE", help="the page (default: FOLDER/index.html)")
    parsed = parser.parse_args(argv)
    folder = Path(parsed.folder)
    return exit_code(lambda: _write(folder, Path(parsed.out) if parsed.out else folder / "index.html"))


def _write(folder: Path, out: Path) -> None:
    from figures.index.entries import entries  # here, so that --help needs no pandas
    from figures.index.page import text
    from records.files import write_page

    if not folder.is_dir():
        raise UserError(
            f"`folder` must be a folder that exists, got `{folder}`: name one with records or runs below it"
        )
    listed = entries(folder)
    if not listed:
        raise UserError(
            f"`folder` must hold a record or a run, got `{folder}` without one: measure with `--out {folder}/…`"
        )
    write_page(out, text(folder.name or str(folder), listed, Path(os.path.relpath(folder, out.parent))))
    print_out(f"{len(listed)} entries", f"page: {out}")


if __name__ == "__main__":
    sys.exit(main())
