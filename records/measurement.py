"""The schema of a measurement record: what its tables hold, column by column.

A record is a folder:

    record.json      schema version, header (what identifies it), notes (how it went), `complete`
    rollouts.parquet a row a sampled response
    tokens.parquet   a row a response token
    units.parquet    a row a probed unit and scope
    grams.parquet    a row a probed unit and parameter group
    bins.csv         a row a VDS bin and scope: what the figures draw
    layers.csv       a row a parameter group and bin (written by `probes.layers`)
    norms.csv        a row a checkpoint, scope and bin (written by `probes.norms`)
    precision.csv    a row a VDS bin: what the dtype costs (written where it is asked for)
    bin_grams.parquet a row a parameter group and pair of (bin, objective), of corpus-bins that are measured together

Further tables: of `probes.compare` in `records/comparison.py`, of `study.effects` in `records/study.py`, of
`probes.sensitivity`, `probes.support` and `probes.diagnose` in `forecast.py`, `support.py` and `diagnosis.py` there.

No probe writes all of them. In `layers` and `norms` a bin is text: its number, or `all` for the bins together.

The header has `probe` (its module's name), `pair` (the names of `student` and `teacher`), `weights` (a
fingerprint each) and `settings` (every flag that changes a number, `unit` among them). Of a series of
checkpoints, and of two that are compared, `student` is a list. Versions, threads, timings and counts are notes.

Ids are numbers but for `prompt_id`, which a prompt set may name. What a unit of several tokens has not one of
(its prompt, rollout or position) is "" or -1. A prompt without an image is in no bin: -1.
"""

from collections.abc import Mapping
from itertools import combinations_with_replacement
from typing import Final

import pandas as pd
import pyarrow as pa

from cli.errors import UserError
from records import comparison, diagnosis, forecast, study, support
from records.columns import ANGLES, OBJECTIVES, REAL, TEXT, WHOLE, YES_NO

SCHEMA_VERSION: Final = 1
HEADER: Final = ("probe", "pair", "weights", "settings")
SCOPES: Final = ("all", "language_model")

GRAM_ENTRIES: Final = tuple(f"gram_{a}_{b}" for a, b in combinations_with_replacement(OBJECTIVES, 2))

NULL_ANGLES: Final = ("angle_language_visual", "angle_language_visual_attached")
STATISTICS: Final = (
    "mean_deg",
    "std_deg",
    "low_deg",
    "high_deg",
    "obtuse_share",
)  # low, high: 95 % over prompts
EFFECTIVE: Final = ("language", "visual")
NULL_STATISTICS: Final = ("null_mean_deg", "null_std_deg")
INTERVAL: Final = ("mean", "low", "high")
LAYER_ANGLES: Final = (
    "angle_language_visual",
    "angle_language_visual_attached",
    "angle_standard_visual",
    "angle_standard_language",
)

ROLLOUTS = {
    "rollout_id": WHOLE,
    "prompt_id": TEXT,
    "task": TEXT,
    "dependency": TEXT,  # high, low, text: how far the answer hangs on the picture
    "has_image": YES_NO,
    "prompt": TEXT,
    "response": TEXT,
    "answer": TEXT,  # the one expected
    "correct": YES_NO,  # missing where no answer is known
    "n_tokens": WHOLE,
    "truncated": YES_NO,  # the length limit came before the end token
}
TOKENS = {
    "prompt_id": TEXT,
    "rollout_id": WHOLE,
    "dependency": TEXT,
    "has_image": YES_NO,
    "position": WHOLE,  # in the response, from 0
    "token_id": WHOLE,
    "token_text": TEXT,
    "vds_nats": REAL,
    "student_vds_nats": REAL,
    "bin": WHOLE,
    "kl_standard_nats": REAL,
    "kl_language_nats": REAL,
    "kl_visual_nats": REAL,
}
UNITS = {
    "unit_id": WHOLE,
    "unit": TEXT,  # token, trajectory-bin, corpus-bin, signed-bin
    "prompt_id": TEXT,
    "rollout_id": WHOLE,
    "position": WHOLE,
    "bin": WHOLE,
    "n_tokens": WHOLE,
    "scope": TEXT,
    **{f"norm_{objective}": REAL for objective in OBJECTIVES},
    **{f"{angle}_deg": REAL for angle in ANGLES},
}
GRAMS = {"unit_id": WHOLE, "group": TEXT, **dict.fromkeys(GRAM_ENTRIES, REAL)}
BINS = {
    "scope": TEXT,
    "bin": WHOLE,
    "n_units": WHOLE,
    "n_tokens": WHOLE,  # of all scored tokens, probed or not
    "vds_mean_nats": REAL,
    "vds_low_nats": REAL,  # the least and the greatest VDS in the bin
    "vds_high_nats": REAL,
    "kl_standard_mean_nats": REAL,
    "kl_language_mean_nats": REAL,
    "kl_visual_mean_nats": REAL,
    "student_vds_mean_nats": REAL,
    **{f"effective_units_{objective}": REAL for objective in EFFECTIVE},  # by squared norm
    **{
        f"{angle}_{statistic}": REAL
        for angle in ANGLES
        for statistic in STATISTICS + (NULL_STATISTICS if angle in NULL_ANGLES else ())
    },
}
PRECISION = {
    "bin": WHOLE,
    "n_tokens": WHOLE,
    "same_bin_share": REAL,
    "n_units": WHOLE,
    **{f"{angle}_shift_{statistic}_deg": REAL for angle in ANGLES for statistic in ("mean", "max")},
}
BIN_GRAMS = {
    "group": TEXT,
    "bin_a": WHOLE,
    "objective_a": TEXT,
    "bin_b": WHOLE,
    "objective_b": TEXT,
    "product": REAL,
}
LAYERS = {
    "group": TEXT,  # as `vlm.families.parameter_kinds` splits, from vision to output
    "in_language_model": YES_NO,
    "bin": TEXT,
    "n_units": WHOLE,
    **{f"norm_{objective}_mean": REAL for objective in OBJECTIVES},
    **{f"share_{objective}_mean": REAL for objective in OBJECTIVES},  # of the squared norm; groups add up to 1
    **{f"{angle}_{statistic}_deg": REAL for angle in LAYER_ANGLES for statistic in INTERVAL},
}
NORMS = {
    "checkpoint": WHOLE,  # place in the series, from 0
    "name": TEXT,
    "scope": TEXT,
    "bin": TEXT,
    "n_units": WHOLE,
    "n_tokens": WHOLE,  # of all scored tokens, probed or not
    "vds_mean_nats": REAL,
    "student_vds_mean_nats": REAL,
    "kl_standard_mean_nats": REAL,
    "kl_language_mean_nats": REAL,
    "kl_visual_mean_nats": REAL,
    **{f"norm_{objective}_{statistic}": REAL for objective in OBJECTIVES for statistic in INTERVAL},
    "norm_ratio_language_visual": REAL,  # of the two means
    **{f"{angle}_{statistic}_deg": REAL for angle in ANGLES for statistic in INTERVAL},
}

TABLES: Final[Mapping[str, pa.Schema]] = {
    "rollouts": pa.schema(ROLLOUTS),
    "tokens": pa.schema(TOKENS),
    "units": pa.schema(UNITS),
    "grams": pa.schema(GRAMS),
    "bins": pa.schema(BINS),
    "precision": pa.schema(PRECISION),
    "bin_grams": pa.schema(BIN_GRAMS),
    "layers": pa.schema(LAYERS),
    "norms": pa.schema(NORMS),
    **comparison.SCHEMAS,
    **study.SCHEMAS,
    **forecast.SCHEMAS,
    **support.SCHEMAS,
    **diagnosis.SCHEMAS,
}
TO_READ_BY_EYE: Final = (  # CSV, the others Parquet
    "bins",
    "layers",
    "norms",
    "precision",
    "changes",
    "angle_changes",
    "accuracy_changes",
    "effects",
    *forecast.BY_EYE,
    "support",
    *diagnosis.BY_EYE,
)
_WRITERS: Final = {  # `probes.angles` writes all others
    "layers": "probes.layers",
    "norms": "probes.norms",
    **dict.fromkeys(comparison.SCHEMAS, "probes.compare"),
    **dict.fromkeys(study.SCHEMAS, "study.effects"),
    **dict.fromkeys(forecast.SCHEMAS, "probes.sensitivity"),
    **dict.fromkeys(support.SCHEMAS, "probes.support"),
    **dict.fromkeys(diagnosis.SCHEMAS, "probes.diagnose"),
}


class RecordError(UserError):
    """A record that cannot be written or read, said in one line for whoever typed the command."""


def written_by(*tables: str) -> str:
    """Return the command that writes the tables asked for."""
    probes = (_WRITERS[table] for table in tables if table in _WRITERS)
    return f"python -m {next(probes, 'probes.angles')}"


def schema_of(table: str) -> pa.Schema:
    """Return a table's schema, or say which tables there are."""
    if table not in TABLES:
        raise RecordError(f"`table` must be one of {', '.join(TABLES)}, not {table!r}")
    return TABLES[table]


def _type_of(column: pd.Series) -> pa.DataType:
    """Return the Arrow type of a column's values; text has one type however it is stored."""
    if not column.notna().any():
        return pa.null()
    try:
        found = pa.array(column).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.large_binary()  # a mixture: of no type that a schema asks for
    return pa.string() if pa.types.is_large_string(found) else found


def check(table: str, frame: pd.DataFrame) -> None:
    """Raise a `RecordError` unless `frame` has exactly the table's columns, each of its type, in any order.

    A column without a single value fits every type.
    """
    schema = schema_of(table)
    missing = [name for name in schema.names if name not in frame.columns]
    extra = [str(name) for name in frame.columns if name not in schema.names]
    wrong = []
    if not missing and not extra:
        found = {name: _type_of(frame[name]) for name in schema.names}
        wrong = [
            f"{name} ({found[name]}, must be {schema.field(name).type})"
            for name in schema.names
            if found[name] not in (schema.field(name).type, pa.null())
        ]
    for fault, names in (("misses", missing), ("has unknown", extra), ("has wrongly typed", wrong)):
        if names:
            raise RecordError(f"table `{table}` {fault} columns: {', '.join(names)}")
