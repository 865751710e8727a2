"""Work that is killed and continued: a record of made-up tables, a probe with its picture, a run of training."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from cli.errors import exit_code
from probes import angles
from records import open_record, read_record
from records.reading import complete_record
from records.writing import drop_leftovers
from tests import models
from tests.faults.kills_children import contents
from tests.records.synthetic import HEADER, tables
from tests.train.small import flags, small
from train.__main__ import main as train_main
from train.held import LAST
from vlm.responses import truncation

_SHARDS = 12


@dataclass(frozen=True)
class Work:
    """Something that a command does in a folder.

    run: begins or continues it; returns the exit code.
    result: what it comes to, to be compared with that of an uninterrupted run.
    first: the file that it writes first.
    begin: leaves the folder as a run does that was killed after that file; None for work that is slow enough to kill.
    """

    name: str
    run: Callable[[Path], int]
    result: Callable[[Path], object]
    first: str = "record.json"
    begin: Callable[[Path], None] | None = None


def works(pair: Path) -> dict[str, Work]:
    """Return all works by name; `pair` gets a random student and teacher."""
    models.write_checkpoint(pair / "student", models.STUDENT, seed=1)
    models.write_checkpoint(pair / "teacher", models.TEACHER, seed=2)
    for path in pair.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # so that whoever a child is may read them
    every = [
        Work("record", _write_record, _record, begin=lambda folder: open_record(folder, HEADER).close()),
        Work("probe", partial(_probe, pair), _record),
        Work("training", partial(_train, pair), _run, "config.json"),
    ]
    return {work.name: work for work in every}


def _write_record(folder: Path) -> int:
    def write() -> None:
        if complete_record(folder, HEADER) is not None:
            drop_leftovers(folder)  # as a probe does
            return
        with open_record(folder, HEADER) as writer:
            for index in range(_SHARDS):
                if not writer.has("work", index):
                    writer.add("work", index, pd.DataFrame({"row": range(index, index + 5000)}))
            rows = writer.gather("work")["row"]
            frames = tables(int(rows.sum()) % 7)
            writer.finish({name: frames[name] for name in ("bins", "tokens", "units", "grams")}, {"rows": len(rows)})

    return exit_code(write)


def _probe(pair: Path, folder: Path) -> int:
    words = [str(pair / "student"), "--teacher", str(pair / "teacher"), "--out", str(folder), "--limit", "6"]
    words += ["--max-response", "4", "--bins", "2", "--batch", "2", "--per-bin", "2", "--allow-truncated"]
    return angles.main([*words, "--device", "cpu"])


def _train(pair: Path, folder: Path) -> int:
    torch.use_deterministic_algorithms(True)
    truncation.REFUSED = 1.0
    config = small(pair, out=str(folder), device="cpu")
    return train_main([*flags(config), *(["--resume"] if (folder / "config.json").is_file() else [])])


def _record(folder: Path) -> object:
    """What a record says of its tables, all of which are read, and the bytes of its pictures."""
    record = read_record(folder)
    for name in record.record["tables"]:
        record.table(name)
    pictures = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".png", ".svg")}
    left = sorted(path.name for path in folder.rglob("*") if path.name.endswith(".part") or path.name == "pieces")
    return record.record["hashes"], record.header, pictures, left


def _run(folder: Path) -> object:
    """A run without times: its files, and the journal line by line.

    A tokenizer that was read from a checkpoint and saved again has other fields of its own in tokenizer_config.json.
    """
    files = contents(folder)
    journal = [json.loads(line) for line in bytes(files.pop("metrics.jsonl")).split(b"\n") if line]  # type: ignore[arg-type]
    lines = [{name: value for name, value in line.items() if name != "seconds"} for line in journal]
    apart = ("checkpoint.json", "training.pt", "tokenizer_config.json", "pair.json")
    kept = {name: content for name, content in files.items() if not name.endswith(apart)}
    state = torch.load(folder / LAST / "training.pt", weights_only=True)
    moments = {n: {k: v.tolist() for k, v in slot.items()} for n, slot in state["optimizer"]["state"].items()}
    return kept, lines, moments, state["step"], state["best"]
