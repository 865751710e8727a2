"""Which of the paper's claims come out on the bundled pair? The scoreboard, anew from committed records.

    python -m study.claims
    python -m study.claims --records figures/gallery --out docs/claims.md

Reads the records that `probes.angles` and `study.effects` wrote; writes the page and prints a line a statement. What
has not been measured is named with the command that measures it. The claims, what the paper says of each and the rules
that decide them are in `gradient_rows.py`, `training_rows.py` and `case_rows.py` of this folder, in this order.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from records import RecordError
from study.claims.case_rows import CASES
from study.claims.claim import weigh
from study.claims.gradient_rows import GRADIENTS
from study.claims.page import page
from study.claims.sources import Shelf
from study.claims.terminal import table
from study.claims.training_rows import TRAINING

CLAIMS = (*GRADIENTS, *TRAINING, *CASES)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page and print the table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m study.claims",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--records", type=Path, default=Path("figures/gallery"), help="folder of the records")
    parser.add_argument("--out", type=Path, default=Path("docs/claims.md"), help="Markdown page to write")
    options = parser.parse_args(argv)
    try:
        shelf = Shelf(options.records)
        outcomes = [weigh(claim, shelf) for claim in CLAIMS]
        written = page(outcomes, shelf)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(written, encoding="utf-8")
    except (RecordError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(outcomes), f"page: {options.out}", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
