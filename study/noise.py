"""How much do runs of one arm differ, and what lessens it? Four ways, tried on standard distillation.

    python -m study.noise                        # 18 runs of 150 steps on the bundled pair
    python -m study.noise --seeds 20 21 --steps 10 --answers 100 --out runs/noise_short

The ways: the last weights at a constant rate; the average of the weights over the last third of the steps; a rate that
falls to 0 over the last third; a rate of 1e-4. Prints the mean and the SD over seeds of the accuracy on scenes that
need the picture, and writes them to OUT/noise.csv, those of each seed to OUT/seeds.csv. `study.rules` says which way
new runs take.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jsonargparse.typing import NonNegativeInt, PositiveInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick
from cli.visible import print_out
from study.rules import PRIMARY_GROUP, TRIAL_ARM, TRIAL_SEEDS

if TYPE_CHECKING:
    import pandas as pd

    from study.runs import Study

LAST_THIRD: Final = 1 / 3
CONSTANT, AVERAGED_WAY = "constant", "averaged"
RUNS: Final[Mapping[str, Mapping[str, Any]]] = {
    CONSTANT: {"weight_average": LAST_THIRD},
    "decayed": {"lr_decay": LAST_THIRD},
    "small_rate": {"lr": 1e-4},
}
"""By name, the flags of the runs. Those at a constant rate are judged by their last weights and by the average."""


@dataclass(frozen=True)
class NoiseOptions:
    """What is tried"""

    seeds: Sequence[NonNegativeInt] = flag(tuple(TRIAL_SEEDS), "seeds of the prompts and rollouts", short="SEED")
    ways: Sequence[str] = flag(tuple(RUNS), "runs to make, of constant, decayed and small_rate", short="WAY")
    steps: PositiveInt = flag(150, "steps of training")
    answers: PositiveInt | None = flag(None, "prompts that each run answers at the end (default: 4000)")
    out: str = flag("runs/noise", "folder of the runs", short="FOLDER")


def noise(options: NoiseOptions) -> "pd.DataFrame":
    """Run what is missing; return `way, seed, points`, the accuracy of each run on scenes that need the picture."""
    import pandas as pd

    rows = [
        {"way": way, "seed": seed, "points": 100.0 * answers.loc[answers["group"] == PRIMARY_GROUP, "correct"].mean()}
        for way, seed, answers in _answers(options)
    ]
    return pd.DataFrame(rows).sort_values(["way", "seed"], kind="stable")


def spread(seeds: "pd.DataFrame") -> "pd.DataFrame":
    """Return `way, n_seeds, mean, sd, least, greatest`, in points, one row for each way."""
    points = seeds.groupby("way", sort=False)["points"]
    return points.agg(n_seeds="count", mean="mean", sd="std", least="min", greatest="max").reset_index()


def _answers(options: NoiseOptions) -> Iterator[tuple[str, int, "pd.DataFrame"]]:
    """Yield each way and seed with its answers; runs that are there are not repeated."""
    import pandas as pd

    from study.answers import ANSWERS, evaluation_of
    from study.arms import INITIAL, arm_flags
    from study.runs import Study, begin, run_arm

    for seed in options.seeds:
        for way in options.ways:
            flags = {"geometry_every": 0, "evaluate_every": 0, "steps": options.steps, **RUNS[way]}
            evaluation = evaluation_of(arm_flags(INITIAL, 0, flags), options.answers)
            study = Study(Path(options.out) / way, flags, evaluation)
            begin(study)
            run = run_arm(study, TRIAL_ARM, study.config(TRIAL_ARM, seed))
            yield AVERAGED_WAY if way == CONSTANT else way, seed, pd.read_parquet(run / ANSWERS)
            if way == CONSTANT:
                yield CONSTANT, seed, _last(study, seed, run)


def _last(study: "Study", seed: int, run: Path) -> "pd.DataFrame":
    """Return the answers of a run's last weights."""
    import pandas as pd

    from records.files import write_whole
    from study.answers import answer
    from train.checkpoint import LAST

    path = run / "answers-last.parquet"
    if not path.is_file():
        rows = answer(str(run / LAST), study.evaluation, replace(study.config(TRIAL_ARM, seed), weight_average=0.0))
        write_whole(path, lambda part: rows.to_parquet(part, index=False))
    return pd.read_parquet(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the table; return the exit code."""
    parser = Parser("study.noise", __doc__)
    parser.add_options(NoiseOptions)
    options = pick(parser.parse_args(argv), NoiseOptions)
    return exit_code(lambda: _run(options))


def _run(options: NoiseOptions) -> None:
    from cli.errors import OptionError
    from vlm.checkpoints.checkpoint import quiet

    if unread := sorted({*options.ways} - {*RUNS}):
        raise OptionError(f"`ways` must be of {', '.join(RUNS)}, got {unread[0]!r}")
    quiet()
    seeds, out = noise(options), Path(options.out)
    seeds.to_csv(out / "seeds.csv", index=False)
    table = spread(seeds)
    table.to_csv(out / "noise.csv", index=False)
    print_out(table.round(2).to_string(index=False), f"table: {out / 'noise.csv'}")


if __name__ == "__main__":
    sys.exit(main())
