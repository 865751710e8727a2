"""`python -m study`: see `study.runs`."""

import sys

from study.runs import main

if __name__ == "__main__":
    sys.exit(main())
