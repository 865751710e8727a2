"""A processor without its video part reads images and text as the whole one does."""

import json
from unittest.mock import MagicMock

import pytest
import torch
import transformers
from transformers import FeatureExtractionMixin, ImageProcessingMixin, PreTrainedTokenizerBase, Qwen3VLProcessor
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.utils import is_torchvision_available

from bundled import architecture
from tests import models
from vlm.checkpoints.processors import UnreadVideo, load_processor, without_video
from vlm.views.view import encode_prompts, image_view

without_torchvision = pytest.mark.skipif(is_torchvision_available(), reason="torchvision is installed")


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


def with_a_video_part():
    """The processor classes of the installed families that have one and can be used without torchvision."""
    names = {PROCESSOR_MAPPING_NAMES.get(family) for family in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES} - {None}
    classes = (getattr(transformers, name) for name in sorted(names) if name != "PixtralProcessor")
    return [c for c in classes if "video_processor" in c.get_attributes()]


def part(name):
    """Stand in for one part of a processor: of the right kind, with any attribute."""
    kinds = {"tokenizer": PreTrainedTokenizerBase, "image": ImageProcessingMixin}
    made = MagicMock(
        side=2, start_image_token="<s>", end_image_token="</s>", context_image_token="<i>", video_token="v"
    )
    made.__class__ = next((kind for word, kind in kinds.items() if word in name), FeatureExtractionMixin)
    return made


@pytest.mark.parametrize("whole", with_a_video_part(), ids=lambda c: c.__name__)
def test_every_family_is_built_without_its_video_part(whole, monkeypatch):
    """However a constructor hands its parts on: by name, in any order, or read again once they are set."""
    monkeypatch.setattr(transformers.ProcessorMixin, "__repr__", lambda self: "")  # logged, and wants whole parts
    image_only = without_video(whole)
    assert image_only.__name__ == whole.__name__
    parts = {name: part(name) for name in image_only.get_attributes()}
    template = {"chat_template": "{{ messages }}"}
    built = image_only.from_args_and_dict(list(parts.values()), template | {"video_processor": {"side": 3}})
    assert all(getattr(built, name) is value for name, value in parts.items())
    assert isinstance(built.video_processor, UnreadVideo) and built.video_processor.any_setting is None


def test_what_the_constructor_takes_is_read_from_the_file(tmp_path):
    """A constructor's settings reach it although its parts are fewer."""
    built = without_video(transformers.LlavaOnevisionProcessor)(
        architecture.processor().image_processor,
        architecture.tokenizer(),
        None,
        num_image_tokens=77,
        chat_template="{{ messages }}",
    )
    built.save_pretrained(tmp_path)
    transformers.LlavaOnevisionConfig().save_pretrained(tmp_path)
    loaded = load_processor(tmp_path)
    assert type(loaded).__name__ == "LlavaOnevisionProcessor"
    assert (loaded.num_image_tokens, loaded.chat_template) == (77, "{{ messages }}")


@pytest.mark.parametrize("file", ["processor_config.json", "preprocessor_config.json", "tokenizer_config.json"])
def test_the_class_is_the_one_that_the_checkpoint_names(checkpoints, tmp_path, file):
    """The first of three files that names a class transformers has; the model's type says Qwen3-VL."""
    folder = models.copy_of(checkpoints / "student", tmp_path / "named")
    moved = json.loads((folder / "processor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(moved.pop("image_processor")))
    (folder / "processor_config.json").write_text("{}")
    assert type(load_processor(folder)).__name__ == "Qwen3VLProcessor"
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | {"processor_class": "Qwen2_5_VLProcessor"}))
    assert type(load_processor(folder)).__name__ == "Qwen2_5_VLProcessor"
    (folder / file).write_text(json.dumps(content | {"processor_class": "OfRemoteCode"}))
    assert type(load_processor(folder)).__name__ == "Qwen3VLProcessor"


@without_torchvision
@pytest.mark.parametrize("file", ["video_preprocessor_config.json", "preprocessor_config.json"])
def test_video_settings_of_older_layouts_are_kept(checkpoints, tmp_path, file):
    folder = models.copy_of(checkpoints / "student", tmp_path / "older")
    content = json.loads((folder / "processor_config.json").read_text())
    images = content.pop("image_processor")
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps(images | content))
    settings = json.loads((folder / file).read_text()) if (folder / file).is_file() else {"fps": 3}
    (folder / file).write_text(json.dumps(settings))
    load_processor(folder).save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "processor_config.json").read_text())
    assert saved["video_processor"] == settings


@without_torchvision
def test_a_part_that_needs_torchvision_is_refused_by_its_name(checkpoints, tmp_path):
    folder = models.copy_of(checkpoints / "student", tmp_path / "pixtral")
    path = folder / "processor_config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"processor_class": "PixtralProcessor"}))
    with pytest.raises(ImportError, match="needs torchvision; pip install torchvision"):
        load_processor(folder)
    content["image_processor"]["image_processor_type"] = "Llama4ImageProcessor"
    path.write_text(json.dumps(content))
    with pytest.raises(ImportError, match="needs torchvision; pip install torchvision"):
        load_processor(folder)


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
