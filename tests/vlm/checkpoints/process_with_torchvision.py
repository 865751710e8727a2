"""What a process does in which torchvision is installed; `test_with_torchvision` compares.

Measures the bundled pair, trains a step and loads the run, and saves a processor with a video part.
"""

import json
from pathlib import Path

import torch
import torchvision
from transformers import Qwen3VLProcessor, Qwen3VLVideoProcessor

from bundled import architecture
from probes import vds
from tests import models
from tests.train.small import small
from train.loop import train
from vlm.checkpoints.pair import load_pair
from vlm.checkpoints.processors import load_processor
from vlm.views.view import encode_prompts, image_view


def run(checkpoints: Path, out: Path) -> None:
    """Fill the folder `out`, and print what was met as JSON: versions, classes, names."""
    torch.set_num_threads(1)
    assert vds.main(["bundled", "--limit", "2", "--out", str(out / "vds")]) == 0
    train(small(checkpoints, out=str(out / "run"), steps=1, geometry_every=0))
    trained = load_pair(str(out / "run" / "last")).student
    architecture.processor().save_pretrained(out / "video")
    images, tokenizer = architecture.processor().image_processor, architecture.tokenizer()
    video = Qwen3VLVideoProcessor(patch_size=7)
    Qwen3VLProcessor(images, tokenizer, video, chat_template=architecture.CHAT_TEMPLATE).save_pretrained(out / "video")
    trained.model.config.save_pretrained(out / "video")
    whole = load_processor(out / "video")
    pixels = encode_prompts([image_view(prompt) for prompt in models.scenes(6)], whole)["pixel_values"]
    torch.save(pixels, out / "pixels.pt")
    met = {
        "torchvision": torchvision.__version__,
        "trained": [type(trained.processor.image_processor).__name__, trained.name],
        "video": [type(whole.video_processor).__name__, whole.video_processor.patch_size],
    }
    print(json.dumps(met))
