"""Every probe on a small pair, by one process or several; launched by `test_processes`.

    python -m tests.probes.all_probes CHECKPOINTS OUT [STOP]

STOP: a table at whose second shard the process that makes it is interrupted.
"""

import sys
from pathlib import Path
from unittest.mock import patch

import torch

from probes import Analyzer, processes
from records import Shards

SETTINGS = {"limit": 6, "max_response": 4, "bins": 2, "batch": 2, "allow_truncated": True}
ONE_BY_ONE = {
    "vds": {},
    "angles": {"per_bin": 2, "precision_check": 2},
    "layers": {"per_bin": 2},
    "support": {"top_k": (2, 4)},
    "accuracy": {},
    "sensitivity": {"check": True, "check_sgd_lr": (1e-3,), "check_adamw_lr": (1e-4,)},
    "diagnose": {"per_bin": 2, "trial_steps": 2, "shown": 1},
}


def analyzer(checkpoints: Path, folder: Path | None, **settings: object) -> Analyzer:
    """Return an analyzer of the small pair."""
    return Analyzer(
        str(checkpoints / "student"), teacher=str(checkpoints / "teacher"), folder=folder, **{**SETTINGS, **settings}
    )


def measure(checkpoints: Path, out: Path) -> None:
    """Write a record of each probe; a second one of `angles` is held in memory and written as one table."""
    for name, options in ONE_BY_ONE.items():
        getattr(analyzer(checkpoints, out / name), name)(**options)
    series = analyzer(checkpoints, out / "norms")
    series.norms(str(checkpoints / "teacher"), per_bin=2)
    both = analyzer(checkpoints, out / "compare")
    both.compare(str(checkpoints / "teacher"), per_bin=2, accuracy_prompts=4, examples=2)
    in_memory = analyzer(checkpoints, None).angles(per_bin=2)
    in_memory.units.to_parquet(out / f"memory-{processes.team().rank}.parquet", index=False)


class Interrupt(KeyboardInterrupt):
    """What stops a run."""


def main(checkpoints: Path, out: Path, stop: str = "") -> None:
    """Measure, or interrupt the probe `angles`."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    adding = Shards.add

    def add(self: Shards, table: str, shard: int, frame: object) -> None:
        if (table, shard) == (stop, 1):
            raise Interrupt
        adding(self, table, shard, frame)  # type: ignore[arg-type]

    with processes.joined(), patch.object(Shards, "add", add):
        if stop:
            analyzer(checkpoints, out / "angles").angles(**ONE_BY_ONE["angles"])
        else:
            measure(checkpoints, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
