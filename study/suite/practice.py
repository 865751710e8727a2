"""Training of a model on worded examples: a function of the weights, the examples and a seed alone."""

import math
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional

from bundled.curriculum import IGNORED, collate
from study.suite.examples import Examples
from vlm.checkpoints.loaded_model import LoadedModel

BATCH = 64


@dataclass(frozen=True)
class Practice:
    """One stretch of training on worded examples; the rate rises over a tenth of it, then falls along a cosine."""

    examples: Examples
    steps: int
    rate: float
    batch: int = BATCH

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        warm = min(1.0, (step + 1) / max(1.0, 0.1 * self.steps))
        return self.rate * warm * (0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * step / self.steps)))


def practise(loaded: LoadedModel, practice: Practice, seed: str) -> list[float]:
    """Train a model in place; return the loss of each step, nats per response token.

    seed: names the batches; another seed gives others.
    """
    parameters = [p for p in loaded.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.01)
    losses = []
    for step in range(practice.steps):
        for group in optimizer.param_groups:
            group["lr"] = practice.rate_at(step)
        loss = _loss(loaded, practice, Random(f"suite/{seed}/{step}"))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def _loss(loaded: LoadedModel, practice: Practice, rng: Random) -> Tensor:
    batch = collate(practice.examples.draw(practice.batch, rng), loaded.processor)
    labels = batch.pop("labels")
    logits = loaded.model(**batch).logits[:, :-1]
    return functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
