"""The responses on which signed-bins are compared with tokens: the student's own, and two kinds of long ones."""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundled.prompts import bundled_prompts
from tests.models import STUDENT, TEACHER, write_checkpoint
from vlm.checkpoints.loaded_model import LoadedModel
from vlm.checkpoints.pair import Pair, load_pair
from vlm.prompts.prompt import Prompt
from vlm.responses.rollouts import Rollout, Sampling, generate

if TYPE_CHECKING:
    from probes import Analyzer

LENGTH = 256
"""Tokens of a long response."""


class Endless(LoadedModel):
    """A model that never draws a token that ends a response."""

    @cached_property
    def banned_ids(self) -> tuple[int, ...]:
        """Ids that sampling never draws: those of every model, and the end tokens."""
        return tuple(sorted({*super().banned_ids, *self.end_ids}))


def pictured_prompts(n: int) -> list[Prompt]:
    """Return the first `n` bundled prompts that have a picture."""
    pictured = [prompt for prompt in bundled_prompts(2 * n + 2, seed=0) if prompt.has_image]
    return pictured[:n]


def long_responses(pair: Pair, prompts: list[Prompt], length: int) -> list[Rollout]:
    """Return a response of exactly `length` tokens to each prompt, drawn by the student without end tokens."""
    student = Endless(**{field.name: getattr(pair.student, field.name) for field in fields(pair.student)})
    return generate(student, prompts, Sampling(max_response=length))


def bundled(n: int) -> "Analyzer":
    """Return the bundled pair with the student's own responses to `n` prompts that have a picture."""
    from probes import Analyzer

    return Analyzer(prompts=pictured_prompts(n), limit=n)


def bundled_long(n: int, length: int = LENGTH) -> "Analyzer":
    """Return the bundled pair with responses that go on past their end, to `length` tokens."""
    return _with_long_responses("bundled", None, n, length)


def random_long(n: int, length: int = LENGTH) -> "Analyzer":
    """Return a narrow pair with random weights and responses of `length` tokens."""
    folder = Path(tempfile.mkdtemp(prefix="signed-bins-"))
    sides = {"student": (STUDENT, 1), "teacher": (TEACHER, 2)}
    paths = {side: str(write_checkpoint(folder / side, *made)) for side, made in sides.items()}
    analyzer = _with_long_responses(paths["student"], paths["teacher"], n, length)
    weakref.finalize(analyzer, shutil.rmtree, folder)
    return analyzer


def _with_long_responses(student: str, teacher: str | None, n: int, length: int) -> "Analyzer":
    from probes import Analyzer

    prompts = pictured_prompts(n)
    rollouts = long_responses(load_pair(student, teacher), prompts, length)
    options: dict[str, Any] = {"max_response": length, "allow_truncated": True, "limit": n}
    return Analyzer(student, teacher=teacher, prompts=prompts, rollouts=rollouts, **options)


RESPONSES: Mapping[str, Callable[[int], "Analyzer"]] = {
    "bundled": bundled,
    f"bundled-{LENGTH}": partial(bundled_long, length=LENGTH),
    f"random-{LENGTH}": partial(random_long, length=LENGTH),
}
"""By name: what makes an analyzer with so many responses."""
