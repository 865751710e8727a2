"""Tables come back as they were written, whole, and as the same bytes."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from records import TABLES, RecordError, check
from records.files import read_table, table_path, write_json, write_table, write_whole
from records.measurement import TO_READ_BY_EYE
from tests.records.synthetic import frame_of

VALUES = {
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(width=64),
    "bool": st.booleans(),
    "binary": st.binary(max_size=8),
}
PLAIN_TEXT = st.text('abcNAn_," 0-9', max_size=6)


def frames(table: str) -> st.SearchStrategy[pd.DataFrame]:
    """Draw frames of a table; the text of a CSV has no line ends or bytes of zero."""
    kinds = VALUES | ({"string": PLAIN_TEXT} if table in TO_READ_BY_EYE else {})
    row = st.tuples(*(kinds[str(column.type)] for column in TABLES[table]))
    rows = st.lists(row, min_size=1, max_size=4)
    return rows.map(lambda drawn: pd.DataFrame(drawn, columns=TABLES[table].names))


@pytest.mark.parametrize("table", TABLES)
@settings(max_examples=15)
@given(data=st.data())
def test_round_trip(tmp_path_factory, table, data):
    folder = tmp_path_factory.mktemp("table")
    frame = data.draw(frames(table))
    write_table(folder, table, frame)
    pd.testing.assert_frame_equal(read_table(folder, table), frame, check_exact=True)


@pytest.mark.parametrize("table", TABLES)
def test_empty_tables_come_back(tmp_path, table):
    write_table(tmp_path, table, frame_of(table, n_rows=0))
    found = read_table(tmp_path, table)
    assert list(found.columns) == TABLES[table].names
    check(table, found)


@pytest.mark.parametrize("table", TABLES)
def test_the_same_content_is_the_same_bytes(tmp_path, table):
    frame = frame_of(table)
    shuffled = frame[list(reversed(frame.columns))]
    shuffled.index = [7, 5, 3, 1]
    written = []
    for content in (frame, shuffled):
        write_table(tmp_path, table, content)
        written.append(table_path(tmp_path, table).read_bytes())
    assert written[0] == written[1]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("old")

    def half(part):
        part.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, half)
    assert path.read_text() == "old"


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "record.json", {"a": math.nan})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("table", ["tokens", "bins"])
def test_a_damaged_or_missing_table_is_one_line(tmp_path, table):
    path = table_path(tmp_path, table)
    with pytest.raises(RecordError, match="cannot read"):
        read_table(tmp_path, table)
    path.write_bytes(b"scope\n1,2,\x00\n" + bytes(np.arange(64, dtype=np.uint8)))
    with pytest.raises(RecordError, match="cannot read") as raised:
        read_table(tmp_path, table)
    assert "\n" not in str(raised.value)
