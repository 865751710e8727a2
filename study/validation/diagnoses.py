"""Diagnose the pairs of a suite, and keep of each record what the page reads.

    python -m study.validation.diagnoses                    # all pairs of runs/suite, minutes each
    python -m study.validation.diagnoses --pairs both --suite runs/suite --out figures/gallery/validation

Writes OUT/NAME/diagnosis, with the tables `trial` and `recommendation` of `python -m probes.diagnose --try-every` at
the rate of the suite's runs, and OUT/pairs.csv. A diagnosis that is there is not made again.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.errors import UserError, exit_code
from cli.options import Parser, flag, pick
from cli.shell import run_module
from cli.visible import print_out

KEPT: Final = ("trial", "recommendation")
"""The tables that are kept."""


@dataclass(frozen=True)
class DiagnosesOptions:
    """What is diagnosed"""

    suite: str = flag("runs/suite", "folder of the suite", short="FOLDER")
    pairs: Sequence[str] = flag((), "names of pairs (default: all of the suite)", short="NAME")
    whole: str = flag("runs/diagnoses", "folder of the whole records", short="FOLDER")
    out: str = flag("figures/gallery/validation", "folder of what is kept", short="FOLDER")


def main(argv: Sequence[str] | None = None) -> int:
    """Make the diagnoses that are missing; return the exit code."""
    parser = Parser("study.validation.diagnoses", __doc__)
    parser.add_options(DiagnosesOptions)
    options = pick(parser.parse_args(argv), DiagnosesOptions)
    return exit_code(lambda: _run(options))


def _run(options: DiagnosesOptions) -> None:
    from records.record_json import RECORD
    from study.phases.runs import students

    out = Path(options.out)
    for name, student in students(options.suite, options.pairs).items():
        if not (out / name / "diagnosis" / RECORD).is_file():
            _diagnose(student, Path(options.whole) / name)
            _keep(Path(options.whole) / name, out / name / "diagnosis")
            _list_pairs(out)
    print_out(f"next: {run_module('study.validation', '--records', out)}")


def _diagnose(student: Path, record: Path) -> None:
    """Run the diagnosis in this process.

    Raises:
        UserError: it failed; it has printed why.
    """
    from probes.diagnose import main as diagnose
    from study.suite.designs import RATE

    flags = ["--try-every", "--lr", f"{RATE:g}", "--skip-accuracy", "--per-bin", "4", "--precision-check", "0"]
    if diagnose([str(student), *flags, "--out", str(record), "--overwrite"]):
        raise UserError(f"the diagnosis of `{student}` failed, see above: mend it and run this again")


def _keep(record: Path, out: Path) -> None:
    from records import open_record, read_record

    held = read_record(record, *KEPT)
    with open_record(out, held.header, overwrite=True) as writer:
        writer.finish(held.tables, {})


def _list_pairs(out: Path) -> None:
    """Write `pairs.csv`: each pair of the suite that has a diagnosis, and its kind."""
    from records.files import write_page
    from study.suite.designs import GRID, PAIRS
    from study.validation.reading import PAIRS as INDEX

    kinds = {name: branch.kind for name, branch in PAIRS.items()} | {name: point.kind for name, point in GRID.items()}
    rows = [f"{name},{kind}" for name, kind in kinds.items() if (out / name / "diagnosis").is_dir()]
    write_page(out / INDEX, "\n".join(["pair,kind", *rows]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
