"""Which prompts models can be asked: pictures that can be read, prompts that the processors take and that are short.

Every prompt is read here before the first response is sampled. Few prompts are processed, and what comes of it is kept
(`vlm.views.encoding`), so that the passes that follow do not process them again. Of many, the pictures are decoded, and
lengths are computed from the pictures' sizes where a processor can (`vlm.views.lengths`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import repeat

from cli.errors import UserError
from cli.progress import progress
from cli.visible import print_err
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.pictures.checking import readable
from vlm.pictures.picture import PictureError
from vlm.prompts.prompt import Prompt
from vlm.prompts.reading import Reading
from vlm.views.control_tokens import control_note, control_tokens
from vlm.views.lengths import Lengths
from vlm.views.view import RefusedPromptError, View, image_view, prompt_length, render

TOO_LONG = "longer than the context"
ABOVE_LIMIT = "longer than max_prompt"
BAD = "picture that cannot be read"
MANY = 1000
"""Prompts from which on progress is shown."""
FEW = 256
"""Prompts up to which each is processed."""


class NothingFitsError(UserError):
    """No prompt is left."""


@dataclass(frozen=True)
class Fitting:
    """The prompts that are kept, in order, and how many were left out by reason.

    control: how many of them hold a token in their words that chat templates steer with.
    """

    prompts: Sequence[Prompt]
    left_out: Mapping[str, int]
    control: Mapping[str, int] = field(default_factory=dict)

    def with_bad(self, n: int) -> "Fitting":
        """Return the same with `n` more prompts left out for a picture that cannot be read."""
        return replace(self, left_out={**self.left_out, BAD: self.left_out.get(BAD, 0) + n}) if n else self

    def say(self) -> None:
        """Print on stderr how many prompts were left out and why, and which hold control tokens, if any do."""
        if n := sum(self.left_out.values()):
            reasons = ", ".join(f"{reason}: {count}" for reason, count in self.left_out.items() if count)
            print_err(f"note: {n} of {n + len(self.prompts)} prompts are left out ({reasons})")
        if line := control_note(self.control, len(self.prompts)):
            print_err(line)


def fitting(
    models: Sequence[LoadedModel],
    prompts: Sequence[Prompt],
    max_response: int,
    reading: Reading,
    *,
    what: str = "prompts",
) -> Fitting:
    """Return the prompts that have room for a full response in the context of each model, and that each can read.

    Args:
        max_response: tokens of a full response.
        reading: `max_prompt`, and whether prompts whose picture is bad are left out.
        what: names the prompts in progress, which is shown where there are many.

    Raises:
        PictureError, ViewError: a picture cannot be read, a processor or a chat template refuses a prompt.
        NothingFitsError: no prompt is left.
        UserError: a template argument that no model's template has.
    """
    _refuse_unread_arguments(models, prompts)
    kept, left_out = [], Counter({TOO_LONG: 0})
    check = _Check(models, max_response, reading, tuple(Lengths(loaded.processor) for loaded in models))
    silent = nullcontext(lambda done: None)
    with (
        progress(what, len(prompts)) if len(prompts) >= MANY else silent as show,
        readable([p.images for p in prompts]) if len(prompts) > FEW else nullcontext(repeat(False)) as can_be_told,
    ):
        for number, (prompt, is_told) in enumerate(zip(prompts, can_be_told, strict=False), start=1):
            reason = check.reason(prompt, is_told)
            if reason is None:
                kept.append(prompt)
            else:
                left_out[reason] += 1
            show(number)
    if prompts and not kept:
        raise NothingFitsError(_nothing_left(left_out, max_response, reading))
    return Fitting(kept, dict(left_out), control_tokens(kept, [loaded.processor.tokenizer for loaded in models]))


def check_views(models: Sequence[LoadedModel], views: Iterable[View]) -> None:
    """Render views by each model's template, so that what one refuses is known before anything is sampled.

    Raises:
        ViewError: a template does not take a view; the prompt is named.
    """
    for view in views:
        for loaded in models:
            render(view, loaded.processor)


@dataclass(frozen=True)
class _Check:
    """What prompts are checked against; `lengths` are told by the models' processors, one each."""

    models: Sequence[LoadedModel]
    max_response: int
    reading: Reading
    lengths: Sequence[Lengths]

    def reason(self, prompt: Prompt, is_told: bool) -> str | None:
        """Why a prompt is left out; None if it is kept.

        is_told: whether its length may be told without processing it, as its pictures can be read.
        """
        longest, most = [loaded.context - self.max_response for loaded in self.models], self.reading.max_prompt
        limits, view = [*longest, *([] if most is None else [most])], image_view(prompt)
        try:
            if is_told:
                lengths = [each.count(view, limits) for each in self.lengths]
            else:
                lengths = [prompt_length(view, loaded.processor) for loaded in self.models]
        except (PictureError, RefusedPromptError):
            if not (self.reading.skip_bad and prompt.has_image):
                raise
            return BAD
        if any(length > room for length, room in zip(lengths, longest, strict=True)):
            return TOO_LONG
        return ABOVE_LIMIT if most is not None and max(lengths) > most else None


def _nothing_left(left_out: Mapping[str, int], max_response: int, reading: Reading) -> str:
    n, reason = sum(left_out.values()), max(left_out, key=lambda name: left_out[name])
    if reason == TOO_LONG:
        return (
            f"`max_response` {max_response} leaves none of the {n} prompts within the models' context;"
            " give a smaller one or shorter prompts"
        )
    if reason == ABOVE_LIMIT:
        return f"`max_prompt` {reading.max_prompt} leaves none of the {n} prompts; give a larger one or --max-pixels"
    return f"`skip_bad` leaves none of the {n} prompts: no picture can be read, leave it out to see why"


def _refuse_unread_arguments(models: Sequence[LoadedModel], prompts: Sequence[Prompt]) -> None:
    templates = "\n".join(str(loaded.processor.chat_template) for loaded in models)
    for name in sorted({name for prompt in prompts for name in prompt.template_args}):
        if not re.search(rf"\b{re.escape(name)}\b", templates):
            raise UserError(f"`chat_template_args` sets {name!r}, which no chat template here reads: leave it out")
