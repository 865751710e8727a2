"""A step's summed gradient and a whole small run; launched with one process or several by `test_processes`."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zlib import crc32

import torch

from geometry import HiddenViews, total
from tests.train.small import batch, learner, small, watch
from train import automatic
from train.batch import Batch, batches_of_step
from train.checkpoint import Progress
from train.gradients import batch_grams
from train.learner import Learner
from train.loop import train
from train.prior import frozen_prior
from train.prompts import prompt_source
from train.rollouts import MicroBatch
from train.step import summed_gradient, update
from vlm.checkpoints.loaded_model import LoadedModel
from vlm.responses.response import both_views


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


def halved_gradient(found: Learner, made: Batch) -> torch.Tensor:
    """The gradient of a batch, where memory holds one response at a time in the last process alone."""
    rank, n = found.part

    def forward(loaded: LoadedModel, responses: MicroBatch, n_ids: int, **settings: Any) -> HiddenViews:
        if rank == n - 1 and len(responses) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return both_views(loaded, responses, n_ids, **settings)

    with patch("train.step.both_views", forward):
        gradient = summed_gradient(found, made, watch()).gradient
    assert found.micro_batches.size == (1 if rank == n - 1 else 2)
    return torch.cat([g.flatten() for g in gradient])


def suppressing_gradient(checkpoints: Path) -> torch.Tensor:
    """The gradient of a step that suppresses improbable tokens, which are chosen among those of all processes."""
    found = learner(small(checkpoints, batch=7, micro_batch=2, objective="suppression"))
    return torch.cat([g.flatten() for g in summed_gradient(found, batch(found), watch()).gradient])


def strengths(checkpoints: Path) -> torch.Tensor:
    """gamma, and lambda before each of three steps, in this process; weights that are lost let lambda rise."""
    found = learner(small(checkpoints, batch=7, micro_batch=2, objective="auto", rho=3.0, lr=1e-3))
    found = replace(found, prior=frozen_prior(found.config, found.pair, None))
    progress, used = Progress(), []
    for step in range(3):
        made = batch(found)
        automatic.choose_gamma(found, progress, made)
        outcome = update(found, made, watch(), automatic.objective_of_step(found.config, progress))
        used.append(automatic.moved(found.config, progress, made, outcome).lambda_)
        if step == 0:
            with torch.no_grad():
                found.pair.student.model.get_input_embeddings().weight.mul_(3.0)
    return torch.tensor([progress.gamma, *used, progress.lambda_], dtype=torch.float64)


def main(checkpoints: Path, out: Path) -> None:
    torch.set_num_threads(1)
    out.mkdir(exist_ok=True)
    found = learner(small(checkpoints, batch=7, micro_batch=2))  # of two processes, one has four prompts, one three
    made = batch(found)
    gradient, loss, eta, tokens = summed_gradient(found, made, watch())
    gram = torch.from_numpy(total(batch_grams(found, made)).values)
    halved = halved_gradient(found, made)
    rewarded = reward_gradient(checkpoints)
    suppressing = suppressing_gradient(checkpoints)
    torch.save(strengths(checkpoints), out / f"strengths-{found.accelerator.process_index}.pt")
    about = torch.tensor([loss, eta, len(tokens.vds), len(made.lengths)], dtype=torch.float64)
    if found.accelerator.is_main_process:
        flat = torch.cat([g.flatten() for g in gradient])
        processes = found.accelerator.num_processes
        found = {
            "gradient": flat,
            "halved": halved,
            "rewarded": rewarded,
            "suppressing": suppressing,
            "about": about,
            "gram": gram,
            "processes": processes,
        }
        torch.save(found, out / "step.pt")
    train(small(checkpoints, micro_batch=3, generation_batch=3, out=str(out / "run")))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
