"""Refuse what work wants to write, then let it; it must say so in one line, and come to the same result after it.

    python -m tests.faults.disk
    python -m tests.faults.disk --cases 4 --works record

Three kinds of refusal: files above a size (RLIMIT_FSIZE at sizes drawn among those of the result), a full disk for one
file after another (its temporary neighbour leads to /dev/full), and a folder that only root may write, where this
process is root. Prints a line for each work and kind; the exit code is 1 if anything was lost.
"""

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.options import Parser

if TYPE_CHECKING:
    from tests.faults.kills_children import Limits
    from tests.faults.kills_works import Work

NAMES = ("record", "probe", "training")
_LEAST_BYTES = 64


@dataclass
class Count:
    """What came of the refusals of a kind."""

    cases: int = 0
    refused: int = 0
    """Cases in which the work wanted to write what it may not."""
    not_in_order: int = 0
    """Ends with a traceback, several lines, another exit code than 1, or a part of a file left."""
    lost: int = 0


@dataclass(frozen=True)
class Case:
    """One refusal.

    limits: of the child.
    full: a file for which the disk is full, below the work's folder.
    """

    limits: "Limits"
    full: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Refuse, let, compare and print; return 1 if anything was lost."""
    parser = Parser("tests.faults.disk", __doc__)
    parser.add_argument("--cases", type=int, default=20, help="cases of each kind and work")
    parser.add_argument("--works", type=str, nargs="+", default=list(NAMES), help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--seed", type=int, default=0, help="of the sizes and files")
    parsed = parser.parse_args(argv)
    os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        return _refuse_all(Path(place), parsed.works, parsed.cases, parsed.seed)


def _refuse_all(place: Path, names: Sequence[str], n: int, seed: int) -> int:
    import torch  # here, so that --help needs none of it

    from tests.faults.kills_children import Child
    from tests.faults.kills_works import works

    torch.set_num_threads(1)
    print(f"{'work':10} {'kind':10} {'cases':>6} {'refused':>8} {'not in order':>13} {'lost':>5}", flush=True)
    counts = []
    for name, work in works(place / "pair").items():
        if name not in names:
            continue
        folder = place / f"whole-{name}"
        if (ended := Child(lambda work=work, folder=folder: work.run(folder)).end()).code:  # type: ignore[misc]
            raise RuntimeError(f"{name} did not end: {ended.said}")
        draw = random.Random(f"{seed}/{name}")
        for kind, cases in (("size", _sizes(folder, draw)), ("full", _files(folder, draw)), ("folder", _folders(name))):
            count = Count()
            for case, _ in zip(cases, range(n), strict=False):
                _refuse_and_let(work, place / "run" / "out", count, case, work.result(folder))
            row = f"{count.cases:6} {count.refused:8} {count.not_in_order:13} {count.lost:5}"
            print(f"{name:10} {kind:10} {row}", flush=True)
            counts.append(count)
    return int(any(count.lost or count.not_in_order for count in counts))


def _sizes(whole: Path, draw: random.Random) -> Iterator[Case]:
    """Sizes below those of files, small ones and large."""
    from tests.faults.kills_children import Limits

    sizes = [path.stat().st_size for path in whole.rglob("*") if path.is_file() and not path.is_symlink()]
    while True:
        size = draw.choice(sizes)
        yield Case(Limits(file_bytes=max(_LEAST_BYTES, size - draw.choice([1, size // 2, draw.randrange(size)]))))


def _files(whole: Path, draw: random.Random) -> Iterator[Case]:
    """The files of the folder itself, in any order, each once. Those of checkpoints stand in new folders."""
    from tests.faults.kills_children import Limits

    names = [path.name for path in whole.iterdir() if path.is_file() and not path.is_symlink()]
    for name in draw.sample(sorted(names), len(names)):
        yield Case(Limits(), full=name)


def _folders(name: str) -> Iterator[Case]:
    """A folder that may not be written; for a record alone, as nobody may not read all that models load."""
    from tests.faults.kills_children import Limits

    if os.getuid() == 0 and name == "record":
        yield Case(Limits(as_nobody=True))


def _refuse_and_let(work: "Work", folder: Path, count: Count, case: Case, wanted: object) -> None:
    from tests.faults.kills_children import Child

    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.parent.mkdir()
    if case.full:
        if work.begin is not None:
            work.begin(folder)
        else:
            Child(lambda: work.run(folder)).kill_when(folder / work.first)
        (folder / f"{case.full}.part").unlink(missing_ok=True)
        (folder / f"{case.full}.part").symlink_to("/dev/full")
    count.cases += 1
    before = set(folder.rglob("*.part")) - {folder / f"{case.full}.part"}  # which the kill has left
    ended = Child(lambda: work.run(folder), case.limits).end()
    count.refused += ended.code != 0
    parts = [str(path) for path in set(folder.rglob("*.part")) - before] if ended.code and folder.is_dir() else []
    if ended.code not in (0, 1) or not ended.in_order or parts:
        count.not_in_order += 1
        print(f"{work.name}, {case}: code {ended.code}, left {parts}, {ended.said[-2000:]}", file=sys.stderr)
    ended = Child(lambda: work.run(folder)).end()
    if ended.code or work.result(folder) != wanted:
        count.lost += 1
        print(f"{work.name}, {case}: lost, code {ended.code}, {ended.said[-2000:]}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
