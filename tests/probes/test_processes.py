"""A record does not depend on how many processes have made it, and none of them is left behind."""

import threading
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from torch.distributed import HashStore

from cli.errors import OptionError, Stopped, UserError
from probes.processes import StoreTeam, refuse_idle
from records import read_record
from records.shards import ShardMemory
from tests.launch import accelerate_launch, together
from tests.probes import all_probes

pytestmark = pytest.mark.timeout(900)  # processes that are started on a busy machine take minutes

NOTES = {"seconds", "processes", "versions", "training"}
TIMED = {"findings"}
"""Tables with seconds and memory."""


def same(one: Path, other: Path) -> None:
    """Require that two records have the same header and tables, bit by bit."""
    first, second = read_record(one), read_record(other)
    assert first.header == second.header
    assert first.record["tables"].keys() == second.record["tables"].keys()
    for name in first.record["tables"]:
        left, right = first.table(name), second.table(name)
        if name in TIMED:
            left, right = (rows[~rows["unit"].isin(["seconds", "GB", "hours"])] for rows in (left, right))
            left, right = (rows.reset_index(drop=True) for rows in (left, right))
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    for name in first.notes.keys() - NOTES:
        assert first.notes[name] == second.notes[name], name


def alone(checkpoints: Path, folder: Path, *names: str) -> Path:
    """Return a folder with what one process writes."""
    folder.mkdir()
    (ended,) = together(1, *_words(checkpoints, folder, *names))
    assert ended.code == 0, ended.err[-3000:]
    return folder


def _words(checkpoints: Path, folder: Path, *names: str) -> list[str]:
    return ["-m", "tests.probes.all_probes", str(checkpoints), str(folder), ",".join(names)]


def same_everywhere(one: Path, several: Path, n: int) -> None:
    """Require that `n` processes have written the records that one has."""
    for folder in filter(Path.is_dir, one.iterdir()):
        same(folder, several / folder.name)
        assert read_record(several / folder.name).notes["processes"] == n
    held = pd.read_parquet(one / "memory-0.parquet")
    for rank in range(n):
        pd.testing.assert_frame_equal(pd.read_parquet(several / f"memory-{rank}.parquet"), held, check_exact=True)


@pytest.fixture(scope="module")
def angles(checkpoints, tmp_path_factory):
    """Return a folder with angles of one process, in a record and in memory."""
    return alone(checkpoints, tmp_path_factory.mktemp("processes") / "one", "angles", "memory")


def test_two_processes_that_accelerate_starts_make_the_record_of_one(checkpoints, angles, tmp_path):
    _, *words = _words(checkpoints, tmp_path, "angles", "memory")
    ended = accelerate_launch(2, *words)
    assert ended.code == 0, ended.err[-3000:]
    same_everywhere(angles, tmp_path, 2)
    assert ended.err.count("null: 2/2") == 2  # one of the two speaks, in each measurement


@pytest.mark.slow
def test_three_processes_make_every_record_of_one(checkpoints, tmp_path):
    names = (*all_probes.OPTIONS, "memory")
    one, three = alone(checkpoints, tmp_path / "one", *names), tmp_path / "three"
    three.mkdir()
    main, *others = together(3, *_words(checkpoints, three, *names))
    assert main.code == 0, main.err[-3000:]
    assert [(other.code, other.out, other.err) for other in others] == [(0, "", "")] * 2
    same_everywhere(one, three, 3)


def test_what_two_processes_have_begun_one_completes(checkpoints, angles, tmp_path):
    ended = together(2, *_words(checkpoints, tmp_path, "angles"), "null")
    assert all(each.code for each in ended)
    assert sum("Interrupt" in each.err.splitlines()[-1] for each in ended if each.err) >= 1
    left = {path.name for path in (tmp_path / "angles" / "pieces").iterdir()}
    assert "tokens-000001.parquet" in left and "null-000001.parquet" not in left
    all_probes.measure(checkpoints, tmp_path, "angles")
    same(angles / "angles", tmp_path / "angles")


def test_more_processes_than_batches_are_one_line(checkpoints, tmp_path):
    flags = [str(checkpoints / "student"), "--teacher", str(checkpoints / "teacher"), "--max-response", "4"]
    main, other = together(2, "-m", "probes.vds", *flags, "--limit", "4", "--batch", "4", "--out", str(tmp_path / "r"))
    assert (main.code, other.code) == (2, 2)
    assert (main.out, other.out, other.err) == ("", "", "")
    assert main.err.splitlines()[-1].startswith("error: `num_processes` must be at most 1") and "batch" in main.err
    assert main.err.count("error") == 1
    assert not (tmp_path / "r").exists()


# --- how processes talk, in threads ---


def teams(n: int) -> list[StoreTeam]:
    store = HashStore()
    return [StoreTeam(store, rank, n) for rank in range(n)]


def in_threads(works: list) -> list:
    """Run functions at the same time; return what each returned or raised."""
    ended: list = [None] * len(works)

    def run(place: int) -> None:
        try:
            ended[place] = works[place]()
        except Exception as error:
            ended[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return ended


def test_each_piece_of_work_is_claimed_once_and_again_for_another_record():
    group = teams(3)
    for _ in range(2):
        for team in group:
            team.begin()
        taken = in_threads([lambda team=team: {n for n in range(40) if team.claims(f"tokens-{n}")} for team in group])
        assert sorted(n for own in taken for n in own) == list(range(40))


def test_what_is_shared_arrives_whole_and_in_order():
    group, large = teams(2), bytes(range(256)) * 40_000  # more than the store takes at once
    works = [lambda: [group[0].share(large), group[0].share(b"")], lambda: [group[1].share(b"b"), group[1].share(b"d")]]
    assert in_threads(works) == [[[large, b"b"], [b"", b"d"]]] * 2


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OptionError("`limit` must be 1"), UserError, "`limit` must be 1"),
        (Stopped("logits"), Stopped, "has failed: logits"),
        (KeyError("a"), Stopped, "has failed: KeyError: 'a'"),
        (KeyboardInterrupt(), Stopped, "has failed: KeyboardInterrupt"),
    ],
)
def test_who_waits_for_a_process_that_fails_fails_too(failing, error, kind, words):
    group = teams(2)
    waiting = group[1 - failing]

    def wait() -> None:
        try:
            waiting.share(b"")
        except (UserError, Stopped) as told:
            waiting.fail(told)
            raise

    ended = in_threads([lambda: group[failing].fail(error), wait])
    assert isinstance(ended[1], kind) and str(ended[1]).endswith(words)
    with pytest.raises(kind):
        waiting.claims("tokens-0")


def test_one_process_is_never_idle():
    refuse_idle(1, 16)


def test_shards_in_memory_are_those_of_all_once_they_have_met():
    def fill(team: StoreTeam) -> dict[str, bytes]:
        shards = ShardMemory()
        shards[f"tokens-{team.rank:06d}"] = bytes([0, 255, team.rank])
        shards.meet(team)
        return dict(shards)

    both = in_threads([partial(fill, team) for team in teams(2)])
    assert both == [{"tokens-000000": b"\x00\xff\x00", "tokens-000001": b"\x00\xff\x01"}] * 2
