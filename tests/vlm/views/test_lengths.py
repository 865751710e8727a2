"""Lengths from sizes alone equal those of processed prompts; where sizes do not suffice, the processor runs."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.vlm.views.test_encoding import PROCESSORS, llava, qwen
from vlm.pictures.picture import PictureError
from vlm.prompts.prompt import Prompt
from vlm.prompts.reading import Reading
from vlm.prompts.sources import load_prompts
from vlm.responses import fitting as fitting_module
from vlm.responses.fitting import fitting
from vlm.views import lengths
from vlm.views.lengths import Lengths
from vlm.views.view import RefusedPromptError, image_view, prompt_length

SHOWN = st.lists(st.tuples(st.integers(28, 90), st.integers(28, 90)), max_size=3)


def view(*sizes, words=1):
    parts = [{"type": "image"} for _ in sizes] + [{"type": "text", "text": " what" * words}]
    images = tuple(Image.new("RGB", size) for size in sizes)
    return image_view(Prompt("q", ({"role": "user", "content": parts},), images, "red", "", "unknown"))


@pytest.fixture
def run(monkeypatch):
    """The views that a processor was run on."""
    views = []
    monkeypatch.setattr(lengths, "prompt_length", lambda v, p: views.append(v) or prompt_length(v, p))
    return views


@pytest.mark.parametrize("name", PROCESSORS)
@given(shown=st.lists(st.tuples(SHOWN, st.integers(1, 5)), min_size=1, max_size=6))
@settings(max_examples=10)
def test_a_length_is_that_of_the_processed_prompt(name, shown):
    processor = PROCESSORS[name]()
    told = Lengths(processor, tried={n: {((1, k),) for k in range(lengths.TRIED - 1)} for n in range(4)})
    views = [view(*sizes, words=words) for sizes, words in shown]
    assert [told.count(each) for each in views] == [prompt_length(each, processor) for each in views]


def test_the_processor_is_run_on_the_first_sizes_alone(run):
    told = Lengths(qwen())
    for n in range(20):
        told.count(view((32 + n, 40)))
    assert len(run) == lengths.TRIED and told.holds


@pytest.mark.parametrize("make", [qwen, llava])
def test_a_processor_that_says_something_else_is_run_on_every_prompt(make, run, monkeypatch):
    processor = make()
    monkeypatch.setattr(
        type(processor),
        "_get_num_multimodal_tokens",
        lambda self, image_sizes: {"num_image_tokens": [3 * h + 5 * w for h, w in image_sizes]},
        raising=False,
    )
    told, views = Lengths(processor), [view((32 + n, 60 - n)) for n in range(12)]
    assert [told.count(each) for each in views] == [prompt_length(each, processor) for each in views]
    assert len(run) == 12 and not told.holds


def test_one_that_is_near_a_limit_or_narrow_is_processed(run):
    told = Lengths(qwen())
    for n in range(12):
        told.count(view((32 + n, 40)))
    run.clear()
    length = told.count(view((48, 41)))
    assert not run
    assert told.count(view((48, 41)), [length + 1]) == length and len(run) == 1
    with pytest.raises(RefusedPromptError, match="aspect ratio"):
        told.count(view((8001, 40)))


@pytest.fixture
def rows(tmp_path):
    """Forty prompts: q20 has too narrow a picture, those of q31 and q33 are cut off, q25 is long."""
    for n in range(40):
        noise = np.random.default_rng(n).integers(0, 256, (60, 60 + n, 3)).astype("uint8")
        Image.fromarray(noise if n != 20 else noise[:1].repeat(8, 1)).save(tmp_path / f"{n}.jpg")
    for n in (31, 33):
        data = (tmp_path / f"{n}.jpg").read_bytes()
        (tmp_path / f"{n}.jpg").write_bytes(data[: len(data) * 3 // 4])
    lines = [{"id": f"q{n}", "problem": "red " * (1 + 90 * (n == 25)), "image": f"{n}.jpg"} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return str(tmp_path / "rows.jsonl")


def test_what_is_kept_of_many_prompts_is_what_is_kept_of_few(pair, rows, monkeypatch):
    prompts, reading = load_prompts(rows), Reading(skip_bad=True, max_prompt=60)
    few = fitting(pair.models, prompts, 4, reading)
    monkeypatch.setattr(fitting_module, "FEW", 0)
    many = fitting(pair.models, prompts, 4, reading)
    assert many == few
    assert {p.prompt_id for p in prompts} - {p.prompt_id for p in many.prompts} == {"q20", "q25", "q31", "q33"}


@pytest.mark.parametrize(("start", "error", "named"), [(0, RefusedPromptError, "q20"), (21, PictureError, "q31")])
def test_the_first_bad_one_of_many_is_named(pair, rows, monkeypatch, start, error, named):
    monkeypatch.setattr(fitting_module, "FEW", 0)
    with pytest.raises(error, match=f"'{named}'"):
        fitting(pair.models, load_prompts(rows)[start:], 4, Reading())
