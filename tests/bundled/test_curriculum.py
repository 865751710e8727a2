"""Batches have labels on the response alone, and are a function of their seed."""

from random import Random

import torch

from bundled.architecture import processor
from bundled.curriculum import IGNORED, Mixture, PictureLabels, collate, labelled_scenes
from bundled.scenes import Circles, Grid, Lines
from bundled.tasks import TASKS

PROCESSOR = processor()
EVEN = dict.fromkeys(TASKS, 1.0)


def test_labels_are_the_response_and_its_end() -> None:
    drawn = Mixture(EVEN, blind_share=0.5).draw(16, Random(0))
    batch = collate(drawn, PROCESSOR)
    for row, (example, _) in enumerate(drawn):
        kept = batch["labels"][row] != IGNORED
        said = PROCESSOR.tokenizer(example.response + PROCESSOR.tokenizer.eos_token)["input_ids"]
        assert batch["labels"][row][kept].tolist() == said
        assert batch["input_ids"][row][kept].tolist() == said


def test_a_picture_left_out_leaves_no_image_token() -> None:
    drawn = Mixture(EVEN, blind_share=1.0).draw(16, Random(0))
    batch = collate(drawn, PROCESSOR)
    assert "pixel_values" not in batch
    assert not (batch["input_ids"] == PROCESSOR.image_token_id).any()


def test_a_share_of_captions_is_exact() -> None:
    drawn = Mixture(EVEN, caption_share=0.25).draw(16, Random(0))
    assert sum(example.task == "caption" for example, _ in drawn) == 4


def test_a_batch_depends_on_its_seed_alone() -> None:
    first, second = (collate(Mixture(EVEN, 0.3).draw(8, Random("x")), PROCESSOR) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_picture_labels_name_what_is_there_and_ignore_the_rest() -> None:
    scenes = labelled_scenes(64, Random(0))
    labels = PictureLabels.from_scenes(scenes)
    for row, scene in enumerate(scenes):
        assert (labels.colour[row] != IGNORED).all() == isinstance(scene, Grid)
        assert (labels.touch[row] != IGNORED) == isinstance(scene, Circles)
        if isinstance(scene, Lines):
            assert labels.order[row].tolist() == list(map(int, scene.red_above))
        if isinstance(scene, Grid):
            filled = {item.cell for item in scene.items}
            assert {cell for cell in range(4) if labels.colour[row, cell] != 4} == filled
