"""Records of studies made up from a seed: every arm of the paper's figures, with trends that are known."""

from pathlib import Path

import numpy as np
import pandas as pd

from records import ANGLES, open_record, read_record
from records.columns import OBJECTIVES
from records.journal_lines import LOSSES, PHASES
from records.tables.study import EFFECTS
from records.tables.study import TABLES as STUDY

SETTINGS = {
    "standard": {"objective": "standard"},
    "vgs-gamma-1": {"objective": "vgs", "gamma": 1.0},
    "vgs": {"objective": "vgs"},
    "vgs-lp": {"objective": "vgs-lp"},
    "vgs-lp-lambda-0.1": {"objective": "vgs-lp", "lambda_": 0.1},
    "vgs-lp-attached": {"objective": "vgs-lp", "prior": "attached"},
    "language-steering": {"objective": "language-steering"},
    "adaptive": {"objective": "adaptive"},
    "grpo": {"objective": "grpo"},
    "grpo+vgs-lp": {"objective": "grpo+vgs-lp"},
}
DEFAULTS = {"gamma": 2.0, "lambda_": 0.01, "prior": "detached", "vp": "gated"}
SEEDS = (0, 1, 2)
STEPS = 30
EVERY = 10
TASKS = {"high": ("colour", "place"), "low": ("told-colour",), "text": ("sum",)}
SCENES = 40  # a task
TABLES = tuple(STUDY)


def _runs(arms, seeds):
    return [(number, arm, seed) for number, arm in enumerate(arms) for seed in seeds]


def curves_frame(arms, seeds, draw):
    """Losses that fall over the steps and grow with the bin; those of later arms are lower."""
    rows = []
    for number, arm, seed in _runs(arms, seeds):
        for rollouts, every in (("training", 1), ("fixed", EVERY), ("own", EVERY)):
            for step in range(0, STEPS + (every > 1), every):
                for bin_ in range(-1, 10):
                    level = (2 + bin_) / 12 * (1 - 0.05 * number) / (1 + step / 10)
                    noise = draw.uniform(0.9, 1.1, len(LOSSES))
                    means = {f"{loss}_nats": level * x for loss, x in zip(LOSSES, noise, strict=True)}
                    rows.append({"arm": arm, "seed": seed, "step": step, "rollouts": rollouts, "bin": bin_} | means)
    return pd.DataFrame(rows)


def steps_frame(arms, seeds, draw):
    """Steps whose every phase takes 0.1 s times its place, and a tenth longer for each later arm."""
    rows = []
    for number, arm, seed in _runs(arms, seeds):
        for step in range(STEPS):
            row = {"arm": arm, "seed": seed, "step": step, "skipped": False, "truncated_share": 0.0}
            row |= {"loss": draw.uniform(), "banned_mass": 0.0, "entropy_nats": 0.3, "gradient_norm": 1.0, "eta": 1.0}
            row |= {"response_tokens": 25 + number + draw.normal(), "reward": draw.uniform(0.5, 0.9)}
            rows.append(row | {f"{p}_seconds": 0.1 * k * (1 + 0.1 * number) for k, p in enumerate(PHASES, start=1)})
    return pd.DataFrame(rows)


def evaluations_frame(arms, seeds, draw):
    rows = []
    for _, arm, seed in _runs(arms, seeds):
        for step in range(0, STEPS + 1, EVERY):
            for group, n_prompts in (("high", 140), ("low", 40), ("text", 20)):
                row = {"arm": arm, "seed": seed, "step": step, "group": group, "n_prompts": n_prompts}
                rows.append(row | {"correct_share": draw.uniform(0.6, 0.9), "response_tokens": 26.0})
    return pd.DataFrame(rows)


def gradients_frame(arms, seeds, draw):
    rows = []
    for _, arm, seed in _runs(arms, seeds):
        for step in range(0, STEPS, EVERY):
            for scope in ("all", "language_model", "layer_00"):
                row = {"arm": arm, "seed": seed, "step": step, "scope": scope}
                row |= {f"norm_{name}": draw.uniform(0.5, 1.5) for name in OBJECTIVES}
                rows.append(row | {f"{angle}_deg": draw.uniform(20, 110) for angle in ANGLES})
    return pd.DataFrame(rows)


def verdicts_frame(arms, seeds, draw):
    """Answers of which 60 % are right, and 3 points more for each later arm."""
    rows = []
    for number, arm, seed in [(-1, "initial", seeds[0]), *_runs(arms, seeds)]:
        for group, tasks in TASKS.items():
            for task in tasks:
                right = draw.permutation(SCENES) < SCENES * (0.6 + 0.03 * number)
                names = [f"{task}-{scene}" for scene in range(SCENES)]
                found = {"arm": arm, "seed": seed, "group": group, "task": task, "prompt_id": names, "correct": right}
                rows.append(pd.DataFrame(found).assign(n_tokens=20, truncated=False))
    return pd.concat(rows, ignore_index=True)


def effects_frame(verdicts):
    """Differences of every arm from `standard`, with an interval of 4 points either way."""
    rows = []
    means = verdicts.groupby(["group", "arm", "seed"])["correct"].mean()
    for arm in verdicts["arm"].unique():
        for group in TASKS if arm != "standard" and "standard" in means[("high")] else ():
            each = (means[group][arm] - means[group]["standard"]).dropna()
            row = {"arm": arm, "against": "standard", "quantity": "correct", "where": group, "n_seeds": len(each)}
            row |= {"mean": means[group][arm].mean(), "mean_against": means[group]["standard"].mean()}
            row |= {"difference": each.mean(), "low": each.mean() - 0.04, "high": each.mean() + 0.04}
            row |= {"least": each.min(), "greatest": each.max()}
            row |= {"kind": "exploratory", "n_against": row["n_seeds"], "margin": 0.02}
            rows.append(row | {"counts_as": "better" if each.mean() > 0.04 else "undecided"})
    return pd.DataFrame(rows, columns=EFFECTS.names)


def study_tables(arms=tuple(SETTINGS), seeds=SEEDS):
    """Make every table of a study."""
    draw = np.random.default_rng(0)
    frames = {
        "curves": curves_frame(arms, seeds, draw),
        "steps": steps_frame(arms, seeds, draw),
        "evaluations": evaluations_frame(arms, seeds, draw),
        "gradients": gradients_frame(arms, seeds, draw),
        "verdicts": verdicts_frame(arms, seeds, draw),
    }
    return frames | {"effects": effects_frame(frames["verdicts"])}


def header(arms=tuple(SETTINGS), seeds=SEEDS):
    """Return the header of a study with the flags of its runs."""
    runs = {f"{arm}-{seed}": DEFAULTS | SETTINGS[arm] | {"seed": seed} for arm in arms for seed in seeds}
    pair = {"student": "student", "teacher": "teacher"}
    return {"probe": "study", "pair": pair, "weights": {}, "settings": {"runs": runs}}


def write_study(folder: Path, arms=tuple(SETTINGS), seeds=SEEDS, drop=()) -> Path:
    """Write a complete record of a study, without the tables to drop."""
    tables = {name: frame for name, frame in study_tables(arms, seeds).items() if name not in drop}
    with open_record(folder, header(arms, seeds)) as writer:
        writer.finish(tables, {})
    return folder


def read_study(folder: Path):
    """Read a study with all its tables."""
    return read_record(folder, *TABLES)
