"""Write the families' random pairs and the prompts that they are checked on.
Weights are drawn wide enough for pictures and tokens to matter, and gates that begin closed are opened.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import nn
from transformers.utils import is_torchvision_available

from tests.families import llava, others, qwen, tiled
from tests.families.registry import FAMILIES
from tests.families.tokenizers import STUDENT, TEACHER

MODULES = (qwen, llava, tiled, others)
"""Those that fill `FAMILIES`."""
PROMPTS = "prompts.jsonl"
_PICTURES = {"a": (64, 64, "red", 2), "b": (120, 60, "green", 3), "c": (40, 90, "blue", 1), "d": (97, 61, "yellow", 4)}
_ASKED = (
    ("<image> What colour is the square?", "red", "a"),
    ("How many dots are there?", "3", "b"),
    ("What is 3 + 4?", "7", ""),
    ("<image> and <image> Which picture is larger, the first or the second?", "first", "bc"),
    ("<image>What colour is the square?", "blue", "c"),
    ("What is 3 + 4? <image>", "7", "d"),
)


def build(folder: Path, names: Iterable[str]) -> None:
    """Write `prompts.jsonl` and, for each family, `student` and `teacher`."""
    _write_prompts(folder)
    for name in names:
        for side, size in (("student", STUDENT), ("teacher", TEACHER)):
            torch.manual_seed(size.seed)
            model, made = FAMILIES[name].build(size)
            _widen(model, size.seed)
            model.save_pretrained(folder / name / side)
            made.save_pretrained(folder / name / side)


def can_build(name: str) -> bool:
    """Whether this environment has what a family's processor needs."""
    return is_torchvision_available() or not FAMILIES[name].torchvision


def _widen(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                wide = 0.3 if "embed" in name and parameter.ndim == 2 else min(1.2 / parameter[0].numel() ** 0.5, 0.5)
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * wide)
            elif "gate" in name and not parameter.any():
                parameter.fill_(0.5)


def _write_prompts(folder: Path) -> None:
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for name, (width, height, colour, dots) in _PICTURES.items():
        _picture(width, height, colour, dots).save(pictures / f"{name}.png")
    rows = [
        {"id": f"q{n}", "problem": asked, "answer": answer, "images": [f"pictures/{name}.png" for name in shown]}
        for n, (asked, answer, shown) in enumerate(_ASKED)
    ]
    (folder / PROMPTS).write_text("".join(json.dumps(row) + "\n" for row in rows))


def _picture(width: int, height: int, colour: str, dots: int) -> Image.Image:
    """A square of a colour, and some dots."""
    image = Image.new("RGB", (width, height), (245, 245, 240))
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 5, height // 5, width // 2, height // 2), fill=colour)
    for number in range(dots):
        x, y = width // 2 + number * width // 12, 2 * height // 3
        draw.ellipse((x, y, x + width // 14, y + height // 14), fill="black")
    return image
