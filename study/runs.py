"""The effect of steering on the bundled pair: every objective, several seeds, the same budget and the same scenes.

    python -m study                                             # every objective, seeds 0 to 2: hours
    python -m study --arms standard vgs-lp --seeds 0 --steps 20 --scenes 100
    python -m study --arms initial standard vgs vgs-lp --lr 1e-4 --out runs/study_small_rate
    python -m study --arms initial standard vgs --teacher runs/blind --text-view blank --out runs/study_blind

An arm is a set of flags of `python -m train`, see `study.arms`; besides one for every objective there are arms of
other strengths, run where they are named. All arms of a seed see the same prompts in the same order, 64 rollouts a
step, and answer the same scenes at the end, so that they are compared scene by scene. Those with a reward see a quarter
of the prompts, four rollouts each. eta is left out: under Adam it is without effect where it is constant, and weighs
the steps against each other where it is measured anew.

A run is in `OUT/<arm>-<seed>`: its journal, its last checkpoint and `answers.parquet`, a row a scene. What is complete
is not run again, what was interrupted goes on.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bundled import STUDENT
from bundled.prompts import group_prompts
from cli.errors import exit_code
from records import RecordError
from records.files import write_whole
from study.arms import ARMS, INITIAL, OBJECTIVES
from train.config import Config
from train.folder import CONFIG
from train.loop import train
from vlm.checkpoint import LoadedModel, load_model, quiet
from vlm.evaluation import evaluate
from vlm.rollouts import Sampling

SHARED: Mapping[str, Any] = {"eta": "none", "evaluate_every": 50, "checkpoint_every": 50}
FLAGS = ("steps", "lr", "teacher", "text_view")
"""Of `python -m train`, the same for all arms."""
ANSWERS = "answers.parquet"
GROUPS = {"high": 6, "low": 1, "text": 1}
"""Dependency groups, and how many of every eight scenes each has."""
_SCENE_SEED = 500_000  # below those of training, and not the default of any probe


def run_arm(arm: str, seed: int, scenes: int, out: Path, flags: Mapping[str, Any]) -> Path:
    """Train an arm with flags that all arms have, or go on with it, and let it answer the scenes; return the folder.

    Raises:
        RecordError: the folder holds a run with other flags, or another number of scenes.
    """
    folder = out / f"{arm}-{seed}"
    settings = {**SHARED, **ARMS.get(arm, {}), **flags, "seed": seed}
    if (folder / ANSWERS).is_file():
        _refuse_other_scenes(folder / ANSWERS, scenes)
        if arm != INITIAL:
            _refuse_other_flags(folder / CONFIG, settings)
        return folder
    if arm == INITIAL:
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = str(STUDENT)
    else:
        checkpoint = str(train(Config(**settings, out=str(folder), resume=True)) / "last")
    answers = answered(load_model(checkpoint), scenes).assign(arm=arm, seed=seed)
    write_whole(folder / ANSWERS, lambda part: answers.to_parquet(part, index=False))
    return folder


def _refuse_other_scenes(path: Path, scenes: int) -> None:
    found, wanted = len(pd.read_parquet(path)), sum(_sizes(scenes).values())
    if found != wanted:
        raise RecordError(f"`{path}` has {found} scenes, not {wanted}: pass that `--scenes`, or choose another `--out`")


def _refuse_other_flags(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a complete run that was made with other flags than those of its arm."""
    found = json.loads(path.read_bytes())["settings"]
    for flag, wanted in settings.items():
        if found.get(flag, wanted) != wanted:
            raise RecordError(f"`{path}` has `{flag}` {found[flag]!r}, not {wanted!r}: choose another `--out`")


def answered(student: LoadedModel, scenes: int) -> pd.DataFrame:
    """Return a row a scene: `group, task, prompt_id, correct, n_tokens, truncated`, from greedy answers."""
    greedy = Sampling(greedy=True, batch=128)
    rows = []
    for group, size in _sizes(scenes).items():
        for verdict in evaluate(student, group_prompts(group, size, _SCENE_SEED), greedy):
            prompt, rollout = verdict.prompt, verdict.rollout
            row = {"group": group, "task": prompt.task, "prompt_id": prompt.prompt_id, "correct": verdict.correct}
            rows.append(row | {"n_tokens": len(rollout.token_ids), "truncated": rollout.truncated})
    return pd.DataFrame(rows)


def _sizes(scenes: int) -> dict[str, int]:
    """How many scenes of each group."""
    return {group: scenes * eighths // 8 for group, eighths in GROUPS.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the arms, seed by seed; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=[INITIAL, *ARMS], default=[INITIAL, *OBJECTIVES])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--lr", type=float, default=Config.lr, help="of all arms (default: %(default)s)")
    parser.add_argument("--teacher", help="of all arms (default: the bundled one)")
    parser.add_argument("--text-view", choices=("drop", "blank", "other"), default=Config.text_view, help="of all arms")
    parser.add_argument("--scenes", type=int, default=4000, help="of all groups; six in eight need the picture")
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    options = parser.parse_args(argv)
    if options.scenes < sum(GROUPS.values()):
        parser.error(f"`scenes` must be at least {sum(GROUPS.values())}, for some of each group, got {options.scenes}")
    if options.out.is_file():
        parser.error(f"`out` must be a folder, and `{options.out}` is a file: choose another")
    quiet()
    return exit_code(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    flags = {name: getattr(options, name) for name in FLAGS}
    for seed in options.seeds:
        for arm in options.arms:
            print(f"{arm}, seed {seed}", flush=True)
            run_arm(arm, seed, options.scenes, options.out, flags)


if __name__ == "__main__":
    sys.exit(main())
