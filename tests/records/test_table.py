"""Tables: their columns, what `check` refuses, and that they come back as they were written, as the same bytes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import geometry
from figures.style import COLOURS
from records import OBJECTIVES, TABLES, RecordError
from records.tables import comparison, table_named
from tests.records.synthetic import bins_frame, frame_of

ROOT = Path(__file__).resolve().parents[2]
VALUES = {
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(width=64),
    "bool": st.booleans(),
    "binary": st.binary(max_size=8),
}
PLAIN_TEXT = st.text('abcNAn_," 0-9', max_size=6)

# --- what a table is ---


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
    assert [len(table.names) for table in TABLES.values()][:10] == [11, 13, 19, 17, 47, 16, 24, 6, 26, 45]
    assert [len(table.names) for table in comparison.TABLES.values()] == [17, 28, 10, 9, 23, 33, 10]
    assert sum("null" in name for name in TABLES["bins"].names) == 4


def test_objectives_stand_in_the_order_of_the_mathematics():
    """`records` cannot import `geometry`, so the names are written down twice."""
    assert geometry.OBJECTIVES == OBJECTIVES == tuple(COLOURS)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_describes_itself(table):
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert table.summary.startswith("One row for each ") and table.summary.endswith(".")
    module = ROOT / table.writer.replace(".", "/")
    assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()
    for column in table.columns:
        assert column.meaning and not column.meaning.endswith(".")


def test_units_follow_from_names():
    units = {column.name: column.unit for table in TABLES.values() for column in table.columns}
    assert units["vds_nats"] == "nats" and units["angle_language_visual_deg"] == "degrees"
    assert units["token_share"] == "share" and units["rollout_seconds"] == "seconds"
    assert units["accuracy_change_mean_percent"] == "percent" and units["bin"] == ""


def test_an_unknown_table_is_refused():
    with pytest.raises(RecordError, match="`table` must be one of rollouts, tokens, .*, not 'token'"):
        table_named("token")


def test_listing_the_tables_loads_no_library():
    """Commands name tables in their help."""
    code = "import sys; from records import TABLES; print(len(TABLES), {'pandas', 'pyarrow', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == [str(len(TABLES)), "set()\n"]


# --- what `check` refuses ---


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_frame_made_from_the_columns_passes(table):
    table.check(frame_of(table.name))
    table.check(frame_of(table.name)[list(reversed(table.names))])
    table.check(frame_of(table.name, n_rows=0))
    table.check(frame_of(table.name, optional=True))


def test_made_up_bins_fit():
    TABLES["bins"].check(bins_frame())


def test_missing_columns_are_named():
    with pytest.raises(RecordError, match="table `tokens` misses columns: bin, vds_nats|vds_nats, bin"):
        TABLES["tokens"].check(frame_of("tokens").drop(columns=["vds_nats", "bin"]))


def test_extra_columns_are_named():
    with pytest.raises(RecordError, match="table `units` has unknown columns: angle$"):
        TABLES["units"].check(frame_of("units").assign(angle=90.0))


@pytest.mark.parametrize(
    ("column", "values", "actual"),
    [
        ("vds_nats", np.arange(4), "int64"),
        ("vds_nats", np.zeros(4, dtype=np.float32), "float"),
        ("vds_nats", ["a", "b", "c", "d"], "string"),
        ("bin", np.zeros(4), "double"),
        ("bin", [0, 1, None, 2], "double"),
        ("token_text", [1, 2, 3, 4], "int64"),
        ("has_image", [0, 1, 0, 1], "int64"),
        ("token_text", ["a", 1, None, 2.0], "large_binary"),
        ("entropy_nats", np.arange(4), "int64"),
    ],
)
def test_wrong_types_are_named(column, values, actual):
    wrong = frame_of("tokens").assign(**{column: values})
    with pytest.raises(RecordError, match=rf"table `tokens` has wrongly typed columns: {column} \({actual}, must be"):
        TABLES["tokens"].check(wrong)


def test_gaps_are_no_wrong_type():
    frame = frame_of("rollouts").assign(correct=[True, None, False, None])
    TABLES["rollouts"].check(frame)
    TABLES["rollouts"].check(frame.assign(correct=None))
    TABLES["units"].check(frame_of("units").assign(angle_prior_language_deg=np.nan))


def test_text_has_one_type_however_stored():
    frame = frame_of("tokens")
    for stored in (object, "string", "string[pyarrow]", pd.StringDtype(na_value=np.nan)):
        TABLES["tokens"].check(frame.assign(token_text=frame["token_text"].astype(stored)))


# --- written and read ---


def test_categories_are_text(tmp_path):
    frame = frame_of("tokens", n_rows=6)
    repeated = frame.astype(dict.fromkeys(["prompt_id", "dependency", "token_text"], "category"))
    TABLES["tokens"].check(repeated)
    TABLES["tokens"].write(tmp_path, repeated)
    written = (tmp_path / "tokens.parquet").read_bytes()
    TABLES["tokens"].write(tmp_path, frame)
    assert written == (tmp_path / "tokens.parquet").read_bytes()
    numbers = frame.assign(token_text=pd.Series([1, 2, 3, 4, 5, 6], dtype="category"))
    with pytest.raises(RecordError, match=r"token_text \(int64, must be string\)"):
        TABLES["tokens"].check(numbers)


@pytest.mark.parametrize("n_rows", [0, 1, 3, 7])
def test_row_groups_join_to_the_whole_table(tmp_path, monkeypatch, n_rows):
    monkeypatch.setattr("records.table.ROW_GROUP", 3)
    frame = frame_of("tokens", n_rows=n_rows).astype({"token_text": "category"})
    TABLES["tokens"].write(tmp_path, frame)
    again = TABLES["tokens"].read(tmp_path)
    assert again["token_text"].tolist() == frame["token_text"].tolist()
    assert again["vds_nats"].tolist() == frame["vds_nats"].tolist()


def frames(name: str) -> st.SearchStrategy[pd.DataFrame]:
    """Draw frames of a table; the text of a CSV has no line ends or bytes of zero."""
    table = TABLES[name]
    kinds = VALUES | ({"string": PLAIN_TEXT} if table.format == "csv" else {})
    columns = [column for column in table.columns if not column.optional]
    row = st.tuples(*(kinds[column.type] for column in columns))
    rows = st.lists(row, min_size=1, max_size=4)
    return rows.map(lambda drawn: pd.DataFrame(drawn, columns=table.names))


@pytest.mark.parametrize("name", TABLES)
@settings(max_examples=15)
@given(data=st.data())
def test_round_trip(tmp_path_factory, name, data):
    folder = tmp_path_factory.mktemp("table")
    frame = data.draw(frames(name))
    TABLES[name].write(folder, frame)
    pd.testing.assert_frame_equal(TABLES[name].read(folder), frame, check_exact=True)


@pytest.mark.parametrize("optional", [False, True])
def test_an_optional_column_comes_back_if_it_is_there(tmp_path, optional):
    frame = frame_of("tokens", optional=optional)
    TABLES["tokens"].write(tmp_path, frame)
    again = TABLES["tokens"].read(tmp_path)
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    assert ("entropy_nats" in again.columns) == optional


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_empty_tables_come_back(tmp_path, table):
    table.write(tmp_path, frame_of(table.name, n_rows=0))
    again = table.read(tmp_path)
    assert list(again.columns) == table.names
    table.check(again)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_same_content_is_the_same_bytes(tmp_path, table):
    frame = frame_of(table.name)
    shuffled = frame[list(reversed(frame.columns))]
    shuffled.index = [7, 5, 3, 1]
    written = []
    for content in (frame, shuffled):
        table.write(tmp_path, content)
        written.append((tmp_path / table.file).read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("name", ["tokens", "bins"])
def test_a_damaged_or_missing_table_is_one_line(tmp_path, name):
    path = tmp_path / TABLES[name].file
    with pytest.raises(RecordError, match="cannot read"):
        TABLES[name].read(tmp_path)
    path.write_bytes(b"scope\n1,2,\x00\n" + bytes(np.arange(64, dtype=np.uint8)))
    with pytest.raises(RecordError, match="cannot read") as raised:
        TABLES[name].read(tmp_path)
    assert "\n" not in str(raised.value)
