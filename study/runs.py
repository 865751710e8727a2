"""The runs of a study: every arm with every seed, trained on the same prompts, and asked the same at the end.

    FOLDER/study.json               the student, and a fingerprint of the prompts that are answered
    FOLDER/<arm>-<seed>/            a run of `train`: its journal, its last checkpoint
    FOLDER/<arm>-<seed>/answers.parquet    one row for each answer, written when the run is complete

A complete run is not repeated, and an interrupted one goes on where it was.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from cli.errors import OptionError
from records import RecordError
from records.files import write_json, write_whole
from records.fingerprint import difference, plain
from study.answers import ANSWERS, Evaluation, answer, evaluation_of, refuse_other_prompts
from study.arms import INITIAL, OBJECTIVES, Flags, arm_flags
from train.checkpoint import AVERAGED, LAST
from train.config import STATED_IF_GIVEN, Config
from train.folder import CONFIG
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
    **flags: Any,
) -> list[Path]:
    """Train each arm with each seed and let it answer the same prompts; return the folders of the runs.

    Args:
        arms: names from `study.arms.ARMS`, or `initial` for the student that is not trained.
        seeds: of the prompts and rollouts of training.
        folder: where the runs stand. What is complete there is left alone.
        answers: number of prompts to answer at the end (default: see `study.answers`).
        flags: fields of `train.config.Config` that all arms share, such as `student`, `teacher`, `prompts`, `steps`.

    Raises:
        OptionError: flags that make no sense, alone or together with those of an arm.
        RecordError: the folder holds a run with other flags, another student, or other answers.
    """
    quiet()
    study = Study(Path(folder), flags, evaluation_of(arm_flags(INITIAL, 0, flags), answers))
    planned = [(arm, study.config(arm, seed)) for seed in seeds for arm in arms]  # refuses nonsense before hours pass
    device_of(planned[0][1].device)
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
        other = difference(json.loads(path.read_bytes()), content)
        if other is not None:
            raise RecordError(
                f"`{path}` has `{other.field}` {other.left!r}, not {other.right!r}: choose another `--out`"
            )
        return
    for answered in sorted(study.folder.glob(f"*/{ANSWERS}")):
        refuse_other_prompts(answered, [prompt.prompt_id for prompt in prompts])
    study.folder.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


def run_arm(study: Study, arm: str, config: Config) -> Path:
    """Train an arm, or go on with it, and let it answer the prompts; return the folder of the run.

    Raises:
        RecordError: the folder holds a run with other flags.
    """
    folder = Path(config.folder)
    if (folder / ANSWERS).is_file():
        if arm != INITIAL:
            _refuse_other_flags(folder / CONFIG, config)
        return folder
    print(f"{arm}, seed {config.seed}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    judged = AVERAGED if config.weight_average else LAST
    checkpoint = config.student if arm == INITIAL else str(train(config) / judged)
    rows = answer(checkpoint, study.evaluation, config).assign(arm=arm, seed=config.seed)
    write_whole(folder / ANSWERS, lambda part: rows.to_parquet(part, index=False))
    return folder


def _refuse_other_flags(path: Path, config: Config) -> None:
    """Refuse a complete run that was made with other flags; flags that are newer than the run are let pass."""
    unstated = {f.name: f.default for f in fields(Config) if f.name in STATED_IF_GIVEN}
    made_with = plain(unstated) | json.loads(path.read_bytes())["settings"]
    for flag, wanted in plain(asdict(config) | config.settings).items():
        if made_with.get(flag, wanted) != wanted:
            raise RecordError(f"`{path}` has `{flag}` {made_with[flag]!r}, not {wanted!r}: choose another `--out`")
