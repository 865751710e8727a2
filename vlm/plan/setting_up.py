"""What a plan starts from: outlines of a pair, the lengths of its prompts, and what the device has."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from geometry.memory import free_bytes
from vlm.checkpoints.pair import teacher_named
from vlm.checkpoints.places import CheckpointError, first_line
from vlm.plan.inputs import Shown
from vlm.plan.outline import Outline, outline
from vlm.plan.plan import Room
from vlm.plan.work import Prompts
from vlm.prompts.prompt import Prompt
from vlm.views.lengths import Lengths
from vlm.views.view import encode_prompts, image_view, prompt_length, text_views

PROMPT_TOKENS, VISUAL_TOKENS = 320, 256
"""Of a prompt whose length is neither stated nor can be read."""
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Stated:
    """Lengths that are stated; None for what is to be read.

    prompt_tokens: of a prompt, those of its pictures among them.
    visual_tokens: those of its pictures.
    """

    prompt_tokens: int | None = None
    visual_tokens: int | None = None


def outlines(
    student: str, teacher: str | None, dtypes: tuple[str, str], attention: str = "sdpa"
) -> tuple[Outline, Outline]:
    """Return the outlines of a student and its teacher; 8-bit teachers are built in bfloat16.

    Raises:
        CheckpointError: one is no checkpoint that reads pictures, or no teacher is named.
    """
    named = teacher_named(student, teacher).checkpoint
    own, other = ("bfloat16" if dtype in ("int8", "nf4") else dtype for dtype in dtypes)
    first = outline(student, dtype=own, attention=attention)
    try:
        return first, outline(named, dtype=other, attention=attention)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace("`checkpoint`", "`teacher`", 1)) from None


def read_lengths(student: Outline, prompts: Sequence[Prompt], text_view: str) -> Prompts:
    """Return the prompts by the longest of them; only its pictures are processed, and a few that check the counting.

    Raises:
        PictureError, ViewError: a picture cannot be read, or the processor or the chat template refuses a prompt.
    """
    assert student.processor is not None
    lengths = Lengths(student.processor)
    counted = [lengths.of(image_view(prompt)) for prompt in prompts]
    longest = max(range(len(prompts)), key=counted.__getitem__)
    view, text = image_view(prompts[longest]), text_views(prompts, text_view)[longest]
    n_image, n_text = (prompt_length(each, student.processor) for each in (view, text))
    pixels = [t for t in encode_prompts([view], student.processor).values() if t.is_floating_point()]
    uneven = len(set(counted)) > 1
    return Prompts(
        Shown(n_image, max(n_image - n_text, 0), view, uneven),
        Shown(n_text, 0, text, uneven),
        len(prompts),
        sum(t.nbytes for t in pixels),
    )


def stated_lengths(stated: Stated, n: int) -> Prompts:
    """Return prompts of stated lengths, or of those that stand for what is not stated."""
    visual = VISUAL_TOKENS if stated.visual_tokens is None else stated.visual_tokens
    tokens = stated.prompt_tokens or visual + PROMPT_TOKENS - VISUAL_TOKENS
    if visual + 2 > tokens:
        raise CheckpointError(
            f"`prompt_tokens` must hold `visual_tokens` and what frames them, got {tokens} and {visual}; raise it"
        )
    return Prompts(Shown(tokens, visual), Shown(tokens - visual), n)


def device_named(asked: str) -> torch.device:
    """Return the device that is asked for, `auto` for an accelerator if there is one.

    Raises:
        CheckpointError: it is not there.
    """
    try:
        if asked == "auto":
            return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        torch.zeros(1, device=asked)
    except (RuntimeError, AssertionError) as error:
        raise CheckpointError(f"`device` {asked!r} cannot be used ({first_line(error)}); try cpu") from None
    return torch.device(asked)


def room_on(device: torch.device, free_gb: float | None = None) -> Room:
    """Return what a device has: what is free now, or `free_gb` of 10^9 bytes.

    On a CPU the memory of this process counts as free: the command that is planned takes its place.
    """
    process = resident_bytes() if device.type == "cpu" else 0
    free = free_bytes(device) + process if free_gb is None else int(free_gb * 1e9)
    return Room(device.type, free, process)


def resident_bytes() -> int:
    """Memory that this process holds now; 0 elsewhere than on Linux."""
    if not _STATUS.is_file():
        return 0
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


def threads() -> str:
    """Name the threads that rates are measured with."""
    return f"{torch.get_num_threads()} of {os.cpu_count()} threads"
