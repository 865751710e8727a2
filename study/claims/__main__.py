"""Which of the paper's claims come out on the bundled pair? The scoreboard, made again from committed records.

    python -m study.claims
    python -m study.claims --records figures/gallery --out docs/claims.md

Reads the records that `probes.angles` and `study.effects` wrote. Writes the page and prints one line for each
statement. Whatever was not measured is named with the command that measures it. The claims, what the paper says of each
and the rules that decide them are in `study/claims/gradient_claims.py` and `study/claims/training_claims.py`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.errors import exit_code
from cli.options import Parser, flag, pick
from cli.visible import print_out


@dataclass(frozen=True)
class ClaimsOptions:
    """Input and output"""

    records: str = flag("figures/gallery", "folder of the records", short="FOLDER")
    out: str = flag("docs/claims.md", "Markdown page to write", short="FILE")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page and print the table; return the exit code."""
    parser = Parser("study.claims", __doc__)
    parser.add_options(ClaimsOptions)
    options = pick(parser.parse_args(argv), ClaimsOptions)
    return exit_code(lambda: _write(options))


def _write(options: ClaimsOptions) -> None:
    from records.files import write_page
    from study.claims.judging import judge_claims  # here, so that --help needs no pandas
    from study.claims.page import citations, markdown_page, terminal_table
    from study.claims.sources import RecordFolder

    records = RecordFolder(options.records)
    judged = judge_claims(records)
    out = Path(options.out)
    write_page(out, markdown_page(judged, records))
    print_out(terminal_table(judged), f"page: {out}")
    needed = citations(statement for one in judged for statement in (*one.statements, *one.tests))
    lacking = [cited.command for cited in needed if not cited.measured]
    yours = "python -m probes.diagnose STUDENT --teacher TEACHER"  # the claims are about one pair
    print_out(f"next: {lacking[0] if lacking else yours}")


if __name__ == "__main__":
    sys.exit(main())
