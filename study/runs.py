"""The runs of a study: every arm with every seed, trained on the same prompts, and asked the same at the end.

    FOLDER/study.json               the student, and a fingerprint of the prompts that are answered
    FOLDER/<arm>-<seed>/            a run of `train`: its journal, its last checkpoint
    FOLDER/<arm>-<seed>/answers.parquet    one row for each answer, written when the run is complete

A complete run is not repeated, and an interrupted one goes on where it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.errors import OptionError
from cli.visible import print_out
from records import RecordError
from records.files import read_json, write_json, writing
from records.fingerprint import difference
from records.run_folder import CONFIG, read_config
from study.answers import ANSWERS, Evaluation, answer, evaluation_of, refuse_other_prompts, write_answers
from study.arms import INITIAL, OBJECTIVES, Flags, arm_flags
from study.continued import held_runs, other_flag
from train.checkpoint import AVERAGED, LAST
from train.config import Config
from train.loop import train
from vlm.checkpoints.checkpoint import quiet
from vlm.checkpoints.devices import device_of
from vlm.prompts.prompt import prompts_fingerprint

STUDY = "study.json"


def run(
    arms: Sequence[str] = (INITIAL, *OBJECTIVES),
    seeds: Sequence[int] = (0, 1, 2),
    *,
    folder: str | Path = "runs/study",
    answers: int | None = None,
    continues: str | Path | None = None,
    **flags: Any,
) -> list[Path]:
    """Train each arm with each seed and let it answer the same prompts; return the folders of the runs.

    Args:
        arms: names from `study.arms.ARMS`, or `initial` for the student that is not trained.
        seeds: of the prompts and rollouts of training.
        folder: where the runs stand. What is complete there is left alone.
        answers: number of prompts to answer at the end (default: see `study.answers`).
        continues: the folder of a record of `study.effects`; runs that it holds are left out.
        flags: fields of `train.config.Config` that all arms share, such as `student`, `teacher`, `prompts`, `steps`.

    Raises:
        OptionError: flags that make no sense, alone or together with those of an arm.
        RecordError: the folder holds a run with other flags, another student, or other answers.
    """
    quiet()
    study = Study(Path(folder), flags, evaluation_of(arm_flags(INITIAL, 0, flags), answers))
    planned = [(arm, study.config(arm, seed)) for seed in seeds for arm in arms]  # refuses nonsense before hours pass
    device_of(planned[0][1].device)
    if continues is not None:
        by_name = {f"{arm}-{config.seed}": config for arm, config in planned}
        held = held_runs(continues, by_name, [prompt.prompt_id for prompt in study.evaluation.prompts])
        planned = [(arm, config) for arm, config in planned if f"{arm}-{config.seed}" not in held]
    begin(study)
    return [run_arm(study, arm, config) for arm, config in planned]


@dataclass(frozen=True)
class Study:
    """A folder of runs, the flags that all arms share, and the prompts that all runs answer."""

    folder: Path
    flags: Flags
    evaluation: Evaluation = field(repr=False)

    def config(self, arm: str, seed: int) -> Config:
        """Return the flags of one run."""
        kept = {"left_out": self.evaluation.left_out} if self.evaluation.left_out else {}
        out = str(self.folder / f"{arm}-{seed}")
        return Config(**arm_flags(arm, seed, {**self.flags, **kept}), out=out, resume=True)


def begin(study: Study) -> None:
    """Write what identifies the study, or make sure that the one in the folder is this one."""
    if study.folder.is_file():
        raise OptionError(f"`out` must be a folder, and `{study.folder}` is a file: choose another")
    prompts = study.evaluation.prompts
    content = {"student": study.config(INITIAL, 0).student, "answers": len(prompts)}
    content |= {"prompts": prompts_fingerprint(prompts)}
    path = study.folder / STUDY
    if path.is_file():
        stated = read_json(path)
        if not isinstance(stated, dict):
            raise RecordError(f"`{path}` is not what a study writes: put it back, or choose another `--out`")
        other = difference(stated, content)
        if other is not None:
            raise RecordError(
                f"`{path}` has `{other.field}` {other.left!r}, not {other.right!r}: choose another `--out`"
            )
        return
    for answered in sorted(study.folder.glob(f"*/{ANSWERS}")):
        refuse_other_prompts(answered, [prompt.prompt_id for prompt in prompts])
    with writing(study.folder):
        study.folder.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


def run_arm(study: Study, arm: str, config: Config) -> Path:
    """Train an arm, or go on with it, and let it answer the prompts; return the folder of the run.

    Raises:
        RecordError: the folder holds a run with other flags.
    """
    folder = Path(config.folder)
    if (folder / ANSWERS).is_file():
        refuse_other_prompts(folder / ANSWERS, [prompt.prompt_id for prompt in study.evaluation.prompts])
        if arm != INITIAL:
            _refuse_other_flags(folder / CONFIG, config)
        return folder
    print_out(f"{arm}, seed {config.seed}")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    judged = AVERAGED if config.weight_average else LAST
    checkpoint = config.student if arm == INITIAL else str(train(config) / judged)
    rows = answer(checkpoint, study.evaluation, config).assign(arm=arm, seed=config.seed)
    write_answers(folder / ANSWERS, rows)
    return folder


def _refuse_other_flags(path: Path, config: Config) -> None:
    """Refuse a complete run that was made with other flags."""
    if other := other_flag(read_config(path).get("settings", {}), config):
        raise RecordError(f"`{path}` has {other}: choose another `--out`")
