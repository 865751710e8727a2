"""Shards joined: the same rows as one frame below the other, repeated text as categories."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from records import MemoryRecord, RecordError
from records.gathering import joined
from tests.records.synthetic import HEADER

ROWS = st.lists(
    st.tuples(
        st.text("ab", max_size=2), st.integers(-5, 5), st.floats(allow_infinity=False), st.booleans() | st.none()
    ),
    min_size=1,
    max_size=4,
)


def shard(rows):
    return pd.DataFrame(rows, columns=["name", "number", "value", "truth"]).to_parquet(index=False)


@given(st.lists(ROWS, min_size=1, max_size=3))
def test_the_rows_are_those_of_one_frame_below_the_other(parts):
    whole = pd.DataFrame([row for rows in parts for row in rows], columns=["name", "number", "value", "truth"])
    got = joined(map(shard, parts))
    assert list(got.columns) == list(whole.columns) and list(got.index) == list(range(len(whole)))
    assert got["name"].tolist() == whole["name"].tolist() and got["number"].tolist() == whole["number"].tolist()
    np.testing.assert_array_equal(got["value"].to_numpy(), whole["value"].to_numpy())
    missing = [None if pd.isna(truth) else bool(truth) for truth in got["truth"]]
    assert missing == [row[3] for rows in parts for row in rows]


@given(st.lists(ROWS, min_size=1, max_size=3))
def test_repeated_text_becomes_one_set_of_categories(parts):
    got = joined(map(shard, parts), ["name"])["name"]
    assert got.dtype == "category" and got.astype(str).tolist() == [row[0] for rows in parts for row in rows]
    assert got.cat.categories.is_unique


def test_lists_stay_lists():
    contents = [pd.DataFrame({"ids": [[1, 2], [3]]}).to_parquet(index=False)] * 2
    assert [list(ids) for ids in joined(contents)["ids"]] == [[1, 2], [3]] * 2


def test_a_table_of_repeated_text_takes_less_memory():
    frame = pd.DataFrame({"name": ["colour-0-1"] * 5000, "number": range(5000)})
    sizes = [
        joined([frame.to_parquet(index=False)] * 2, names).memory_usage(deep=True).sum() for names in ([], ["name"])
    ]
    assert sizes[1] < 0.6 * sizes[0]


def test_a_record_gathers_repeated_text_too():
    record = MemoryRecord(HEADER)
    for index, name in enumerate(("b", "a")):
        record.add("tokens", index, pd.DataFrame({"name": [name, "b"]}))
    assert record.gather("tokens", ["name"])["name"].tolist() == ["b", "b", "a", "b"]
    with pytest.raises(RecordError, match="there are no shards of `units`"):
        record.gather("units")
