"""The recipe of the bundled pair: stages of training, and a run of them that can be interrupted.

The vision tower first learns to name what is in a picture through linear probes, then the whole model learns to
describe pictures in fixed words, and then to answer questions in free ones. (From the language loss of the questions
alone it stays blind for long.) Part of the pictures is always left out, so that the text view of the model is as well
trained as its image view. The student is smaller, learns the language without any picture first, and hardly practises
what it sees: it can name it in captions, not yet in answers.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional

from bundled import architecture
from bundled.curriculum import IGNORED, Mixture, PictureLabels, collate, labelled_scenes
from cli.visible import print_out

BATCH = 64
CHECKPOINT_EVERY = 100
# The tasks' weights in a batch: more of what is learnt late.
WEIGHTS = {
    "colour": 0.8,
    "shape": 0.8,
    "place": 1.0,
    "count": 1.8,
    "touch": 0.6,
    "cross": 1.5,
    "told-colour": 0.3,
    "told-count": 0.6,
    "sum-beside-picture": 0.4,
    "sum": 0.8,
    "difference": 0.4,
    "order": 1.0,
}


@dataclass(frozen=True)
class Stage:
    """One stretch of training.

    kind: `see` trains the vision tower through linear probes, `speak` the whole model on worded examples.
    blind_share: share of the questions whose picture is left out. caption_share: share of a batch that describes a
    picture in fixed words instead of answering a question. The rate rises for 50 steps, then falls along a cosine.
    """

    kind: str
    steps: int
    rate: float
    blind_share: float = 0.0
    caption_share: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """A model's sizes, its stages and the seed of its weights and batches."""

    name: str
    sizes: dict[str, int]
    stages: tuple[Stage, ...]
    seed: int


_FULL = (Stage("see", 150, 2e-3), Stage("speak", 180, 1e-3, caption_share=1.0), Stage("speak", 750, 1.5e-3, 0.15))
_BRIEF = (
    Stage("speak", 900, 1.5e-3, blind_share=1.0),
    Stage("see", 150, 2e-3),
    Stage("speak", 300, 1e-3, blind_share=1.0, caption_share=0.6),
    Stage("speak", 130, 2e-4, blind_share=0.5),
)
RECIPES = {
    "teacher": Recipe("teacher", architecture.TEACHER, _FULL, seed=0),
    "student": Recipe("student", architecture.STUDENT, _BRIEF, seed=1),
    "capacity": Recipe("capacity", architecture.STUDENT, _FULL, seed=2),
}


class Probes(nn.Module):
    """Linear readings of the four visual tokens: each cell's colour, shape and place; touching; order of lines."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.colour = nn.Linear(width, 5)
        self.shape = nn.Linear(width, 5)
        self.place = nn.Linear(width, 4)
        self.touch = nn.Linear(4 * width, 2)
        self.order = nn.Linear(4 * width, 6)

    def loss(self, tokens: Tensor, labels: PictureLabels) -> Tensor:
        """Return the summed cross entropies of the readings that `labels` has, from `tokens` `[B, 4, width]`."""
        flat = tokens.flatten(1)
        read = (
            (self.colour(tokens), labels.colour),
            (self.shape(tokens), labels.shape),
            (self.place(tokens), torch.arange(4).expand(len(tokens), 4)),
            (self.touch(flat), labels.touch),
            (self.order(flat).unflatten(1, (3, 2)), labels.order),
        )
        there = [(logits, target) for logits, target in read if (target != IGNORED).any()]
        return torch.stack([_cross_entropy(logits, target) for logits, target in there]).sum()


class Training:
    """The state of one recipe: model, probes, optimizer of the present stage, and where it stands."""

    def __init__(self, recipe: Recipe, work: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.processor = architecture.processor()
        self.model = architecture.build(recipe.sizes)
        self.probes = Probes(recipe.sizes["width"])
        self.stage, self.step = 0, 0
        self._file = work / f"{recipe.name}.state.pt"
        self.log = work / f"{recipe.name}.jsonl"
        self.optimizer = self._optimizer()

    def run(self) -> None:
        """Go through the stages from wherever the state file stands."""
        self._restore()
        while self.stage < len(self.recipe.stages):
            stage = self.recipe.stages[self.stage]
            while self.step < stage.steps:
                self._update(stage)
                self.step += 1
                if self.step % CHECKPOINT_EVERY == 0:
                    self._save()
            self.stage, self.step = self.stage + 1, 0
            self.optimizer = self._optimizer()
            self._save()

    def _update(self, stage: Stage) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = stage.rate * _schedule(self.step, stage)
        rng = Random(f"{self.recipe.name}/{self.recipe.seed}/{self.stage}/{self.step}")
        loss = self._see(rng) if stage.kind == "see" else self._speak(rng, stage)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(list(self._trained()), 1.0)
        self.optimizer.step()
        if self.step % 25 == 0:
            self._write({"kind": stage.kind, "loss_nats": round(loss.item(), 4)})

    def _see(self, rng: Random) -> Tensor:
        scenes = labelled_scenes(BATCH, rng)
        pictures = self.processor.image_processor(images=[s.draw() for s in scenes], return_tensors="pt")
        features = self.model.model.get_image_features(pictures["pixel_values"], pictures["image_grid_thw"])
        return self.probes.loss(torch.stack(list(features.pooler_output)), PictureLabels.from_scenes(scenes))

    def _speak(self, rng: Random, stage: Stage) -> Tensor:
        mixture = Mixture(WEIGHTS, stage.blind_share, stage.caption_share)
        batch = collate(mixture.draw(BATCH, rng), self.processor)
        labels = batch.pop("labels")
        return _cross_entropy(self.model(**batch).logits[:, :-1], labels[:, 1:])

    def _trained(self) -> Iterator[nn.Parameter]:
        seeing = self.stage < len(self.recipe.stages) and self.recipe.stages[self.stage].kind == "see"
        yield from self.model.model.visual.parameters() if seeing else self.model.parameters()
        if seeing:
            yield from self.probes.parameters()

    def _optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(list(self._trained()), betas=(0.9, 0.98), weight_decay=0.01)

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "probes": self.probes.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "at": (self.stage, self.step),
        }
        partial = self._file.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._file)

    def _restore(self) -> None:
        if not self._file.is_file():
            return
        state = torch.load(self._file, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.probes.load_state_dict(state["probes"])
        self.stage, self.step = state["at"]
        self.optimizer = self._optimizer()
        self.optimizer.load_state_dict(state["optimizer"])
        self._forget_lines_to_come()

    def _forget_lines_to_come(self) -> None:
        """Drop the log's lines from where this run stands on: a killed run wrote them, this one writes them again."""
        lines = [json.loads(line) for line in self.log.read_text(encoding="utf-8").split("\n") if line]
        kept = [line for line in lines if (line["stage"], line["step"]) < (self.stage, self.step)]
        self.log.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def _write(self, entry: dict[str, object]) -> None:
        line = {"stage": self.stage, "step": self.step, **entry}
        print_out(json.dumps(line))
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


def _schedule(step: int, stage: Stage) -> float:
    warm = min(1.0, (step + 1) / 50)
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / stage.steps)))


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, -2), target.flatten(), ignore_index=IGNORED)
