"""Gradients of a step and small runs; launched by `test_sharded` with one process, and in shards with two."""

import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch
from zlib import crc32

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.distributed.tensor import DTensor

from tests.train.small import batch, small, watch
from train.batch import batches_of_step
from train.config import Config
from train.learner import Learner
from train.loop import train
from train.models import prepare_student
from train.prompts import prompt_source
from train.sharding import asked_for, shard, whole
from train.step import summed_gradient, update
from vlm.checkpoints.pair import load_pair

CASES = {
    "measured": {"micro_batch": 1},
    "plain": {"eta": "none", "micro_batch": 2},
    "attached": {"eta": "none", "prior": "attached", "micro_batch": 1, "batch": 5},
    "standard": {"objective": "standard", "micro_batch": 3},
    "frozen": {"objective": "language-steering", "freeze_vision": True, "micro_batch": 1},
    "again": {"gradient_checkpointing": True, "micro_batch": 1},
    "bfloat16": {"objective": "vgs", "eta": 0.5, "dtype": "bfloat16"},
    "reward": {"objective": "grpo+standard", "match_norm": True, "rollouts_per_prompt": 3, "updates": 2, "batch": 6},
}

STOPPED, OTHER = "stopped", "other"


def run(checkpoints: Path, **changes) -> Config:
    return small(checkpoints, geometry_every=0, **changes)


def learner(config: Config) -> Learner:
    """Return a fresh student, in shards where accelerate was told so."""
    AcceleratorState._reset_state()  # the last case may have had another precision
    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if config.precision == "bfloat16" else "no")
    plugin = asked_for(accelerator, config)
    pair, _ = prepare_student(load_pair(config.student, config.teacher, teacher_dtype=config.precision), config)
    sharding = None if plugin is None else shard(pair.student, accelerator, plugin)
    trained = [p for p in pair.student.model.parameters() if p.requires_grad]
    return Learner(pair, config, torch.optim.AdamW(trained, lr=config.lr), accelerator, sharding=sharding)


def gradient(found: Learner) -> dict[str, torch.Tensor]:
    """The gradient, loss and eta of a step, of a second update where there are two."""
    if found.config.updates == 1:
        made = batch(found)
    else:
        with patch("train.batch.is_correct_any", lambda text, answers: crc32(text.encode()) % 2 == 0):
            _, made = batches_of_step(found, prompt_source(found.config).at(0), 1, watch())
    summed = summed_gradient(found, made, watch())
    flat = torch.cat([whole(g).flatten() for g in summed.gradient])
    outcome = update(found, made, watch())
    about = [summed.loss, summed.eta, outcome.gradient_norm, len(summed.tokens.vds), len(made.lengths)]
    return {"gradient": flat, "about": torch.tensor(about, dtype=torch.float64)}


def runs(checkpoints: Path, out: Path) -> None:
    """A run as it is; the same stopped after two steps; and what is in `OTHER`, continued."""
    config = run(checkpoints, lr=1e-3, steps=3, checkpoint_every=2)
    train(replace(config, out=str(out / "run")))
    train(replace(config, steps=2, out=str(out / STOPPED)))
    train(replace(config, resume=True, override=True, out=str(out / STOPPED)))
    if (out / OTHER).exists():
        train(replace(config, resume=True, override=True, out=str(out / OTHER)))


def main(checkpoints: Path, out: Path) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    out.mkdir(exist_ok=True)
    for name, changes in CASES.items():
        found = learner(run(checkpoints, **{"batch": 7} | changes))
        summed = gradient(found)
        if found.accelerator.is_main_process:
            n_elements = sum(p.to_local().numel() if isinstance(p, DTensor) else p.numel() for p in found.parameters)
            torch.save(summed | {"n_elements": n_elements}, out / f"{name}.pt")
    AcceleratorState._reset_state()
    runs(checkpoints, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
