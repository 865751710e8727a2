"""With torchvision installed everything that loads without it loads, and gives the same numbers."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import torch
from transformers.utils import is_torchvision_available

from probes import vds
from records import read_record
from tests import models
from tests.with_torchvision import environment
from vlm.checkpoints.checkpoint import load_model
from vlm.checkpoints.processors import UnreadVideo, load_processor
from vlm.views.view import encode_prompts, image_view


@pytest.fixture(scope="module")
def process(checkpoints, tmp_path_factory):
    """What a process with torchvision printed, and the folder that it filled."""
    out = tmp_path_factory.mktemp("with_torchvision")
    code = f"from pathlib import Path\nfrom {__package__}.process_with_torchvision import run\n"
    command = [sys.executable, "-c", f"{code}run(Path({str(checkpoints)!r}), Path({str(out)!r}))"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), out


def test_the_bundled_pair_gives_the_same_tokens(process, tmp_path):
    said, out = process
    assert said["torchvision"].startswith("0.")
    assert vds.main(["bundled", "--limit", "2", "--out", str(tmp_path / "vds")]) == 0
    ours, theirs = (read_record(folder / "vds", "tokens").tables["tokens"] for folder in (tmp_path, out))
    assert len(ours) > 20
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_a_run_that_was_saved_loads_in_either_world(process):
    said, out = process
    assert said["trained"] == ["Qwen2VLImageProcessorPil", "run/last"]
    assert load_model(str(out / "run" / "last")).name == "run/last"


@pytest.mark.skipif(is_torchvision_available(), reason="torchvision is installed")
def test_a_video_part_is_used_where_torchvision_is_and_kept_where_it_is_not(process, tmp_path):
    said, out = process
    assert said["video"] == ["Qwen3VLVideoProcessor", 7]
    processor = load_processor(out / "video")
    assert isinstance(processor.video_processor, UnreadVideo) and processor.video_processor.patch_size == 7
    processor.save_pretrained(tmp_path)
    saved, again = ((folder / "processor_config.json").read_text() for folder in (out / "video", tmp_path))
    assert json.loads(saved) == json.loads(again)


def test_pixels_do_not_depend_on_torchvision(process):
    _, out = process
    views = [image_view(prompt) for prompt in models.scenes(6)]
    pixels = encode_prompts(views, load_processor(out / "video"))["pixel_values"]
    assert torch.equal(pixels, torch.load(out / "pixels.pt", weights_only=True))
