"""Short names that stand for a checkpoint or for prompts, beside folders, files and hub ids.

A package that ships a checkpoint or draws prompts registers a name when it is imported, as `bundled` does.
"""

from collections.abc import Callable
from pathlib import Path

from vlm.prompts.prompt import Prompt

DrawPrompts = Callable[[int, int], list[Prompt]]
"""Given a number of prompts and a seed, draws that many prompts; another seed gives other prompts."""

_CHECKPOINTS: dict[str, Path] = {}
_PROMPTS: dict[str, DrawPrompts] = {}
_EVALUATION_PROMPTS: dict[str, DrawPrompts] = {}


def register(name: str, *, checkpoint: Path, prompts: DrawPrompts, evaluation: DrawPrompts | None = None) -> None:
    """Let `name` stand for a student's folder and for a source of prompts.

    evaluation: draws the prompts of a last evaluation, some of each dependency group (default: `prompts`).
    """
    _CHECKPOINTS[name] = checkpoint
    _PROMPTS[name] = prompts
    _EVALUATION_PROMPTS[name] = evaluation or prompts


def resolve(checkpoint: str) -> str:
    """Return the folder that a registered name stands for; a folder or hub id as it is."""
    return str(_CHECKPOINTS.get(checkpoint, checkpoint))


def drawn_prompts(source: str) -> DrawPrompts | None:
    """Return what draws the prompts of a registered name; None for a file, a folder or a hub id."""
    return _PROMPTS.get(source)


def drawn_evaluation_prompts(source: str) -> DrawPrompts | None:
    """Return what draws a registered name's prompts of a last evaluation; None for a file, a folder or a hub id."""
    return _EVALUATION_PROMPTS.get(source)
