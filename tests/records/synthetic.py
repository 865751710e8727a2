"""Records made up from a seed, with the shape of Figure 3 and every column of the schema."""

from pathlib import Path

import numpy as np
import pandas as pd

from records import ANGLES, NULL_ANGLES, TABLES, open_record
from records.columns import SCOPES

N_BINS = 10
HEADER = {
    "probe": "probes.angles",
    "pair": {"student": "student", "teacher": "teacher"},
    "weights": {"student": "5d3c1f0a9b7e", "teacher": "e2b04c6d8a11"},
    "settings": {"seed": 0, "bins": N_BINS, "unit": "token", "prompts": "scenes", "limit": None},
}
# The mean of each angle in bin 0 and in bin 9, in degrees.
TRENDS_DEG = {
    "angle_language_visual": (101, 93),
    "angle_standard_visual": (47, 41),
    "angle_standard_language": (22, 84),
    "angle_language_visual_attached": (61, 90),
    "angle_standard_visual_attached": (38, 43),
    "angle_prior_language": (35, 82),
}


def frame_of(table: str, n_rows: int = 4, seed: int = 0, optional: bool = False) -> pd.DataFrame:
    """Fill every column of a table with values of its type; those that a frame may leave out, on request."""
    draw = np.random.default_rng(seed)
    values = {
        "string": lambda: [f"text {i}" for i in draw.integers(100, size=n_rows)],
        "int64": lambda: draw.integers(100, size=n_rows),
        "double": lambda: draw.normal(size=n_rows),
        "bool": lambda: draw.random(n_rows) < 0.5,
        "binary": lambda: [bytes([i]) for i in draw.integers(100, size=n_rows)],
    }
    columns = [column for column in TABLES[table].columns if optional or not column.optional]
    return pd.DataFrame({column.name: values[column.type]() for column in columns})


def angle_columns(angle: str, n_units: int, draw: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the statistics of one angle over the bins: a straight trend with noise."""
    std_deg = draw.uniform(16, 24, N_BINS)
    error_deg = std_deg / np.sqrt(n_units)
    mean_deg = np.linspace(*TRENDS_DEG[angle], N_BINS) + draw.normal(0, error_deg)
    columns = {
        "mean_deg": mean_deg,
        "std_deg": std_deg,
        "low_deg": mean_deg - 1.96 * error_deg,
        "high_deg": mean_deg + 1.96 * error_deg,
        "obtuse_share": draw.uniform(0, 1, N_BINS),
    }
    if angle in NULL_ANGLES:
        columns |= {
            "null_mean_deg": draw.normal(90.5, 0.3, N_BINS),
            "null_std_deg": draw.uniform(3, 9, N_BINS),
        }
    return {f"{angle}_{name}": values for name, values in columns.items()}


def bins_frame(seed: int = 0, n_units: int = 64) -> pd.DataFrame:
    """Make `bins` for both scopes; VDS grows by powers of ten, as it does on a sure teacher."""
    draw = np.random.default_rng(seed)
    vds_nats = np.logspace(-7, 0.3, N_BINS)
    per_scope = []
    for scope in SCOPES:
        columns = {
            "scope": scope,
            "bin": np.arange(N_BINS),
            "n_units": n_units,
            "n_tokens": 320,
            "vds_mean_nats": vds_nats,
            "vds_low_nats": vds_nats / 3,
            "vds_high_nats": vds_nats * 3,
            "kl_standard_mean_nats": np.logspace(-4, -0.2, N_BINS),
            "kl_language_mean_nats": np.logspace(-4, -0.6, N_BINS),
            "kl_visual_mean_nats": np.logspace(-5, 0.1, N_BINS),
            "student_vds_mean_nats": vds_nats / 4,
            "effective_units_language": draw.uniform(1, n_units, N_BINS),
            "effective_units_visual": draw.uniform(1, n_units, N_BINS),
        }
        for angle in ANGLES:
            columns |= angle_columns(angle, n_units, draw)
        per_scope.append(pd.DataFrame(columns))
    return pd.concat(per_scope, ignore_index=True)


def tables(seed: int = 0) -> dict[str, pd.DataFrame]:
    """Make every table of a record."""
    return {table: frame_of(table, seed=seed) for table in TABLES if table != "bins"} | {"bins": bins_frame(seed)}


def write_record(folder: Path, seed: int = 0) -> Path:
    """Write a complete record."""
    with open_record(folder, HEADER) as writer:
        writer.finish(tables(seed), {"threads": 1, "seconds": 12.5})
    return folder
