"""Check every family and write docs/families.md.

python -m tests.families                       # minutes
"""

import sys
from collections.abc import Sequence

from cli.options import Parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; return 1 if a check failed."""
    Parser("tests.families", __doc__).parse_args(argv)
    from tests.families.table import write  # torch and the model libraries, once the flags are read

    return write()


if __name__ == "__main__":
    sys.exit(main())
