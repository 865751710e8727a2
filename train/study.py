"""The effect of steering on the bundled pair: every objective, several seeds, the same budget and the same scenes.

    python -m train.study                                             # all arms, seeds 0 to 2, 150 steps: hours
    python -m train.study --arms standard vgs-lp --seeds 0 --steps 20 --scenes 100

An arm is a set of flags of `python -m train`. All arms of a seed see the same prompts in the same order, 64 rollouts a
step, and answer the same scenes at the end, so that they are compared scene by scene. Those with a reward see a quarter
of the prompts, four rollouts each. eta is left out: under Adam it
is without effect where it is constant, and weighs the steps against each other where it is measured anew.

A run is in `OUT/<arm>-<seed>`: its journal, its last checkpoint and `answers.parquet`, a row a scene. What is complete
is not run again, what was interrupted goes on.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from records.files import write_whole
from train.config import Config
from train.loop import train
from vlm.checkpoint import Member, load_member, quiet, resolve
from vlm.evaluation import evaluate
from vlm.rollouts import Sampling
from vlm.sources import BUNDLED
from vlm.tiny.prompts import group_prompts

_GROUPS_OF_FOUR: Mapping[str, Any] = {"batch": 16, "rollouts_per_prompt": 4}
ARMS: Mapping[str, Mapping[str, Any]] = {
    "standard": {"objective": "standard"},
    "vgs-lp": {"objective": "vgs-lp"},
    "vgs": {"objective": "vgs"},
    "vgs-gamma-1": {"objective": "vgs", "gamma": 1.0},
    "vgs-lp-attached": {"objective": "vgs-lp", "prior": "attached"},
    "language-steering": {"objective": "language-steering"},
    "adaptive": {"objective": "adaptive"},
    "language-steering-printed": {"objective": "language-steering", "vp": "printed"},
    "off-policy": {"objective": "off-policy"},
    "grpo": {"objective": "grpo", **_GROUPS_OF_FOUR},
    "grpo+standard": {"objective": "grpo+standard", **_GROUPS_OF_FOUR},
    "grpo+standard-matched": {"objective": "grpo+standard", "match_norm": True, **_GROUPS_OF_FOUR},
    "grpo+vgs-lp": {"objective": "grpo+vgs-lp", **_GROUPS_OF_FOUR},
}
"""By name, what an arm has other than `SHARED` and the defaults."""
SHARED: Mapping[str, Any] = {"eta": "none", "evaluate_every": 50, "checkpoint_every": 50}
INITIAL = "initial"
"""The arm that is not trained."""
ANSWERS = "answers.parquet"
GROUPS = {"high": 6, "low": 1, "text": 1}
"""Dependency groups, and how many of every eight scenes each has."""
_SCENE_SEED = 500_000  # below those of training, and not the default of any probe


def run_arm(arm: str, seed: int, steps: int, scenes: int, out: Path) -> Path:
    """Train an arm, or go on with it, and let it answer the scenes; return the folder."""
    folder = out / f"{arm}-{seed}"
    if (folder / ANSWERS).is_file():
        return folder
    if arm == INITIAL:
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = resolve(BUNDLED)
    else:
        settings = {**SHARED, **ARMS[arm], "seed": seed, "steps": steps, "out": str(folder), "resume": True}
        checkpoint = str(train(Config(**settings)) / "last")
    answers = answered(load_member(checkpoint), scenes).assign(arm=arm, seed=seed)
    write_whole(folder / ANSWERS, lambda part: answers.to_parquet(part, index=False))
    return folder


def answered(student: Member, scenes: int) -> pd.DataFrame:
    """Return a row a scene: `group, task, prompt_id, correct, n_tokens, truncated`, from greedy answers."""
    greedy = Sampling(greedy=True, batch=128)
    rows = []
    for group, eighths in GROUPS.items():
        for verdict in evaluate(student, group_prompts(group, scenes * eighths // 8, _SCENE_SEED), greedy):
            prompt, rollout = verdict.prompt, verdict.rollout
            row = {"group": group, "task": prompt.task, "prompt_id": prompt.prompt_id, "correct": verdict.correct}
            rows.append(row | {"n_tokens": len(rollout.token_ids), "truncated": rollout.truncated})
    return pd.DataFrame(rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the arms, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=[INITIAL, *ARMS], default=[INITIAL, *ARMS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--scenes", type=int, default=4000, help="of all groups; six in eight need the picture")
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    options = parser.parse_args(argv)
    quiet()
    for seed in options.seeds:
        for arm in options.arms:
            print(f"{arm}, seed {seed}", flush=True)
            run_arm(arm, seed, options.steps, options.scenes, options.out)


if __name__ == "__main__":
    main()
