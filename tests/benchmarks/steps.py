"""Time of one training step by phase, for standard distillation and for visual steering on identical rollouts.

    python -m tests.benchmarks.steps                        # the bundled pair: minutes
    python -m tests.benchmarks.steps --steps 2 --batch 16   # seconds
    python -m tests.benchmarks.steps --seeds 0 1 2 --steps 3 --record runs/step_cost

In each round the student samples once; then each arm scores the responses and makes its update, from the same weights
and in turn, so that a drift of the machine meets all alike. `standard` is as the trainer runs it: it records the
language and visual losses, and so scores both models' text views too. `standard, lean` is what is needed and no more:
image views alone, the loss from whole logits, nothing recorded. `eta measured` takes three backward passes.

Times are medians over the rounds, ratios medians of each round's. With one thread they are the processor's time, which
other jobs disturb less, with several the clock's. Below is the sampler against transformers' own sampling, at
temperature 1, of as many columns to the same prompts; tokens are counted up to the end that the trainer's have.

Writes `steps.md` into `--out`, and with `--record` the table `steps` of a study, one run for each arm and seed, which
`study.claims` reads.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jsonargparse.typing import NonNegativeInt, PositiveInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick


@dataclass(frozen=True)
class StepOptions:
    """What is timed, and where the tables are written"""

    steps: PositiveInt = flag(8, "rounds, after one to warm up")
    threads: PositiveInt = flag(1, "threads of torch")
    student: str = flag("bundled", "folder or hub id of the student, or bundled")
    teacher: str | None = flag(None, "folder or hub id of the teacher (default: what the student's pair.json names)")
    batch: PositiveInt = flag(64, "responses in each step")
    seeds: Sequence[NonNegativeInt] = flag((0,), "seeds of the prompts and rollouts", short="SEED")
    max_response: PositiveInt = flag(64, "longest response, tokens")
    out: Path = flag(Path("runs/bench"), "folder of the tables", short="FOLDER")
    record: Path | None = flag(None, "folder of a record of the seconds (default: none)", short="FOLDER")


def main(argv: Sequence[str] | None = None) -> int:
    """Time the arms; return the exit code."""
    parser = Parser("tests.benchmarks.steps", __doc__)
    parser.add_options(StepOptions)
    options = pick(parser.parse_args(argv), StepOptions)
    return exit_code(lambda: _run(options))


def _run(options: StepOptions) -> None:
    import pandas as pd  # here, as the model libraries below, so that --help needs none of them
    import torch

    from tests.benchmarks.step_contest import Contest, ProcessorWatch, sampler_table, step_table, write_record
    from train.config import Config
    from train.learner import Stopwatch
    from vlm.checkpoints.checkpoint import quiet

    quiet()
    torch.set_num_threads(options.threads)
    names = ("student", "teacher", "batch", "max_response")
    config = Config(**{name: getattr(options, name) for name in names})
    measured = []
    for seed in options.seeds:
        contest = Contest(replace(config, seed=seed), ProcessorWatch if options.threads == 1 else Stopwatch)
        rounds = [contest.round(number) for number in range(options.steps + 1)]
        measured += [row | {"seed": seed} for rows in rounds[1:] for row in rows]
    rows = pd.DataFrame(measured)
    length = rows["n_tokens"].mean() / options.batch
    caption = (
        f"{options.student}, {options.batch} responses of {length:.1f} tokens a step, micro-batches of "
        f"{config.micro_batch}, {options.threads} thread(s), float32; seconds, medians of {options.steps} rounds"
    )
    text = "\n\n".join([caption, step_table(rows), sampler_table(rows)])
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "steps.md").write_text(text + "\n")
    if options.record:
        write_record(rows, contest, options.record)


if __name__ == "__main__":
    sys.exit(main())
