"""Batches put together from single prompts are what the processor makes of the batch, and it runs once a prompt."""

from functools import cache
from weakref import WeakValueDictionary

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPImageProcessorPil, LlavaNextImageProcessorPil, LlavaNextProcessor, LlavaProcessor

from bundled import architecture
from tests.vlm.test_families import TEMPLATE, idefics3_member, words
from vlm.pictures.picture import Picture
from vlm.prompts.prompt import Prompt
from vlm.views.encoding import Kept, Written, batch, forgetting, memory_of, processed, single
from vlm.views.view import ViewError, encode, encode_prompts, image_view, text_view

LLAVA = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}


def llava():
    images = CLIPImageProcessorPil(size={"height": 16, "width": 16}, crop_size={"height": 16, "width": 16})
    return LlavaProcessor(images, words(), chat_template=TEMPLATE, **LLAVA)


def llava_next():
    """Pictures are cut into parts, as many as their shape asks for."""
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 16},
        crop_size={"height": 16, "width": 16},
        image_grid_pinpoints=[[16, 32], [32, 16], [32, 32]],
    )
    return LlavaNextProcessor(images, words(), chat_template=TEMPLATE, **LLAVA)


def idefics3():
    return idefics3_member()[1]


def qwen():
    """The bundled processor, with pictures as large as they are."""
    processor = architecture.processor()
    processor.image_processor.size = {"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
    return processor


PROCESSORS = {make.__name__: cache(make) for make in (qwen, llava, llava_next, idefics3)}
SIZES = ((16, 16), (48, 20), (20, 60), (64, 64))


@cache
def picture(seed, size):
    drawn = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3))
    return Picture(Image.fromarray(drawn.astype("uint8")))


def written(processor, sizes, n_words):
    view = Prompt(
        "p",
        (
            {
                "role": "user",
                "content": [{"type": "image"}] * len(sizes) + [{"type": "text", "text": "what colour " * n_words}],
            },
        ),
        tuple(picture(seed, size) for seed, size in enumerate(sizes)),
        "",
    )
    return Written(processor.apply_chat_template(list(view.messages), add_generation_prompt=True), view.images)


rows = st.lists(st.tuples(st.lists(st.sampled_from(SIZES), max_size=2), st.integers(1, 3)), min_size=1, max_size=4)


@pytest.mark.parametrize("name", PROCESSORS)
@settings(max_examples=60)
@given(rows, st.sampled_from(["left", "right"]))
def test_a_batch_is_what_the_processor_makes_of_it(name, drawn, side):
    processor = PROCESSORS[name]()
    prompts = [written(processor, sizes, n_words) for sizes, n_words in drawn]
    try:
        expected = processed(prompts, processor, side)
    except (ValueError, IndexError):  # such as one with more pictures beside one with fewer
        return
    found = batch(prompts, [single(one, processor) for one in prompts], processor, side)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert value.dtype == found[key].dtype and torch.equal(value, found[key]), key


@pytest.mark.parametrize("name", PROCESSORS)
def test_most_batches_are_joined(name):
    """Else the processor would run once for each pass, as it would without all this."""
    processor = PROCESSORS[name]()
    prompts = [written(processor, [SIZES[0]], n_words) for n_words in (1, 2, 3)]
    singles = [single(one, processor) for one in prompts]
    batch(prompts, singles, processor, "left")
    assert any(memory_of(processor).can_join.values())


class Counted:
    """Counts the pictures that a processor's image part is handed."""

    def __init__(self, monkeypatch, processor):
        self.pictures, part = 0, type(processor.image_processor)
        original = part.__call__

        def counting(own, images, *args, **kwargs):
            self.pictures += sum(map(len, images))
            return original(own, images, *args, **kwargs)

        monkeypatch.setattr(part, "__call__", counting)


def prompt(n, size=(32, 32)):
    content = [{"type": "image"}, {"type": "text", "text": "what colour is the circle?"}]
    return Prompt(f"p{n}", ({"role": "user", "content": content},), (picture(n, size),), "")


@pytest.fixture
def forgotten(monkeypatch):
    """Nothing is kept of processors that agree with those of a test."""
    monkeypatch.setattr("vlm.views.encoding._ALIKE", WeakValueDictionary())


def test_processors_that_agree_process_a_picture_once_for_all(monkeypatch, forgotten):
    """Those of a student and its teacher; another size of pictures or other words are not theirs."""
    alike, larger = [architecture.processor() for _ in range(2)], architecture.processor()
    larger.image_processor.size = {"shortest_edge": 64 * 64, "longest_edge": 64 * 64}
    counted = Counted(monkeypatch, larger)
    views = [image_view(prompt(n)) for n in range(3)]
    rows = [encode_prompts([view], processor) for processor in alike for view in views]
    assert counted.pictures == 3
    assert all(
        torch.equal(one["pixel_values"], other["pixel_values"]) for one, other in zip(rows[:3], rows[3:], strict=True)
    )
    assert memory_of(alike[0]) is memory_of(alike[1])
    assert len(encode_prompts(views[:1], larger)["pixel_values"]) > len(rows[0]["pixel_values"])
    assert counted.pictures == 4
    other = architecture.processor()
    other.tokenizer.add_tokens(["unheard"])
    assert memory_of(other) is not memory_of(alike[0])


def test_a_picture_is_processed_once(monkeypatch, forgotten):
    processor = architecture.processor()
    counted = Counted(monkeypatch, processor)
    views = [image_view(prompt(n)) for n in range(4)]
    for _ in range(3):
        encode_prompts(views, processor)
        encode(views, [[40, 2]] * 4, processor, [3, 4, 5, 6])
    assert counted.pictures == 4 + 4  # one by one, and once together to see that joining them is the same


def test_prompts_that_do_not_come_again_are_forgotten(monkeypatch, forgotten):
    processor = architecture.processor()
    counted = Counted(monkeypatch, processor)
    first, second = (image_view(prompt(n)) for n in range(2))
    encode_prompts([first], processor)
    kept = memory_of(processor).kept
    size = kept.size
    with forgetting([processor, processor]):
        encode_prompts([first], processor)
        encode_prompts([second], processor)
        encode_prompts([second], processor)
        assert counted.pictures == 2 and kept.size > size
    assert kept.size == size and len(kept.tensors) == 1
    encode_prompts([first], processor)
    assert counted.pictures == 2
    encode_prompts([second], processor)
    assert counted.pictures == 3


def test_settings_that_change_are_not_forgotten():
    processor = qwen()
    view = image_view(prompt(0))
    small = encode_prompts([view], processor)["pixel_values"]
    processor.image_processor.size = {"shortest_edge": 64 * 64, "longest_edge": 64 * 64}
    assert encode_prompts([view], processor)["pixel_values"].shape[0] > small.shape[0]


def test_what_is_kept_stays_within_its_bytes():
    kept = Kept(1000)
    for number in range(50):
        kept.add(bytes([number]), {"x": torch.zeros(30 + number % 7, dtype=torch.uint8)})
        assert kept.size == sum(t["x"].numel() for t in kept.tensors.values()) <= 1000
    assert len(kept.tensors) > 20
    kept.add(b"large", {"x": torch.zeros(1001, dtype=torch.uint8)})
    assert b"large" not in kept.tensors


def test_a_pass_over_more_than_fits_still_meets_some():
    """As many as are thrown out at random; throwing out the oldest would meet none."""
    kept, met = Kept(60), 0
    for number in [*range(100)] * 4:
        met += bytes([number]) in kept.tensors
        if bytes([number]) not in kept.tensors:
            kept.add(bytes([number]), {"x": torch.zeros(1, dtype=torch.uint8)})
    assert met > 60


def test_a_picture_that_the_processor_refuses_is_named():
    narrow = Picture(Image.new("RGB", (4100, 20)), "rows.jsonl, row 7")
    view = image_view(Prompt("q", prompt(0).messages, (narrow,), ""))
    with pytest.raises(ViewError, match=r"rows.jsonl, row 7, the processor refuses the prompt 'q' \(absolute aspect"):
        encode_prompts([image_view(prompt(0)), view], architecture.processor())


def test_text_views_are_kept_apart_from_image_views():
    processor = architecture.processor()
    views = [image_view(prompt(0)), text_view(prompt(0)), text_view(prompt(0), "blank")]
    found = [encode_prompts([view], processor) for view in views]
    assert "pixel_values" not in found[1]
    assert not torch.equal(found[0]["pixel_values"], found[2]["pixel_values"])
