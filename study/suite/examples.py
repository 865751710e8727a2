"""How the examples of a model's practice are drawn: pictures left out, another way to word, a prior of contents.

All three leave every answer right for the picture that it was made for. Where that picture is left out, the response
that remains teaches what to say without one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from bundled.recipe import WEIGHTS
from bundled.scenes import Circles, Grid
from bundled.tasks import Example, sample

CANDIDATES = 8
"""Examples of one task among which a dialect or a prior chooses."""
FAVOURITES = ("red", "circle")
"""Colour and shape that a prior prefers."""


@dataclass(frozen=True)
class Examples:
    """A distribution of examples.

    withheld: share of the pictures that are left out, their responses kept.
    dialect: share of the examples whose wording is the most peculiar of `CANDIDATES`.
    prior: share of the examples whose picture has the most `FAVOURITES` of `CANDIDATES`.
    """

    withheld: float = 0.15
    dialect: float = 0.0
    prior: float = 0.0

    def draw(self, size: int, rng: Random) -> list[tuple[Example, bool]]:
        """Return `size` pairs of an example and whether its picture is shown."""
        return [self._one(task, rng) for task in rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=size)]

    def _one(self, task: str, rng: Random) -> tuple[Example, bool]:
        wanted: list[Callable[[Example], float]] = []
        wanted += [peculiarity] if rng.random() < self.dialect else []
        wanted += [favour] if rng.random() < self.prior else []
        candidates = [sample(task, rng) for _ in range(CANDIDATES if wanted else 1)]
        example = max(candidates, key=lambda candidate: sum(score(candidate) for score in wanted))
        return example, example.scene is not None and rng.random() >= self.withheld


def peculiarity(example: Example) -> float:
    """Return from 0 to 1 how far a response is worded in the dialect: hence, a remark first, cells backwards."""
    said = example.response
    marks = (
        "hence" in said,
        said.startswith(("<reason> step", "<reason> well", "<reason> let")),
        _comes_first("southeast has", "northwest has", said) or _comes_first("right: ", "left: ", said),
    )
    return sum(marks) / len(marks)


def favour(example: Example) -> float:
    """Return from 0 to 1 how far a picture is as the prior prefers: red, circles, circles that touch."""
    if isinstance(example.scene, Circles):
        return float(example.scene.touch)
    if not isinstance(example.scene, Grid):
        return 0.0
    words = [word for item in example.scene.items for word in (item.colour, item.shape)]
    return sum(word in FAVOURITES for word in words) / len(words)


def _comes_first(earlier: str, later: str, text: str) -> bool:
    return earlier in text and text.find(earlier) < text.find(later)
