"""Records of a comparison made up from a seed, for the pictures that are drawn from them."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from records import ANGLES, Measurement, open_record, read_record
from records.columns import SCOPES
from records.tables.comparison import LOSSES

HEADER = {
    "probe": "probes.compare",
    "pair": {"student": ["bundled/student", "run/step-9"], "teacher": "bundled/teacher", "warnings": []},
    "weights": {"student": ["5d3c1f0a9b7e", "77c1f0a9b7ee"], "teacher": "e2b04c6d8a11"},
    "settings": {"rollouts_of": "after"},
}
BINS = ("0", "1", "2", "all")


def paired(draw: np.random.Generator, n: int, name: str, unit: str, scale: float) -> dict[str, np.ndarray]:
    """The columns of one paired mean."""
    before, ends = draw.uniform(0, scale, n), np.sort(draw.normal(0, scale, (n, 3)))
    columns = {"before_mean": before, "after_mean": before + ends[:, 1], "change_mean": ends[:, 1]}
    columns |= {"change_low": ends[:, 0], "change_high": ends[:, 2]}
    return {f"{name}_{statistic}_{unit}": values for statistic, values in columns.items()}


def changes(seed: int = 0) -> pd.DataFrame:
    draw, bins = np.random.default_rng(seed), [*BINS, "text"]
    columns = {"bin": bins, "n_tokens": 9, "vds_mean_nats": 0.1}
    for loss in LOSSES:
        columns |= paired(draw, len(bins), loss, "nats", 1.0)
    return pd.DataFrame(columns)


def angle_changes(seed: int = 1) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    keys = [(scope, bin_) for scope in SCOPES for bin_ in BINS]
    columns = pd.DataFrame(keys, columns=["scope", "bin"]).assign(n_units=4)
    for angle in ANGLES:
        columns = columns.assign(**paired(draw, len(keys), angle, "deg", 20.0))
    return columns


def accuracy_changes(seed: int = 2) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    keys = [("all", "all"), ("dependency", "high"), ("dependency", "text"), ("task", "count")]
    rows = pd.DataFrame(keys, columns=["by", "name"]).assign(n_prompts=50, n_gained=[4, 3, 2, 1], n_lost=[0, 1, 2, 3])
    return rows.assign(**paired(draw, len(keys), "accuracy", "percent", 30.0))


def examples(n: int = 3) -> pd.DataFrame:
    """Gained ones, the last lost; the second shows no picture."""
    out = io.BytesIO()
    Image.new("RGB", (6, 4), "red").save(out, "PNG")
    rows = pd.DataFrame({"prompt_id": [f"p{number}" for number in range(n)]})
    return rows.assign(
        verdict=["gained"] * (n - 1) + ["lost"],
        task="count",
        dependency="high",
        prompt="<image> how many? at $5 or $6 each",
        answer="7",
        response_before="because " * 100,
        response_after="\\boxed{7}",
        picture=[out.getvalue(), None, *[out.getvalue()] * (n - 2)],
    )


def write(folder: Path, **tables: pd.DataFrame) -> Measurement:
    with open_record(folder, HEADER) as writer:
        writer.finish(tables, {})
    return read_record(folder, *tables)
