"""A processor without its video part reads images and text as the whole one does."""

import torch
from transformers import Qwen3VLProcessor

from bundled import architecture
from tests import models
from vlm.processors import load_processor, without_video
from vlm.views import encode_prompts, image_view


def test_saved_and_loaded_it_gives_the_same_tensors(checkpoints):
    views = [image_view(prompt) for prompt in models.scenes(6)]
    built = encode_prompts(views, architecture.processor())
    loaded = encode_prompts(views, load_processor(checkpoints / "student"))
    assert built.keys() == loaded.keys()
    for name, value in built.items():
        assert torch.equal(value, loaded[name])


def test_the_video_part_is_all_that_goes():
    image_only = without_video(Qwen3VLProcessor)
    assert image_only.__name__ == "Qwen3VLProcessor"
    assert set(Qwen3VLProcessor.get_attributes()) - set(image_only.get_attributes()) == {"video_processor"}
    assert without_video(Qwen3VLProcessor) is image_only


def test_pixels_are_those_of_the_definition(checkpoints):
    """Normalised to [-1, 1], cut into patches, each twice in time: the first patch is the picture's corner."""
    prompt = models.scenes(1)[0]
    pixels = encode_prompts([image_view(prompt)], load_processor(checkpoints / "student"))["pixel_values"]
    side = architecture.PATCH_PX
    corner = torch.tensor(
        list(prompt.images[0].load().crop((0, 0, side, side)).convert("RGB").tobytes()), dtype=torch.float64
    )
    expected = (corner.reshape(side, side, 3).permute(2, 0, 1) / 255 - 0.5) / 0.5  # [3, side, side]
    found = pixels[0].reshape(3, 2, side, side).double()
    for moment in found.unbind(1):
        torch.testing.assert_close(moment, expected, rtol=1e-5, atol=1e-5)
