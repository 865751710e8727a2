"""What the benchmark is run on: the bundled student's own responses, and random models of any size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen3VLForConditionalGeneration

from bundled import architecture
from bundled.prompts import group_prompts
from geometry import FourViews, cotangents
from tests.benchmarks.ways import Job
from vlm.checkpoints.pair import Pair, load_pair
from vlm.prompts.prompt import Prompt
from vlm.responses.rollouts import Sampling, generate
from vlm.responses.scoring import ResponseView, score
from vlm.views.view import view_pairs

SIZES = {  # with a vocabulary of 8192
    "2M": {"layers": 3, "width": 128, "heads": 4, "mlp": 352, "vision_layers": 3, "vision_width": 64},
    "4M": {"layers": 4, "width": 192, "heads": 6, "mlp": 512, "vision_layers": 4, "vision_width": 96},
    "10M": {"layers": 6, "width": 256, "heads": 8, "mlp": 704, "vision_layers": 6, "vision_width": 192},
    "30M": {"layers": 10, "width": 384, "heads": 12, "mlp": 1024, "vision_layers": 8, "vision_width": 320},
}
_GRID = 16  # patches a side: 64 visual tokens once 2 x 2 are merged
_QUESTION = 12  # tokens before and after the picture


@dataclass(frozen=True)
class Object:
    """Responses of one model.

    plain: tokens that way (a) is timed on, where not all: its time a token does not depend on which.
    repeats: rounds by default.
    """

    name: str
    jobs: list[Job]
    plain: int | None = None
    repeats: int = 5

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.jobs[0].model.parameters())

    def describe(self) -> str:
        lengths = [job.length for job in self.jobs]
        probed = sum(len(job.positions) for job in self.jobs)
        span = f"{min(lengths)} to {max(lengths)}" if min(lengths) < max(lengths) else f"{lengths[0]}"
        return (
            f"{self.name}: {self.n_parameters / 1e6:.2f}M parameters, {len(lengths)} response(s) of {span} tokens, "
            f"{probed} tokens probed"
        )


def spread(n: int, count: int | None) -> Tensor:
    """`count` places out of `n`, the last among them; all where there are no more."""
    if count is None or count >= n:
        return torch.arange(n)
    return torch.linspace(0, n - 1, count).round().long() if count > 1 else torch.tensor([n - 1])


def answered(pair: Pair, prompts: Sequence[Prompt], per_response: int | None, max_response: int = 64) -> list[Job]:
    """The student's response to each prompt."""
    views = view_pairs(prompts, "drop")
    rollouts = generate(pair.student, prompts, Sampling(max_response=max_response))
    jobs = []
    for (image, text), rollout, scored in zip(views, rollouts, score(pair, views, rollouts), strict=True):
        ids = rollout.token_ids
        image_logits, text_logits = (ResponseView(pair.student, view, ids, pair.n_ids) for view in (image, text))
        places = spread(len(ids), per_response)
        jobs.append(Job(pair.student.model, image_logits, text_logits, cotangents(scored), places))
    return jobs


def bundled(name: str, n_responses: int, per_response: int | None) -> Object:
    """The bundled student on prompts whose answer needs the picture."""
    return Object(name, answered(load_pair("bundled"), group_prompts("high", n_responses, seed=2), per_response))


def random(name: str, size: str, length: int, probed: int, vocabulary: int = 8192) -> Object:
    """A Qwen3-VL with random weights and a random response, under a teacher near it."""
    torch.manual_seed(0)
    config: Any = architecture.config(SIZES[size])
    config.text_config.vocab_size = vocabulary
    model = Qwen3VLForConditionalGeneration(config).eval()
    response = torch.randint(len(architecture.SPECIALS), vocabulary, (length,))
    image, text = (RandomView(model, response, pictured) for pictured in (True, False))
    with torch.no_grad():
        student = [view(torch.arange(length)) for view in (image, text)]
    teacher = [logits + 0.5 * torch.randn_like(logits) for logits in student]
    job = Job(model, image, text, cotangents(FourViews(*student, *teacher)), spread(length, probed))
    return Object(name, [job], plain=2, repeats=3)


class RandomView:
    """A random prompt, with or without a picture, and a response; called as `ResponseView` is."""

    def __init__(self, model: nn.Module, response: Tensor, pictured: bool) -> None:
        self._model: Any = model
        config: Any = model.config
        words = torch.arange(_QUESTION) + len(architecture.SPECIALS)
        picture = torch.full((_GRID**2 // architecture.MERGE**2 if pictured else 0,), config.image_token_id)
        ids = torch.cat([words, picture, words, response])
        self._image_id = config.image_token_id
        self._ids, self._first = ids[None], len(ids) - len(response) - 1
        self._picture = self._pixels(config.vision_config) if pictured else {}

    @staticmethod
    def _pixels(config: Any) -> dict[str, Tensor]:
        n_numbers = config.in_channels * config.temporal_patch_size * config.patch_size**2
        return {
            "pixel_values": torch.randn(_GRID**2, n_numbers),
            "image_grid_thw": torch.tensor([[1, _GRID, _GRID]]),
        }

    def __call__(self, positions: Tensor) -> Tensor:
        ids = self._ids[:, : self._first + int(positions[-1]) + 1]
        inputs = {"input_ids": ids, "mm_token_type_ids": ids.eq(self._image_id).int()}
        kept = self._first + positions
        return self._model(**inputs, **self._picture, logits_to_keep=kept, use_cache=False).logits[0]


OBJECTS: dict[str, Callable[[int], Object]] = {
    "bundled": partial(bundled, "bundled", 8),
    "bundled-all": lambda per_response: bundled("bundled-all", 3, None),
    "random-10M": lambda per_response: random("random-10M", "10M", length=512, probed=8),
    "random": lambda per_response: random("random", "30M", length=512, probed=8),
}
"""By name; each takes the number of tokens probed a response, where that is not its own."""
