"""Damage records at random; reading one must give what was written, or one line.

    python -m tests.faults.records
    python -m tests.faults.records --cases 50

A case changes one file of a complete record: bytes turned, cut, doubled, or taken from another record; a field of
record.json dropped, renamed or replaced. All tables are then read. Prints a line for each kind of damage; the exit code
is 1 if a change was passed as right, or gave anything but one line.
"""

import json
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cli.options import Parser

Damage = Callable[[Path, Path, random.Random], None]
VALUES: tuple[Any, ...] = (None, True, False, 0, 1, -1, 1.5, "", "true", "x" * 1000, "\ud800", [], {}, [[]], {"a": 1})
"""What a field of record.json is replaced by."""


def main(argv: Sequence[str] | None = None) -> int:
    """Damage, read, count and print; return 1 if a change passed as right."""
    parser = Parser("tests.faults.records", __doc__)
    parser.add_argument("--cases", type=int, default=150, help="cases of each kind of damage")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parsed = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as place:
        return _damage_all(Path(place), parsed.cases, parsed.seed)


def _damage_all(place: Path, n: int, seed: int) -> int:
    from records import open_record  # here, so that --help needs none of it
    from tests.records.synthetic import HEADER, tables

    for number, name in enumerate(("ours", "other")):
        with open_record(place / name, HEADER) as writer:
            frames = tables(number)
            writer.finish({table: frames[table] for table in ("bins", "tokens", "units")}, {"threads": number})
    wanted = _read(place / "ours")
    print(f"{'damage':20} {'cases':>6} {'refused':>8} {'unchanged':>10} {'passed as right':>16} {'not one line':>13}")
    bad = 0
    for name, damage in DAMAGES.items():
        draw, outcomes = random.Random(f"{seed}/{name}"), []
        for _ in range(n):
            shutil.rmtree(place / "case", ignore_errors=True)
            shutil.copytree(place / "ours", place / "case")
            damage(place / "case", place / "other", draw)
            outcomes.append(_outcome(place, wanted))
        counts = [outcomes.count(kind) for kind in ("refused", "unchanged", "passed", "not one line")]
        print(f"{name:20} {n:6} {counts[0]:8} {counts[1]:10} {counts[2]:16} {counts[3]:13}", flush=True)
        bad += counts[2] + counts[3]
    return int(bad > 0)


def _outcome(place: Path, wanted: object) -> str:
    from cli.errors import UserError

    try:
        same = _read(place / "case") == wanted
    except UserError as error:
        return "refused" if "\n" not in str(error) and "case" in str(error) else "not one line"
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return "not one line"
    return "unchanged" if same else "passed"


def _read(folder: Path) -> object:
    """Everything that a record says: header, notes, and all tables."""
    from records import read_record

    record = read_record(folder)
    names = list(record.record["tables"])
    return dict(record.header), dict(record.notes), {name: record.table(name).to_csv() for name in names}


def _any_file(folder: Path, draw: random.Random) -> Path:
    return draw.choice(sorted(path for path in folder.iterdir() if path.is_file()))


def _turn(folder: Path, _: Path, draw: random.Random) -> None:
    path = _any_file(folder, draw)
    content = bytearray(path.read_bytes())
    for _ in range(draw.randint(1, 4)):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def _cut(folder: Path, _: Path, draw: random.Random) -> None:
    path = _any_file(folder, draw)
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])


def _cut_lines(folder: Path, _: Path, draw: random.Random) -> None:
    lines = (folder / "bins.csv").read_bytes().splitlines(keepends=True)
    del lines[draw.randrange(1, len(lines)) :: draw.randint(1, 3)]
    (folder / "bins.csv").write_bytes(b"".join(lines))


def _double(folder: Path, _: Path, draw: random.Random) -> None:
    path = _any_file(folder, draw)
    content = path.read_bytes()
    path.write_bytes(content + content[draw.randrange(len(content)) :])


def _take(folder: Path, other: Path, draw: random.Random) -> None:
    shutil.copy(other / draw.choice(["bins.csv", "tokens.parquet", "units.parquet"]), folder)


def _mix(folder: Path, _: Path, draw: random.Random) -> None:
    one, two = draw.sample(["tokens.parquet", "units.parquet", "bins.csv"], 2)
    shutil.copy(folder / one, folder / two)


def _remove(folder: Path, _: Path, draw: random.Random) -> None:
    draw.choice([folder / "bins.csv", folder / "tokens.parquet", folder / "units.parquet"]).unlink()


def _edit(folder: Path, _: Path, draw: random.Random) -> None:
    path = folder / "record.json"
    content = json.loads(path.read_text())
    place = content
    while True:
        name = draw.choice(sorted(place))
        if not isinstance(place[name], dict) or not place[name] or draw.random() < 0.5:
            break
        place = place[name]
    how = draw.choice(["drop", "rename", "replace"])
    value = place.pop(name)
    if how == "rename":
        place[f"{name}x"] = value
    elif how == "replace":
        place[name] = draw.choice(VALUES)
    path.write_text(json.dumps(content))


DAMAGES: dict[str, Damage] = {
    "bytes turned": _turn,
    "cut": _cut,
    "lines left out": _cut_lines,
    "doubled": _double,
    "another's table": _take,
    "tables mixed up": _mix,
    "a table removed": _remove,
    "record.json edited": _edit,
}

if __name__ == "__main__":
    sys.exit(main())
