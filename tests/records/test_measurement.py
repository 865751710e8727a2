"""The schema: its columns, and what `check` refuses."""

import numpy as np
import pandas as pd
import pytest

import geometry
from figures.style import COLOURS
from records import TABLES, RecordError, check, comparison, measurement
from tests.records.synthetic import bins_frame, frame_of


@pytest.mark.parametrize("table", TABLES)
def test_a_frame_made_from_the_schema_passes(table):
    check(table, frame_of(table))
    check(table, frame_of(table)[list(reversed(TABLES[table].names))])
    check(table, frame_of(table, n_rows=0))


def test_columns_are_those_agreed_on():
    grams = TABLES["grams"].names
    assert grams[:5] == [
        "unit_id",
        "group",
        "gram_standard_standard",
        "gram_standard_language",
        "gram_standard_visual",
    ]
    assert grams[-1] == "gram_shift_shift"
    assert [len(schema) for schema in TABLES.values()][:9] == [11, 13, 19, 17, 47, 16, 6, 26, 45]
    assert [len(schema) for schema in comparison.SCHEMAS.values()] == [17, 28, 10, 9, 23, 33, 10]
    assert sum("null" in name for name in TABLES["bins"].names) == 4


def test_objectives_stand_in_the_order_of_the_mathematics():
    """`records` cannot import `geometry`, so the names are written down twice."""
    assert geometry.OBJECTIVES == measurement.OBJECTIVES == tuple(COLOURS)


def test_made_up_bins_fit():
    check("bins", bins_frame())


def test_missing_columns_are_named():
    with pytest.raises(RecordError, match="table `tokens` misses columns: bin, vds_nats|vds_nats, bin"):
        check("tokens", frame_of("tokens").drop(columns=["vds_nats", "bin"]))


def test_extra_columns_are_named():
    with pytest.raises(RecordError, match="table `units` has unknown columns: angle$"):
        check("units", frame_of("units").assign(angle=90.0))


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("vds_nats", np.arange(4), "int64"),
        ("vds_nats", np.zeros(4, dtype=np.float32), "float"),
        ("vds_nats", ["a", "b", "c", "d"], "string"),
        ("bin", np.zeros(4), "double"),
        ("bin", [0, 1, None, 2], "double"),
        ("token_text", [1, 2, 3, 4], "int64"),
        ("has_image", [0, 1, 0, 1], "int64"),
        ("token_text", ["a", 1, None, 2.0], "large_binary"),
    ],
)
def test_wrong_types_are_named(column, values, found):
    wrong = frame_of("tokens").assign(**{column: values})
    with pytest.raises(RecordError, match=rf"table `tokens` has wrongly typed columns: {column} \({found}, must be"):
        check("tokens", wrong)


def test_gaps_are_no_wrong_type():
    frame = frame_of("rollouts").assign(correct=[True, None, False, None])
    check("rollouts", frame)
    check("rollouts", frame.assign(correct=None))
    check("units", frame_of("units").assign(angle_prior_language_deg=np.nan))


def test_text_has_one_type_however_stored():
    frame = frame_of("tokens")
    for stored in (object, "string", "string[pyarrow]", pd.StringDtype(na_value=np.nan)):
        check("tokens", frame.assign(token_text=frame["token_text"].astype(stored)))


def test_an_unknown_table_is_refused():
    with pytest.raises(RecordError, match="`table` must be one of rollouts, tokens, .*, not 'token'"):
        check("token", frame_of("tokens"))
