"""The bundled scenes as prompts."""

from random import Random

from bundled.tasks import TASKS, Example, sample
from cli.errors import OptionError
from vlm.pictures.picture import Picture
from vlm.prompts.prompt import Prompt

# Of every ten bundled prompts, seven need the picture, two have one that the question makes needless, one has none.
_PATTERN = ("high", "high", "low", "high", "high", "text", "high", "high", "low", "high")
_EVALUATION_EIGHTHS = {"high": 6, "low": 1, "text": 1}


def bundled_prompts(n: int, seed: int) -> list[Prompt]:
    """`n` held-out prompts of all tasks in a fixed mixture; `seed` 0 is the default evaluation set."""
    turn = {"high": 0, "low": 0, "text": 0}
    prompts = []
    for number in range(n):
        group = _PATTERN[number % len(_PATTERN)]
        tasks = tasks_of(group)
        prompts.append(_held_out(tasks[turn[group] % len(tasks)], seed, number))
        turn[group] += 1
    return prompts


def group_prompts(group: str, n: int, seed: int) -> list[Prompt]:
    """`n` held-out prompts of one dependency group, its tasks in turn."""
    tasks = tasks_of(group)
    return [_held_out(tasks[number % len(tasks)], seed, number) for number in range(n)]


def evaluation_prompts(n: int, seed: int) -> list[Prompt]:
    """At most `n` held-out prompts of a last evaluation, group by group: six eighths high, one low, one text.

    Raises:
        OptionError: `n` is too small for some prompts of each group.
    """
    if n < 8:
        raise OptionError(f"`answers` must be at least 8 with the bundled prompts, for some of each group, got {n}")
    sizes = {group: n * eighths // 8 for group, eighths in _EVALUATION_EIGHTHS.items()}
    return [prompt for group, size in sizes.items() for prompt in group_prompts(group, size, seed)]


def tasks_of(group: str) -> list[str]:
    return [name for name, (dependency, _) in TASKS.items() if dependency == group]


def as_prompt(example: Example, prompt_id: str) -> Prompt:
    picture = [{"type": "image"}] if example.scene is not None else []
    message = {"role": "user", "content": [*picture, {"type": "text", "text": example.question}]}
    images = (Picture(example.scene.draw()),) if example.scene is not None else ()
    return Prompt(prompt_id, (message,), images, example.answer, example.task, example.dependency)


def _held_out(task: str, seed: int, number: int) -> Prompt:
    # The word keeps these seeds apart from those of training batches.
    return as_prompt(sample(task, Random(f"held-out/{task}/{seed}/{number}")), f"{task}-{seed}-{number}")
