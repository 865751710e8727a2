"""Distil a student on its own rollouts.

    python -m train                                              # the bundled pair, vgs-lp, 100 steps: minutes
    python -m train --objective standard --seed 1 --out runs/standard-1
    python -m train --objective grpo+vgs-lp                      # a reward for right answers, four rollouts per prompt
    python -m train --preset paper-2b --teacher FOLDER           # Qwen3-VL-2B with the settings of the paper
    python -m train --config flags.yaml --steps 20
    accelerate launch --multi_gpu --num_processes 2 -m train     # two processes; with --device cpu, on the CPU

Reads the student, the teacher and the prompts. Writes into the run's folder:

    config.json      the flags, and fingerprints of the models that the run began with
    metrics.jsonl    the journal: a line for each step, evaluation and measurement of the gradients
    held_out.json    the fixed rollouts that evaluations score
    last, best       checkpoints that every probe reads

A run that was interrupted goes on with `--resume`. A flag that the objective does not read is refused.
docs/training.md has more. From Python: `train.train(train.Config(objective="vgs"))`, then `train.read_run(folder)`.
"""

import sys
from collections.abc import Sequence

from cli.errors import UserError, exit_code
from cli.options import Parser, pick, program
from cli.shell import shell_command
from cli.visible import print_err, print_out
from train.config import Config
from train.flags import FLAGS_READ_BY, Flags
from train.presets import PRESETS

FIRST = 64
"""Number of prompts that are read to show the first, one of which may lend its picture to the text view."""


def parse(argv: Sequence[str] | None = None) -> Config:
    """Return the flags that were typed, with the rest from the preset that they name.

    Raises:
        OptionError: flags that make no sense together.
    """
    preset = _parser("bundled").parse_args(argv).preset
    return pick(_parser(preset).parse_args(argv), Config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run and return the exit code: 2 for a user's mistake, 1 for a run that cannot go on; each prints one line."""
    return exit_code(lambda: _run(parse(argv)))


def _parser(preset: str) -> Parser:
    parser = Parser("train", __doc__)
    parser.add_argument("--config", action="config", help="YAML file with values for these flags")
    parser.add_options(Flags, PRESETS[preset], FLAGS_READ_BY)
    return parser


def _run(config: Config) -> None:
    """Train, then say where the run is and what to run next."""
    from accelerate import PartialState  # here, so that flags are read before it loads

    from train.loop import train

    if config.show_prompt:
        print_out(_shown(config))
        return
    if config.dry_run:
        _say_plan(config)
        return
    folder = train(config)
    if PartialState().is_main_process:
        teacher = [] if config.teacher is None else ["--teacher", config.teacher]
        print_out(f"run: {folder}")
        print_out(f"next: {program('probes.compare')} {shell_command(config.student, folder / 'last', *teacher)}")


def _say_plan(config: Config) -> None:
    """Print the plan of the run.

    Raises:
        UserError: it cannot fit, not even with its own changes.
    """
    from train.plan import plan_of

    plan = plan_of(config)
    print_out(plan)
    if not plan.can_fit:
        raise UserError(plan.refusal)


def _shown(config: Config) -> str:
    """The first prompt in both views; only the processor of the student is loaded."""
    from vlm.prompts.sources import prompt_set
    from vlm.responses.shown import shown_prompt

    read = prompt_set(config.prompts, limit=FIRST, split=config.split, reading=config)
    said = shown_prompt(config.student, read.prompts, config.text_view)
    print_err(*read.lines)
    return said


if __name__ == "__main__":
    sys.exit(main())
