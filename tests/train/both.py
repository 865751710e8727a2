"""A step's summed gradient and a whole small run; launched with one process or several by `test_processes`."""

import sys
from pathlib import Path

import torch

from tests.train.small import batch, learner, small, watch
from train.gradients import batch_grams
from train.loop import train
from train.step import summed_gradient


def main(checkpoints: Path, out: Path) -> None:
    torch.set_num_threads(1)
    out.mkdir(exist_ok=True)
    found = learner(small(checkpoints, batch=7, micro_batch=2))  # of two processes, one has four prompts, one three
    made = batch(found)
    gradient, loss, eta, tokens = summed_gradient(found, made, watch())
    gram = sum(batch_grams(found, made).values())
    about = torch.tensor([loss, eta, len(tokens.vds), len(made.lengths)], dtype=torch.float64)
    if found.accelerator.is_main_process:
        flat = torch.cat([g.flatten() for g in gradient])
        processes = found.accelerator.num_processes
        torch.save({"gradient": flat, "about": about, "gram": gram, "processes": processes}, out / "step.pt")
    train(small(checkpoints, out=str(out / "run")))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
