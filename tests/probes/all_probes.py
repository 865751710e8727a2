"""Every probe on a small pair, by one process or several; launched by `test_processes`.

    python -m tests.probes.all_probes CHECKPOINTS OUT PROBES [STOP]

PROBES: names with commas between.
STOP: a table at whose second shard the process that makes it is interrupted.
"""

import sys
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import torch

from probes import Analyzer, processes
from records import Shards

SETTINGS = {"limit": 6, "max_response": 4, "bins": 2, "batch": 2, "allow_truncated": True}
OPTIONS = {
    "vds": {},
    "angles": {"per_bin": 2, "precision_check": 2},
    "layers": {"per_bin": 2, "sketch": 4},
    "support": {"top_k": (2, 4)},
    "accuracy": {},
    "sensitivity": {"check": True, "check_sgd_lr": (1e-3,), "check_adamw_lr": (1e-4,)},
    "diagnose": {"per_bin": 2, "trial_steps": 2, "shown": 1},
    "norms": {"per_bin": 2, "sketch": 4},
    "compare": {"per_bin": 2, "accuracy_prompts": 4, "examples": 2, "first_order": False},
}
SERIES = ("norms", "compare")
MEMORY = "memory"
"""`angles` in memory; each process writes its table `units`."""


def analyzer(checkpoints: Path, folder: Path | None, **settings: object) -> Analyzer:
    """Return an analyzer of the small pair."""
    return Analyzer(
        str(checkpoints / "student"), teacher=str(checkpoints / "teacher"), folder=folder, **{**SETTINGS, **settings}
    )


def measure(checkpoints: Path, out: Path, name: str) -> None:
    """Write the record of a probe."""
    if name == MEMORY:
        units = analyzer(checkpoints, None).angles(**OPTIONS["angles"]).units
        units.to_parquet(out / f"{MEMORY}-{processes.team().rank}.parquet", index=False)
        return
    others = [str(checkpoints / "teacher")] if name in SERIES else []
    getattr(analyzer(checkpoints, out / name), name)(*others, **OPTIONS[name])


class Interrupt(KeyboardInterrupt):
    """What stops a run."""


def main(checkpoints: Path, out: Path, names: str, stop: str = "") -> None:
    """Measure, or be interrupted."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    adding = Shards.add

    def add(self: Shards, table: str, shard: int, frame: pd.DataFrame) -> None:
        if (table, shard) == (stop, 1):
            raise Interrupt
        adding(self, table, shard, frame)

    with processes.joined(), patch.object(Shards, "add", add):
        for name in names.split(","):
            measure(checkpoints, out, name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
