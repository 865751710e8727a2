"""When does steering help? Arms compared with standard distillation on pairs whose gaps are set.

    python -m study.phases                                # all pairs of runs/suite, 3 arms, 8 seeds, 48 steps: hours
    python -m study.phases --pairs both language --seeds 0 1
    python -m study.phases --pairs both --steps 150 --lr 3e-5 --answers 4000 --weight-average 0.333 --runs runs/long

Reads the suite that `python -m study.suite --grid` made. Trains what the record of each pair, RECORDS/PAIR, lacks and
adds each complete seed to it. Then writes the record OUT with the table `phases`, from all pairs that have a record and
a card. With `--no-runs` it trains nothing.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick
from cli.shell import run_module
from cli.visible import print_out


@dataclass(frozen=True)
class PhasesOptions:
    """What is compared"""

    suite: str = flag("runs/suite", "folder of the suite", short="FOLDER")
    pairs: Sequence[str] = flag((), "names of pairs (default: all of the suite)", short="NAME")
    arms: Sequence[str] = flag(("standard", "vgs", "vgs-frozen"), "names from study/arms.py", short="ARM")
    seeds: Sequence[NonNegativeInt] = flag(tuple(range(8)), "seeds of the prompts and rollouts", short="SEED")
    steps: PositiveInt = flag(48, "steps of a run")
    lr: PositiveFloat = flag(
        1e-4, "learning rate; rate times steps should be at most 0.05 of the spread of the weights"
    )
    answers: PositiveInt = flag(300, "prompts that each run answers at the end")
    weight_average: NonNegativeFloat = flag(0.0, "share of the steps whose weights are averaged to answer; 0: the last")
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
    from study.suite.designs import flags_of_run

    if not options.no_runs:
        own = {"lr": options.lr, "weight_average": options.weight_average}
        plan = Plan(options.arms, options.answers, {**flags_of_run(options.steps), **own})
        pairs = students(options.suite, options.pairs)
        for seed, name in product(options.seeds, pairs):
            print_out(f"pair {name}")
            run_seed(pairs[name], seed, Path(options.runs) / name, Path(options.records) / name, plan)
    print_out(_tabulated(options))
    print_out(f"next: {run_module('figures', options.out)}")


def _tabulated(options: PhasesOptions) -> str:
    """Write the record of the table and return its rows of the primary quantity, as text."""
    from records import RecordError, open_record, read_record
    from records.record_json import RECORD
    from study.phases.table import phases

    cards, records = Path(options.cards), Path(options.records)
    names = [path.stem for path in sorted(cards.glob("*.json")) if (records / path.stem / RECORD).is_file()]
    if not names:
        raise RecordError(f"`records` {records} holds no record of a pair with a card in `cards` {cards}")
    pairs = {name: (json.loads((cards / f"{name}.json").read_bytes()), read_record(records / name)) for name in names}
    table = phases(pairs)
    fingerprints = {name: record.record["fingerprint"] for name, (_, record) in pairs.items()}
    header = {"probe": "study.phases", "pair": {}, "weights": {}, "settings": {"records": fingerprints}}
    with open_record(Path(options.out), header, overwrite=True) as writer:
        writer.finish({"phases": table}, {})
    shown = ["pair", "visual_gap_nats", "language_gap_nats", "arm", "n_seeds", "difference", "low", "high", "counts_as"]
    return table.loc[table["quantity"] == "standard", shown].round(4).to_string(index=False)


if __name__ == "__main__":
    sys.exit(main())
