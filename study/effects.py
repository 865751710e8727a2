"""What a study found: a record of its runs (`records.tables.study`), and which differences between its arms count.

    python -m study.effects runs/study --out figures/gallery/study

The rule, set before the study was run. An arm is *better* (*worse*) than another in accuracy if the difference, per
scene the mean over seeds, has a 95 % bootstrap interval over scenes above (below) 0 and the same sign in all seeds. It
is *lower* (*higher*) in a loss if the difference on the fixed rollouts after the last step has the same sign in all
seeds and is at least twice its standard error over seeds. Anything else is *no difference*; one seed is *not judged*.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from records import RecordError, open_record, read_journal
from records.journal_lines import LOSSES
from records.journal_tables import Run, journal_tables
from records.tables.study import EFFECTS, VERDICTS
from stats.bootstrap import bootstrap_interval
from study.arms import INITIAL
from study.runs import ANSWERS, GROUPS
from train.folder import CONFIG

AGAINST: Mapping[str, tuple[str, ...]] = {
    "grpo+standard": ("grpo",),
    "grpo+vgs-lp": ("grpo", "grpo+standard", "grpo+standard-matched"),
    "vgs-lp": ("vgs", "language-steering"),
    "vgs-lp-attached": ("vgs-lp",),
    "vgs-lp-lambda-1": ("vgs-lp", "vgs-lp-gamma-0-lambda-1"),
    "vgs-lp-gamma-3.25-lambda-1": ("vgs-lp", "vgs-lp-lambda-1"),
    "vgs-lp-unclipped-eta": ("vgs-lp-unclipped",),
    "adaptive": ("vgs-lp",),
    "language-steering-printed": ("language-steering",),
}
"""What an arm is compared with beside `initial` and `standard`."""
_BINS = {"all": [-1], "bins 7-9": [7, 8, 9]}


def collect(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the complete runs of a study and return the tables of its record.

    Raises:
        RecordError: there is none, none that was trained, two answered other scenes, or a journal is broken.
    """
    answered = {path.parent: pd.read_parquet(path) for path in sorted(folder.glob(f"*/{ANSWERS}"))}
    if not answered:
        raise RecordError(f"`{folder}` holds no complete run: make one with `python -m study --out {folder}`")
    _refuse_other_scenes(answered)
    verdicts = pd.concat(answered.values(), ignore_index=True)[VERDICTS.names]
    trained = [(path, frame.iloc[0]) for path, frame in answered.items() if frame["arm"].iloc[0] != INITIAL]
    if not trained:
        raise RecordError(f"`{folder}` holds no arm that was trained: name some in `python -m study --arms`")
    tables = journal_tables([Run(str(row["arm"]), int(row["seed"]), read_journal(path)) for path, row in trained])
    return tables | {"verdicts": verdicts, "effects": effects(tables["curves"], verdicts)}


def _refuse_other_scenes(answered: Mapping[Path, pd.DataFrame]) -> None:
    """All arms are compared scene by scene."""
    (first, scenes), *others = ((path, set(frame["prompt_id"])) for path, frame in answered.items())
    for path, found in others:
        if found != scenes:
            raise RecordError(f"`{path}` answered other scenes than `{first}`: run it again with the same `--scenes`")


def effects(curves: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every two arms that are compared and every quantity."""
    arms = list(dict.fromkeys(verdicts["arm"]))
    rows: list[dict[str, Any]] = []
    for arm in sorted(set(arms) - {INITIAL}, key=arms.index):
        for other in (INITIAL, "standard", *AGAINST.get(arm, ())):
            if arm != other and other in arms:
                rows += _accuracies(verdicts, arm, other)
                rows += _losses(curves, arm, other)
    return pd.DataFrame(rows, columns=EFFECTS.names)


def _accuracies(verdicts: pd.DataFrame, arm: str, other: str) -> Iterator[dict[str, Any]]:
    for group in GROUPS:
        rows = verdicts[verdicts["group"] == group]
        wide = rows.pivot_table(index="prompt_id", columns=["arm", "seed"], values="correct", aggfunc="mean")
        seeds = _seeds(wide.columns, arm, other)
        if not seeds:
            continue
        ours, theirs = (_of(wide, name, seeds) for name in (arm, other))
        each = ours - theirs
        found = bootstrap_interval(each.mean(axis=1), wide.index.to_numpy(str))
        yield _row(arm, other, "correct", group, ours, theirs, (found.low, found.high), ("better", "worse"))


def _losses(curves: pd.DataFrame, arm: str, other: str) -> Iterator[dict[str, Any]]:
    fixed = curves[(curves["rollouts"] == "fixed") & (curves["step"] == curves["step"].max())]
    for loss in LOSSES:
        for where, bins in _BINS.items():
            rows = fixed[fixed["bin"].isin(bins)]
            wide = rows.pivot_table(index="rollouts", columns=["arm", "seed"], values=f"{loss}_nats", aggfunc="mean")
            seeds = _seeds(wide.columns, arm, other)
            if not seeds:
                continue
            ours, theirs = (_of(wide, name, seeds) for name in (arm, other))
            mean, half = float((ours - theirs).mean()), 2.0 * _standard_error((ours - theirs)[0])
            yield _row(arm, other, loss, where, ours, theirs, (mean - half, mean + half), ("higher", "lower"))


def _seeds(columns: pd.Index, arm: str, other: str) -> list[int]:
    """The seeds that both arms have; of the student that is not trained every run is the same."""
    found = {name: {seed for one, seed in columns if one == name} for name in (arm, other)}
    return sorted(found[arm] if other == INITIAL and found[other] else found[arm] & found[other])


def _of(wide: pd.DataFrame, arm: str, seeds: Sequence[int]) -> np.ndarray:
    """The columns of an arm, `[rows, seeds]`."""
    if arm == INITIAL:
        return np.repeat(wide[arm].to_numpy()[:, :1], len(seeds), axis=1)
    return wide[arm][list(seeds)].to_numpy()


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan


def _row(
    arm: str,
    other: str,
    quantity: str,
    where: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    interval: tuple[float, float],
    names: tuple[str, str],
) -> dict[str, Any]:
    """A row of `effects`; `names` of what lies above 0 and below."""
    each = (ours - theirs).mean(axis=0)
    row = {"arm": arm, "against": other, "quantity": quantity, "where": where, "n_seeds": len(each)}
    row |= {"mean": ours.mean(), "mean_against": theirs.mean(), "difference": each.mean()}
    row |= {"low": interval[0], "high": interval[1], "least": each.min(), "greatest": each.max()}
    counts = "no difference" if len(each) > 1 else "not judged"
    if len(each) > 1 and (interval[0] > 0 < each.min() or interval[1] < 0 > each.max()):
        counts = names[0] if interval[0] > 0 else names[1]
    return row | {"counts_as": counts}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the record and print what counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="the folder that `study` was given as --out")
    parser.add_argument("--out", type=Path, help="folder of the record (default: the study's own `record`)")
    options = parser.parse_args(argv)
    try:
        tables = collect(options.study)
        with open_record(options.out or options.study / "record", _header(options.study), overwrite=True) as writer:
            writer.finish(tables, {})
    except RecordError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(tables["effects"].round(4).to_string(index=False))
    return 0


def _header(study: Path) -> dict[str, Any]:
    """What identifies the study: the flags of each arm and the weights that all began with."""
    configs = {path.parent.name: json.loads(path.read_bytes()) for path in sorted(study.glob(f"*/{CONFIG}"))}
    first = next(iter(configs.values()))
    pair = {"student": first["settings"]["student"], "teacher": first["settings"]["teacher"]}
    runs = {name: content["settings"] for name, content in configs.items()}
    return {"probe": "study", "pair": pair, "weights": first["weights"], "settings": {"runs": runs}}


if __name__ == "__main__":
    sys.exit(main())
