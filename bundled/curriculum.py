"""Batches of worded examples and of labelled pictures for the recipe in `bundled.recipe`.

Every batch is a function of (seed, stage, step) alone, so that a resumed run sees the batches it would have seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from transformers import ProcessorMixin

from bundled.prompts import as_prompt
from bundled.scenes import COLOURS, SHAPES, Circles, Grid, Lines, Scene
from bundled.tasks import Example, caption, sample
from vlm.views.view import View, image_view, render, text_view

IGNORED = -100  # the label id that transformers' losses leave out


@dataclass(frozen=True)
class Mixture:
    """How a batch is drawn: the weight of each task, the share of pictures left out, the share of plain captions.

    Examples whose picture is left out keep their question and response: the text view of the model learns what can be
    guessed, and no more.
    """

    weights: Mapping[str, float]
    blind_share: float = 0.0
    caption_share: float = 0.0

    def draw(self, size: int, rng: Random) -> list[tuple[Example, bool]]:
        """Return `size` pairs of an example and whether its picture is shown."""
        n_captions = round(self.caption_share * size)
        names = rng.choices(list(self.weights), list(self.weights.values()), k=size - n_captions)
        examples = [sample(name, rng) for name in names]
        shown = [(e, e.scene is not None and rng.random() >= self.blind_share) for e in examples]
        return [(caption(rng), True) for _ in range(n_captions)] + shown


def collate(drawn: Sequence[tuple[Example, bool]], processor: ProcessorMixin) -> dict[str, Tensor]:
    """Return model inputs, right-padded, with labels on the response and its end token only."""
    end = processor.tokenizer.eos_token
    views = [_view(example, shown) for example, shown in drawn]
    responses = [example.response + end for example, _ in drawn]
    text = [render(view, processor) + response for view, response in zip(views, responses, strict=True)]
    pictures = [[picture.load() for picture in view.images] for view in views if view.images]
    images = {"images": pictures} if pictures else {}
    batch = processor(text=text, **images, return_tensors="pt", padding=True, padding_side="right")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
    for row, response in enumerate(responses):
        n_answered = len(processor.tokenizer(response)["input_ids"])
        labels[row, : int(batch["attention_mask"][row].sum()) - n_answered] = IGNORED
    return {**batch, "labels": labels}


def _view(example: Example, shown: bool) -> View:
    prompt = as_prompt(example, prompt_id="")
    return image_view(prompt) if shown else text_view(prompt)


@dataclass(frozen=True)
class PictureLabels:
    """What a linear probe is taught to read off the visual tokens; -100 where a picture has no such content.

    colour, shape: `[B, 4]`, one a cell (the last class is an empty cell); touch: `[B]`; order: `[B, 3]`.
    """

    colour: Tensor
    shape: Tensor
    touch: Tensor
    order: Tensor

    @classmethod
    def from_scenes(cls, scenes: Sequence[Scene]) -> "PictureLabels":
        cells = [_cells(scene) for scene in scenes]
        return cls(
            colour=torch.tensor([colour for colour, _ in cells]),
            shape=torch.tensor([shape for _, shape in cells]),
            touch=torch.tensor([int(s.touch) if isinstance(s, Circles) else IGNORED for s in scenes]),
            order=torch.tensor(
                [[int(a) for a in s.red_above] if isinstance(s, Lines) else [IGNORED] * 3 for s in scenes]
            ),
        )


def labelled_scenes(size: int, rng: Random) -> list[Scene]:
    """Half grids, a quarter circles, a quarter lines."""
    return [rng.choice((Grid, Grid, Circles, Lines)).sample(rng) for _ in range(size)]


def _cells(scene: Scene) -> tuple[list[int], list[int]]:
    if not isinstance(scene, Grid):
        return [IGNORED] * 4, [IGNORED] * 4
    colour, shape = [len(COLOURS)] * 4, [len(SHAPES)] * 4
    for item in scene.items:
        colour[item.cell] = list(COLOURS).index(item.colour)
        shape[item.cell] = SHAPES.index(item.shape)
    return colour, shape
