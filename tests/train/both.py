"""A step's summed gradient and a whole small run; launched with one process or several by `test_processes`."""

import sys
from pathlib import Path
from unittest.mock import patch
from zlib import crc32

import torch

from geometry import total
from tests.train.small import batch, learner, small, watch
from train.batch import batches_of_step
from train.gradients import batch_grams
from train.loop import train
from train.prompts import prompt_source
from train.step import summed_gradient


def reward_gradient(checkpoints: Path) -> torch.Tensor:
    """The gradient of the second update of a step, after the first; every other response counts as right."""
    changes = {"objective": "grpo+standard", "match_norm": True, "rollouts_per_prompt": 3, "updates": 2}
    found = learner(small(checkpoints, batch=6, micro_batch=2, lr=1e-3, clip_norm="none", **changes))
    with patch("train.batch.is_correct_any", lambda text, answers: crc32(text.encode()) % 2 == 0):
        first, second = batches_of_step(found, prompt_source(found.config).at(0), 1, watch())
    summed = summed_gradient(found, first, watch())
    with torch.no_grad():
        for parameter, gradient in zip(found.parameters, summed.gradient, strict=True):
            parameter -= 0.01 * gradient  # and not Adam, which makes a rounding error as large as a gradient
    return torch.cat([g.flatten() for g in summed_gradient(found, second, watch()).gradient])


def main(checkpoints: Path, out: Path) -> None:
    torch.set_num_threads(1)
    out.mkdir(exist_ok=True)
    found = learner(small(checkpoints, batch=7, micro_batch=2))  # of two processes, one has four prompts, one three
    made = batch(found)
    gradient, loss, eta, tokens = summed_gradient(found, made, watch())
    gram = torch.from_numpy(total(batch_grams(found, made)).values)
    rewarded = reward_gradient(checkpoints)
    about = torch.tensor([loss, eta, len(tokens.vds), len(made.lengths)], dtype=torch.float64)
    if found.accelerator.is_main_process:
        flat = torch.cat([g.flatten() for g in gradient])
        processes = found.accelerator.num_processes
        found = {"gradient": flat, "rewarded": rewarded, "about": about, "gram": gram, "processes": processes}
        torch.save(found, out / "step.pt")
    train(small(checkpoints, micro_batch=3, generation_batch=3, out=str(out / "run")))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
