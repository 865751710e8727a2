"""What a plan starts from: outlines of a pair, the lengths of its prompts, and what the device has."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from cli.errors import OptionError
from geometry.memory import free_bytes
from vlm.checkpoints.configs import readable
from vlm.checkpoints.devices import device_of
from vlm.checkpoints.pair import teacher_named
from vlm.checkpoints.places import CheckpointError, Place
from vlm.checkpoints.precision import QUANTISED, settled_dtype
from vlm.plan.costs import Costs
from vlm.plan.inputs import Shown
from vlm.plan.making import make_plan
from vlm.plan.outline import Outline, outline
from vlm.plan.plan import ResourcePlan, Room
from vlm.plan.rates import Rates, measured_rates
from vlm.plan.work import Prompts, Settings, Work
from vlm.prompts.prompt import Prompt
from vlm.views.encoding import memory_of
from vlm.views.lengths import Lengths
from vlm.views.view import encode_prompts, image_view, prompt_length, text_views

PROMPT_TOKENS, VISUAL_TOKENS = 320, 256
"""Of a prompt whose length is neither stated nor can be read."""
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Stated:
    """What is stated of the prompts; None for lengths that are to be read.

    n: how many prompts there are, where they are not read.
    prompt_tokens: of a prompt, those of its pictures among them.
    visual_tokens: those of its pictures.
    """

    n: int

    prompt_tokens: int | None = None
    visual_tokens: int | None = None


def outlines(student: str, teacher: str, dtypes: tuple[str, str], attention: str = "sdpa") -> tuple[Outline, Outline]:
    """Return the outlines of a student and its teacher; one in 8 or 4 bits computes in bfloat16.

    Raises:
        CheckpointError: one is no checkpoint that reads pictures.
    """
    own, other = ("bfloat16" if dtype in QUANTISED else dtype for dtype in dtypes)
    first = outline(student, dtype=own, attention=attention)
    try:
        return first, outline(teacher, dtype=other, attention=attention)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace("`checkpoint`", "`teacher`", 1)) from None


def _base(checkpoint: str) -> Place:
    return readable(checkpoint).base


def read_lengths(student: Outline, prompts: Sequence[Prompt], text_view: str, most: int) -> Prompts:
    """Return the prompts of at most `most` tokens by the longest of them; pictures of few are processed.

    Raises:
        OptionError: none is so short.
        PictureError, ViewError: a picture cannot be read, or the processor or the chat template refuses a prompt.
    """
    assert student.processor is not None
    lengths = Lengths(student.processor)
    counted = [lengths.count(image_view(prompt)) for prompt in prompts]
    kept = [number for number, n_tokens in enumerate(counted) if n_tokens <= most]
    if not kept:
        raise _no_room(min(counted), most)
    longest = max(kept, key=counted.__getitem__)
    view, text = image_view(prompts[longest]), text_views(prompts, text_view)[longest]
    n_image, n_text = (prompt_length(each, student.processor) for each in (view, text))
    pixels = [t for t in encode_prompts([view], student.processor).values() if t.is_floating_point()]
    uneven = len({counted[number] for number in kept}) > 1
    return Prompts(
        Shown(n_image, max(n_image - n_text, 0), view, uneven, max(len(view.images), 1)),
        Shown(n_text, 0, text, uneven),
        len(kept),
        sum(t.nbytes for t in pixels),
    )


def _no_room(n_tokens: int, most: int) -> OptionError:
    return OptionError(
        f"`max_response` must leave room for a prompt in the context of both models: it leaves {max(most, 0)} tokens,"
        f" and the shortest prompt has {n_tokens}; lower it"
    )


def stated_lengths(stated: Stated, most: int) -> Prompts:
    """Return prompts of stated lengths, or of those that stand for what is not stated.

    Raises:
        OptionError: they are longer than `most`, or too short for their pictures.
    """
    visual = VISUAL_TOKENS if stated.visual_tokens is None else stated.visual_tokens
    tokens = stated.prompt_tokens or visual + PROMPT_TOKENS - VISUAL_TOKENS
    if visual + 2 > tokens:
        raise OptionError(
            f"`prompt_tokens` must hold `visual_tokens` and what frames them, got {tokens} and {visual}; raise it"
        )
    if tokens > most:
        raise _no_room(tokens, most)
    return Prompts(Shown(tokens, visual), Shown(tokens - visual), stated.n)


@dataclass(frozen=True)
class Models:
    """The models and placement that a plan is made for.

    dtypes: those in which student and teacher are loaded, never `auto`.
    """

    student: str
    teacher: str | None
    dtypes: tuple[str, str]
    device: str = "cpu"
    attention: str = "sdpa"


@dataclass(frozen=True)
class DrawnUp:
    """A plan, and what it was reckoned from."""

    plan: ResourcePlan
    costs: Costs
    rates: Rates


def draw_up(
    models: Models,
    lengths: Callable[[Outline, int], tuple[Prompts, str]],
    work: Callable[[Prompts], Work],
    settings: Settings,
    free_gb: float | None = None,
) -> DrawnUp:
    """Return the plan of some work with a pair.

    Args:
        lengths: given the student and the shorter context of both, tokens, returns the prompts and where their lengths
            are from; see `lengths_of`.
        work: what is to be done with them.
        settings: with any dtypes; those of `models` are taken.
        free_gb: see `room_on`.

    Raises:
        UserError: a config, a prompt or the device cannot be used.
    """
    device = device_of(models.device)
    named = teacher_named(models.student, models.teacher).checkpoint
    own, other = (
        settled_dtype(dtype, device, partial(_base, checkpoint))
        for dtype, checkpoint in zip(models.dtypes, (models.student, named), strict=True)
    )
    student, teacher = outlines(models.student, named, (own, other), models.attention)
    prompts, where = lengths(student, min(student.context, teacher.context))
    prompts = replace(prompts, n_kept=1 + (not _agree(student, teacher)))
    todo = work(prompts)
    costs, rates = Costs(student, teacher, prompts, todo.max_response), measured_rates(device, student.dtype)
    own, other = models.dtypes
    settings = replace(settings, dtype=own, teacher_dtype=other)
    plan = make_plan(costs, todo, settings, room_on(device, free_gb), rates)
    rated = f"{rates.flops / 1e9:.3g} GFLOP/s and {rates.bytes / 1e9:.3g} GB/s measured on {device.type}, {threads()}"
    return DrawnUp(replace(plan, notes=(where, rated, *plan.notes)), costs, rates)


def _agree(student: Outline, teacher: Outline) -> bool:
    """Whether the processors of both share what they make of prompts."""
    both = [each.processor for each in (student, teacher) if each.processor is not None]
    return len({id(memory_of(processor)) for processor in both}) < 2


def lengths_of(
    student: Outline, read: Callable[[], Sequence[Prompt]], text_view: str, most: int, stated: Stated
) -> tuple[Prompts, str]:
    """Return the lengths of the prompts, and a line that says where they are from.

    Args:
        read: returns the prompts; it is called where the student has a processor and no length is stated.
        most: tokens of the longest prompt that has room for a response; longer ones are left out.
    """
    is_stated = stated.prompt_tokens is not None or stated.visual_tokens is not None
    if student.processor is None or is_stated:
        prompts = stated_lengths(stated, most)
        where = "as stated" if is_stated else "assumed, as the student has no processor here"
    else:
        source = read()
        prompts = read_lengths(student, source, text_view, most)
        n_out = len(source) - prompts.n
        where = f"the longest of {prompts.n}, read" + (f"; {n_out} without room for a response left out" * bool(n_out))
    said = f"prompts of {prompts.image.tokens} tokens with the picture and {prompts.text.tokens} without: {where}"
    return prompts, said


def room_on(device: torch.device, free_gb: float | None = None) -> Room:
    """Return what a device has: what is free now, or `free_gb` of 10^9 bytes.

    On a CPU the memory of this process counts as free: the command that is planned takes its place.
    """
    process = resident_bytes() if device.type == "cpu" else 0
    free = free_bytes(device) + process if free_gb is None else int(min(free_gb * 1e9, 2**63))
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
