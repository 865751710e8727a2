"""Does the diagnosis predict what training does? Predictions against realised effects, from records.

    python -m study.validation
    python -m study.validation --records figures/gallery/validation --out docs/validation.md

Reads for each pair of models a record of `python -m probes.diagnose --try-every`. What training did is read from a
record of `python -m study.effects` or of `python -m study.phases`; `study/validation/reading.py` says where they stand.
Writes the page: slope, rank correlation and coverage, verdicts against outcomes, the regret of following the diagnosis,
and thresholds that are fitted on some pairs and judged on
others. Without records it says in one line what to run.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jsonargparse.typing import NonNegativeInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick
from cli.visible import print_out


@dataclass(frozen=True)
class ValidationOptions:
    """Input and output"""

    records: str = flag("figures/gallery/validation", "folder of the pairs and their records", short="FOLDER")
    phases: str = flag(
        "figures/gallery/phases", "record of study.phases, for pairs without one of a study", short="FOLDER"
    )
    out: str = flag("docs/validation.md", "Markdown page to write", short="FILE")
    seed: NonNegativeInt = flag(0, "seed of the split into halves and of the resampling")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page and print its first sentence; return the exit code."""
    parser = Parser("study.validation", __doc__)
    parser.add_options(ValidationOptions)
    options = pick(parser.parse_args(argv), ValidationOptions)
    return exit_code(lambda: _write(options))


def _write(options: ValidationOptions) -> None:
    from records.files import write_page
    from study.validation.page import first_sentence, markdown_page  # here, so that --help needs no pandas
    from study.validation.reading import read_folder

    folder, out = Path(options.records), Path(options.out)
    rows = read_folder(folder, Path(options.phases))
    write_page(out, markdown_page(rows, folder.as_posix(), options.seed))
    print_out(first_sentence(rows, options.seed).strip("*"), f"page: {out}")


if __name__ == "__main__":
    sys.exit(main())
