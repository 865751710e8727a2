"""The effect of steering on a pair: every objective, several seeds, the same budget and the same prompts.

    python -m study                                             # the bundled pair, every objective, seeds 0 to 2: hours
    python -m study --arms standard vgs-lp --seeds 0 --steps 20 --answers 100
    python -m study --arms initial standard vgs vgs-lp --lr 1e-4 --out runs/study_small_rate
    python -m study --arms initial standard vgs --teacher runs/blind --text-view blank --out runs/study_blind
    python -m study --arms initial standard vgs-lp --student S --teacher T --prompts train.parquet --out runs/mine

An arm is a set of flags of `python -m train`, see `study/arms.py`. There is one for every objective, and arms of other
strengths that run if they are named. All arms of a seed see the same prompts in the same order and as many rollouts in
each step: those with a reward see a quarter of the prompts, four rollouts each. At the end every run answers the same
prompts, so that arms are compared prompt by prompt. These prompts are drawn for it, or the first of
`--held-out-prompts`, or else the last of `--prompts`, which are then not trained on.

A run stands in `OUT/<arm>-<seed>`: its journal, its last checkpoint and `answers.parquet`, one row for each answer. A
complete run is not repeated, and an interrupted one goes on. `python -m study.effects OUT` compares the arms.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick
from study.arms import INITIAL, OBJECTIVES
from vlm.prompts.reading import Reading


@dataclass(frozen=True)
class StudyOptions:
    """What is compared"""

    arms: Sequence[str] = flag((INITIAL, *OBJECTIVES), "initial, or names from study/arms.py", short="ARM")
    seeds: Sequence[NonNegativeInt] = flag((0, 1, 2), "seeds of the prompts and rollouts", short="SEED")
    answers: PositiveInt | None = flag(
        None, "prompts that each run answers at the end (default: 4000, or a fifth of a file that is trained on)"
    )
    out: str = flag("runs/study", "folder of the study", short="FOLDER")


@dataclass(frozen=True)
class SharedOptions(Reading):
    """The same for all arms (default: as in the preset, see python -m train --help)"""

    preset: Literal["bundled", "paper-2b", "paper-4b"] = flag("bundled", "what the other flags are by default")
    student: str | None = flag(None, "folder or hub id of the student, or bundled")
    teacher: str | None = flag(None, "folder or hub id of the teacher (default: what the student's pair.json names)")
    prompts: str | None = flag(
        None, "bundled, a .jsonl, .json or .parquet file, a datasets folder, a benchmark or a hub id"
    )
    held_out_prompts: str | None = flag(None, "prompts to evaluate on, in training and at the end")
    held_out: PositiveInt | None = flag(None, "prompts to evaluate on in training")
    split: str | None = flag(
        None, "split of a datasets folder or hub id (a benchmark: its own, unless another than train)"
    )
    text_view: Literal["drop", "blank", "other"] | None = flag(None, "what replaces the picture in the text view")
    steps: PositiveInt | None = flag(None, "steps of training (default: 150)")
    lr: PositiveFloat | None = flag(None, "learning rate")
    lr_decay: float | None = flag(None, "share of the steps, the last ones, over which the rate falls to 0")
    weight_average: float | None = flag(None, "share of the steps, the last ones, whose averaged weights are judged")
    batch: PositiveInt | None = flag(None, "prompts in each step; with a reward a quarter, four rollouts each")
    max_response: PositiveInt | None = flag(None, "longest response, tokens")
    allow_truncated: bool = flag(False, "go on although more than 80 % of the responses are truncated")
    micro_batch: PositiveInt | None = flag(None, "responses in each forward and backward pass")
    generation_batch: PositiveInt | None = flag(None, "responses generated together")
    freeze_vision: bool = flag(False, "leave the vision tower as it is")
    gradient_checkpointing: bool = flag(False, "save memory: run each layer again in the backward pass")
    lora_rank: NonNegativeInt | None = flag(None, "train adapters of this rank and no weights")
    geometry_every: NonNegativeInt | None = flag(None, "steps between measurements of the five gradients; 0: none")
    evaluate_every: NonNegativeInt | None = flag(None, "steps between evaluations of the losses (default: 50)")
    dtype: Literal["auto", "float32", "bfloat16"] | None = flag(
        None, "what models run in (default: float32 on the CPU, else the student's own)"
    )
    device: str | None = flag(
        None, "where models run: auto, cpu, cuda, cuda:1 (default: an accelerator if there is one)"
    )

    @property
    def flags(self) -> dict[str, Any]:
        """The flags that differ from the preset, fields of `train.config.Config`."""
        return {name: value for name, value in asdict(self).items() if value is not None and value is not False}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the arms, seed by seed; return the exit code."""
    parser = Parser("study", __doc__)
    parser.add_argument("--config", action="config", help="YAML file with values for these flags")
    parser.add_options(StudyOptions)
    parser.add_options(SharedOptions)
    parsed = parser.parse_args(argv)
    return exit_code(lambda: _run(pick(parsed, StudyOptions), pick(parsed, SharedOptions)))


def _run(options: StudyOptions, shared: SharedOptions) -> None:
    from study.runs import run  # here, so that --help needs no model library

    run(options.arms, options.seeds, folder=options.out, answers=options.answers, **shared.flags)
    print(f"next: python -m study.effects {options.out}")


if __name__ == "__main__":
    sys.exit(main())
