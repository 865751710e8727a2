"""The card of a pair: its gaps as measured, accuracies, visual dependency, and the table of Figure 3.

Gaps are means over the tokens of the student's own responses to prompts with a picture. A card is kept as
`NAME.json` and is not measured again while the weights of both models are those that it names.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from probes import Analyzer
from records.files import write_json
from records.fingerprint import plain
from study.suite.designs import Branch, GridPoint
from vlm.checkpoints.adapter_folders import weights_fingerprint
from vlm.checkpoints.checkpoint import load_model
from vlm.checkpoints.pair import teacher_of

if TYPE_CHECKING:
    import pandas as pd

SEED: Final = 1  # of prompts and responses: runs of training evaluate on those of seed 0
GAP_PROMPTS, ANSWERS, ANGLE_PROMPTS, PER_BIN = 128, 300, 24, 16
LOSSES: Final = {
    "standard": "kl_standard_nats",
    "language": "kl_language_nats",
    "visual": "kl_visual_nats",
    "vds": "vds_nats",
}
ROWS: Final[Mapping[str, range]] = {
    "all": range(10),
    "bin 7": range(7, 8),
    "bin 8": range(8, 9),
    "bin 9": range(9, 10),
    "bins 7-9": range(7, 10),
}
"""Rows of the table of gaps, and the bins of each."""
ANGLES: Final = {
    "language-visual": "angle_language_visual",
    "null": "angle_language_visual_null",
    "attached": "angle_language_visual_attached",
    "standard-visual": "angle_standard_visual",
    "standard-language": "angle_standard_language",
}


def pair_card(path: Path, student: Path, branch: Branch) -> dict[str, Any]:
    """Return the card of a student and its teacher, measured unless it is there."""

    def measure() -> dict[str, Any]:
        return {
            "design": branch.recipe,
            "weights": weights(student),
            "gaps": gaps(student),
            "accuracy": {"with the picture": accuracies(student), "without": accuracies(student, without_image=True)},
            "angles": angles(student),
        }

    return _card(path, student, branch.about, measure)


def point_card(path: Path, student: Path, point: GridPoint) -> dict[str, Any]:
    """Return the card of a point of the grid, without angles, measured unless it is there."""

    def measure() -> dict[str, Any]:
        accuracy = {"with the picture": accuracies(student)}
        return {"design": point.recipe, "weights": weights(student), "gaps": gaps(student), "accuracy": accuracy}

    return _card(path, student, point.about, measure)


def teacher_card(path: Path, teacher: Path) -> dict[str, Any]:
    """Return the teacher's accuracies, measured unless they are there."""

    def measure() -> dict[str, Any]:
        return {
            "accuracy": {"with the picture": accuracies(teacher), "without": accuracies(teacher, without_image=True)}
        }

    return _card(path, teacher, "the teacher of all pairs", measure)


def gaps(student: Path) -> dict[str, dict[str, float]]:
    """Return for each of `ROWS` the number of tokens and the mean losses and VDS, nats."""
    tokens = Analyzer(str(student), limit=GAP_PROMPTS, seed=SEED).vds().tokens
    pictured = tokens[tokens["has_image"]]
    return {name: _means(pictured[pictured["bin"].isin(bins)]) for name, bins in ROWS.items()}


def accuracies(checkpoint: Path, *, without_image: bool = False) -> dict[str, float]:
    """Return the share of greedy answers that are right, by dependency group."""
    measured = Analyzer(str(checkpoint), limit=ANSWERS, seed=SEED).accuracy(without_image=without_image)
    answers = measured.rollouts.astype({"correct": float})
    return {str(group): round(float(rows["correct"].mean()), 4) for group, rows in answers.groupby("dependency")}


def angles(student: Path) -> list[dict[str, float]]:
    """Return Figure 3 as a table: for each bin its units, mean angles, the interval of the first; degrees.

    An angle is NaN where no gradient of the bin is other than 0.
    """
    bins = Analyzer(str(student), limit=ANGLE_PROMPTS, seed=SEED).angles(per_bin=PER_BIN).bins
    return [_angle_row(row) for _, row in bins[bins["scope"] == "all"].iterrows()]


def weights(student: Path) -> dict[str, float | None]:
    """Return the spread of the student's weights (SD of all matrices), and how far they are from the teacher's.

    The distance is the root of the mean squared difference in units of the spread; None where shapes differ.
    """
    own, other = (_matrices(folder) for folder in (student, Path(teacher_of(str(student)))))
    spread = torch.cat([matrix.ravel() for matrix in own]).std()
    distance = None
    if [m.shape for m in own] == [m.shape for m in other]:
        squares = torch.cat([(a - b).square().ravel() for a, b in zip(own, other, strict=True)])
        distance = round(float(squares.mean().sqrt() / spread), 4)
    return {"spread": round(float(spread), 4), "distance": distance}


def _card(path: Path, model: Path, about: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `path` holds of these weights, or measure and write it."""
    sides = {"weights_of_model": weights_fingerprint(str(model))}
    if (model / "pair.json").is_file():
        sides["weights_of_teacher"] = weights_fingerprint(teacher_of(str(model)))
    if path.is_file():
        card = json.loads(path.read_bytes())
        if all(card.get(side) == fingerprint for side, fingerprint in sides.items()):
            return card
    card = plain({"about": about, **sides, **measure()}, gaps=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, card)
    return card


def _means(rows: "pd.DataFrame") -> dict[str, float]:
    return {"tokens": len(rows)} | {name: round(float(rows[column].mean()), 5) for name, column in LOSSES.items()}


def _angle_row(row: "pd.Series") -> dict[str, float]:
    spread = {side: row[f"angle_language_visual_{side}_deg"] for side in ("low", "high")}
    means = {name: row[f"{column}_mean_deg"] for name, column in ANGLES.items()}
    degrees = {name: round(float(value), 1) for name, value in {**means, **spread}.items()}
    return {"bin": int(row["bin"]), "units": int(row["n_units"])} | degrees


def _matrices(folder: Path) -> list[torch.Tensor]:
    parameters = load_model(str(folder)).model.parameters()
    return [parameter.detach() for parameter in parameters if parameter.ndim > 1]
