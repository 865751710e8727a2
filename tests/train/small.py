"""A run that takes seconds: the random pair, six prompts a step, responses of at most five tokens."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from accelerate import Accelerator

from train.batch import Batch, collect
from train.config import Config
from train.learner import Learner, Stopwatch
from train.prompts import prompt_source, step_seed
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.checkpoints.pair import load_pair
from vlm.responses.response import Response
from vlm.responses.scoring import view_logits
from vlm.views.view import image_view


def small(checkpoints: Path, **changes) -> Config:
    """Return the flags of a small run."""
    config = Config(
        student=str(checkpoints / "student"),
        teacher=str(checkpoints / "teacher"),
        batch=6,
        micro_batch=6,
        max_response=5,
        held_out=4,
        steps=4,
        evaluate_every=2,
        geometry_every=3,
        checkpoint_every=3,
        allow_truncated=True,
    )
    return replace(config, **changes)


def learner(config: Config) -> Learner:
    """Return a fresh student of `config`."""
    pair = load_pair(config.student, config.teacher)
    optimizer = torch.optim.AdamW(pair.student.model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    return Learner(pair, config, optimizer, Accelerator(cpu=True))


def batch(found: Learner, step: int = 0) -> Batch:
    """Return the batch of a step."""
    config = found.config
    return collect(found, prompt_source(config).at(step), step_seed(config.seed, step), watch())


def both_logits(loaded: LoadedModel, responses: Sequence[Response], n_ids: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits `[T, V]` of the image and the text view, made whole."""
    ids = [r.rollout.token_ids for r in responses]
    views = [image_view(r.prompt) for r in responses], [r.text_view for r in responses]
    image, text = (torch.cat(view_logits(loaded, view, ids, n_ids)) for view in views)
    return image, text


def watch() -> Stopwatch:
    return Stopwatch(torch.device("cpu"))


def weights(found: Learner) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in found.parameters])


def flags(config: Config) -> list[str]:
    """Return the flags that say what `config` has other than the defaults."""
    found = []
    for f in fields(Config):
        if (value := getattr(config, f.name)) != f.default:
            name = "--" + f.name.rstrip("_").replace("_", "-")
            found += [name] if value is True else [name, str(value)]
    return found
