"""The models of the suite, each made once: `OUT/ancestor`, `OUT/teacher`, `OUT/NAME/student`.

A student's `pair.json` names the teacher, so that every probe and `python -m train --student OUT/NAME/student` can
use it. Models that stand there are left alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bundled import STUDENT
from bundled.folders import export, link
from cli.progress import say
from study.suite import designs
from study.suite.designs import Branch, GridPoint
from study.suite.layers import keep_layers
from study.suite.practice import Practice, practise
from study.suite.stages import made
from study.suite.weight_noise import Side, add_noise, of_side
from vlm.checkpoints.adapter_folders import weights_fingerprint
from vlm.checkpoints.checkpoint import load_model
from vlm.checkpoints.loaded_model import LoadedModel

Change = Callable[[LoadedModel], None]


class Builder:
    """The models of one suite in a folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.ancestor, self.teacher = out / "ancestor", out / "teacher"
        self.moved = out / "grid-language"

    def base(self) -> None:
        """Make the ancestor and the teacher."""
        self._practised(self.ancestor, STUDENT, designs.ANCESTOR)
        self._practised(self.teacher, self.ancestor, designs.TEACHER)

    def pair(self, name: str, branch: Branch) -> Path:
        """Make a student from the ancestor and return its folder."""

        def change(loaded: LoadedModel) -> None:
            if branch.layers is not None:
                keep_layers(loaded, branch.layers)
            practise(loaded, branch.practice, "branch")
            add_noise(loaded.model, "vision", branch.vision_noise, designs.NOISE_SEED)

        student = self.out / name / "student"
        self._made(student, self.ancestor, branch.recipe, change, linked=True)
        return student

    def point(self, name: str, point: GridPoint) -> Path:
        """Make a student from the teacher and return its folder."""
        self._practised(self.moved, self.teacher, designs.GRID_LANGUAGE, frozen="vision")

        def change(loaded: LoadedModel) -> None:
            _move_language(loaded, load_model(str(self.moved)), point.language)
            add_noise(loaded.model, "vision", point.vision_noise, designs.NOISE_SEED)

        student = self.out / name / "student"
        recipe = point.recipe | {"toward": weights_fingerprint(str(self.moved))}
        self._made(student, self.teacher, recipe, change, linked=True)
        return student

    def _practised(self, folder: Path, start: Path, practice: Practice, frozen: Side | None = None) -> None:
        """Make a model from another by practice; one side may be left as it is."""

        def change(loaded: LoadedModel) -> None:
            for parameter in of_side(loaded.model, frozen) if frozen else ():
                parameter.requires_grad_(False)
            practise(loaded, practice, folder.name)

        self._made(folder, start, asdict(practice), change)

    def _made(
        self, folder: Path, start: Path, recipe: Mapping[str, Any], change: Change, *, linked: bool = False
    ) -> None:
        """Make the model in `folder` from that in `start`."""

        def make(part: Path) -> None:
            say(f"making {folder}")
            loaded = load_model(str(start))
            change(loaded)
            export(loaded.model, loaded.processor, part)
            if linked:
                link(part, self.teacher)

        sides = {"start": start} | ({"teacher": self.teacher} if linked else {})
        made(folder, {**recipe, **{side: weights_fingerprint(str(model)) for side, model in sides.items()}}, make)


def _move_language(loaded: LoadedModel, toward: LoadedModel, share: float) -> None:
    """Move the language model of `loaded` a share of the way to that of `toward`, in place."""
    with torch.no_grad():
        pairs = zip(of_side(loaded.model, "language"), of_side(toward.model, "language"), strict=True)
        for own, other in pairs:
            own.lerp_(other, share)
