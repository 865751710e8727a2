"""Filling a record: in memory as in a folder."""

import pandas as pd
import pytest

from records import MemoryRecord, OpenRecord, RecordError, open_record
from records.record_json import HEADER as HEADER_FIELDS
from tests.records.synthetic import HEADER, tables


@pytest.fixture(params=["memory", "folder"])
def writer(request, tmp_path) -> OpenRecord:
    """An open record, of either kind."""
    return MemoryRecord(HEADER) if request.param == "memory" else open_record(tmp_path / "record", HEADER)


def shard(i: int) -> pd.DataFrame:
    return pd.DataFrame({"row": [2 * i, 2 * i + 1], "ids": [[i], []], "text": ["a", None]}, index=[5, 7])


def test_shards_are_gathered_by_their_index(writer):
    with writer:
        for i in (10, 2, 0):
            writer.add("work", i, shard(i))
        writer.add("work-other", 1, shard(7))
        assert writer.has("work", 2) and not writer.has("work", 1) and not writer.has("wor", 2)
        assert writer.gather("work")["row"].tolist() == [0, 1, 4, 5, 20, 21]
        assert writer.gather("work").index.tolist() == list(range(6))
        with pytest.raises(RecordError, match="no shards of `units`"):
            writer.gather("units")


def test_parts_have_shards_of_their_own(writer):
    with writer:
        writer.part(0).add("work", 0, shard(0))
        writer.part(1).add("work", 0, shard(1))
        assert not writer.has("work", 0) and not writer.part(2).has("work", 0)
        assert writer.part(1).gather("work")["row"].tolist() == [2, 3]


def test_an_added_shard_can_be_replaced_and_does_not_follow_its_frame(writer):
    with writer:
        frame = shard(0)
        writer.add("work", 0, frame)
        frame["row"] = 9
        assert writer.gather("work")["row"].tolist() == [0, 1]
        writer.add("work", 0, frame)
        assert writer.gather("work")["row"].tolist() == [9, 9]


def test_shards_in_memory_are_those_of_a_folder(tmp_path):
    memory, folder = MemoryRecord(HEADER), open_record(tmp_path, HEADER)
    for writer in (memory, folder):
        writer.add("work", 0, shard(0))
    pd.testing.assert_frame_equal(memory.gather("work"), folder.gather("work"), check_exact=True)
    folder.close()


def test_a_finished_record_is_a_measurement(writer):
    frames = tables()
    frames["rollouts"] = frames["rollouts"].assign(correct=None)
    frames["tokens"].index = [7, 5, 3, 1]
    with writer:
        writer.add("work", 0, shard(0))
        writer.finish(frames, {"mean": float("nan"), "threads": 1})
    record = writer.measurement()
    assert record.path == writer.path
    assert record.header == HEADER and record.notes == {"mean": None, "threads": 1}
    assert record.record["complete"] and record.record["tables"]["bins"] == 20
    assert not writer.has("work", 0)
    pd.testing.assert_frame_equal(record.bins, tables()["bins"], check_exact=True)
    pd.testing.assert_frame_equal(record.tokens, tables()["tokens"], check_exact=True)
    assert record.rollouts["correct"].isna().all()


def test_both_kinds_give_the_same_measurement(tmp_path):
    memory, folder = MemoryRecord(HEADER), open_record(tmp_path, HEADER)
    for writer in (memory, folder):
        writer.finish(tables(), {"threads": 1})
    ours, theirs = (dict(writer.measurement().record) for writer in (memory, folder))
    assert set(theirs.pop("hashes")) == set(tables()) and ours.pop("hashes") == {}
    assert ours.pop("checksum") != theirs.pop("checksum")
    assert ours == theirs
    for name in tables():
        ours, theirs = memory.measurement().table(name), folder.measurement().table(name)
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_wrong_tables_are_refused_and_nothing_is_finished(writer):
    with writer:
        writer.add("work", 0, shard(0))
        with pytest.raises(RecordError, match="table `units` misses columns: bin"):
            writer.finish({"units": tables()["units"].drop(columns="bin")}, {})
        with pytest.raises(RecordError, match="`table` must be one of"):
            writer.finish({"unit": tables()["units"]}, {})
        with pytest.raises(RecordError, match="call `finish` before `measurement`"):
            writer.measurement()
        assert writer.has("work", 0)


@pytest.mark.parametrize("field", HEADER_FIELDS)
def test_a_header_must_identify(field):
    header = {name: value for name, value in HEADER.items() if name != field}
    with pytest.raises(RecordError, match=f"`header` must have .*; it misses {field}"):
        MemoryRecord(header)
