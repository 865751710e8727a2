"""When does steering help? Arms compared with standard and with each other, on pairs whose gaps are set.

    python -m study.phases                                # the grid of runs/suite, 3 arms, 8 seeds, 48 steps: hours
    python -m study.phases --pairs both language --seeds 0 1 --records runs/records --out runs/phases_of_two
    python -m study.phases --pairs both --steps 150 --lr 3e-5 --answers 4000 --runs runs/long --records runs/records \
        --out runs/long_phases

Reads the suite that `python -m study.suite --grid` made. Trains what the record of each pair, RECORDS/PAIR, lacks and
adds each complete seed to it. Then writes the record OUT with the table `phases`, from all pairs that have a record and
a card. Runs with other flags need other RECORDS. With `--no-runs` it trains nothing.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveFloat, PositiveInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick
from cli.shell import run_module
from cli.visible import print_out


@dataclass(frozen=True)
class PhasesOptions:
    """What is compared"""

    suite: str = flag("runs/suite", "folder of the suite", short="FOLDER")
    pairs: Sequence[str] = flag((), "names of pairs (default: the grid)", short="NAME")
    arms: Sequence[str] = flag(("standard", "vgs", "vgs-frozen"), "names from study/arms.py", short="ARM")
    seeds: Sequence[NonNegativeInt] = flag(tuple(range(8)), "seeds of the prompts and rollouts", short="SEED")
    steps: PositiveInt = flag(48, "steps of a run")
    lr: PositiveFloat = flag(
        1e-4, "learning rate; rate times steps should be at most 0.05 of the spread of the weights"
    )
    answers: PositiveInt = flag(300, "prompts that each run answers at the end")
    weight_average: ClosedUnitInterval = flag(
        0.0, "share of the steps, the last ones, whose averaged weights answer; 0: the last weights"
    )
    no_runs: bool = flag(False, "train nothing: make the table from the records that are there")
    runs: str = flag("runs/phases", "folder of the runs", short="FOLDER")
    records: str = flag("figures/gallery/suite", "folder of the pairs' records", short="FOLDER")
    cards: str = flag("study/suite/cards", "folder of the pairs' cards", short="FOLDER")
    out: str = flag("figures/gallery/phases", "folder of the record with the table", short="FOLDER")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing and write the table; return the exit code."""
    parser = Parser("study.phases", __doc__)
    parser.add_options(PhasesOptions)
    options = pick(parser.parse_args(argv), PhasesOptions)
    return exit_code(lambda: _run(options))


def _run(options: PhasesOptions) -> None:
    from study.phases.runs import Plan, run_seed, students  # here, so that --help needs no model library
    from study.suite.designs import GRID, flags_of_run

    if not options.no_runs:
        own = {"lr": options.lr, "weight_average": options.weight_average}
        plan = Plan(options.arms, options.answers, {**flags_of_run(options.steps), **own})
        pairs = students(options.suite, options.pairs or tuple(GRID))
        for seed, name in product(options.seeds, pairs):
            print_out(f"pair {name}")
            run_seed(pairs[name], seed, Path(options.runs) / name, Path(options.records) / name, plan)
    print_out(_tabulated(options))
    print_out(f"next: {run_module('figures', options.out)}")


def _tabulated(options: PhasesOptions) -> str:
    """Write the record of the table and return its rows of losses and right answers, as text."""
    from records import open_record
    from study.phases.pairs import read_pairs
    from study.phases.table import phases

    pairs = read_pairs(Path(options.cards), Path(options.records))
    table = phases(pairs)
    fingerprints = {name: record.record["fingerprint"] for name, (_, record) in pairs.items()}
    header = {"probe": "study.phases", "pair": {}, "weights": {}, "settings": {"records": fingerprints}}
    with open_record(Path(options.out), header, overwrite=True) as writer:
        writer.finish({"phases": table}, {})
    shown = ["pair", "arm", "against", "quantity", "n_seeds", "difference", "low", "high", "counts_as"]
    return table.loc[table["quantity"].isin(["standard", "correct"]), shown].round(4).to_string(index=False)


if __name__ == "__main__":
    sys.exit(main())
