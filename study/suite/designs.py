"""How the models of the suite are made: one ancestor, one teacher, students with set gaps.

    bundled student -> ancestor -> teacher
                       ancestor -> the students of `PAIRS`, each by a branch of its own
                                   teacher  -> the students of `GRID`, by changes of its weights

The student of a pair practises the questions in another dialect (its language gap), and then its vision tower gets
noise (its visual gap). A prior makes it expect red circles where it sees none; it conflicts with the teacher, which
expects nothing. The students of the grid are the teacher with noise in the vision tower and the language model moved
toward one that practised a dialect and a prior. Where the language model is not moved the language gap is exactly 0.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from study.suite.examples import Examples
from study.suite.practice import Practice

NOISE_SEED: Final = 1
LANGUAGE_ONLY, VISION_ONLY, BOTH, CONFLICTING = "language", "vision", "both", "conflict"
"""Kinds of pairs."""


@dataclass(frozen=True)
class Branch:
    """How a student is made from the ancestor.

    kind: which gaps it has; pairs of one kind are left out together where a diagnosis is judged.
    vision_noise: spread of the noise in the vision tower, in units of each matrix's own spread.
    layers: language layers that are kept; None for all.
    """

    about: str
    kind: str
    practice: Practice
    vision_noise: float = 0.0
    layers: tuple[int, ...] | None = None

    @property
    def recipe(self) -> dict[str, Any]:
        """What the weights depend on."""
        return {name: value for name, value in asdict(self).items() if name not in ("about", "kind")}


@dataclass(frozen=True)
class GridPoint:
    """How a student is made from the teacher.

    vision_noise: see `Branch`.
    language: how far the language model is moved toward that of `GRID_LANGUAGE`; 1 is all the way.
    """

    vision_noise: float
    language: float

    @property
    def about(self) -> str:
        """The student in words."""
        return f"the teacher with vision noise {self.vision_noise:g} and its language model moved by {self.language:g}"

    @property
    def kind(self) -> str:
        """Which gaps the student has, see `Branch`."""
        return CONFLICTING if self.language else VISION_ONLY

    @property
    def recipe(self) -> dict[str, Any]:
        """What the weights depend on."""
        return asdict(self)


ANCESTOR: Final = Practice(Examples(), steps=250, rate=1e-3)
TEACHER: Final = Practice(Examples(), steps=200, rate=1e-3)

_SAME: Final = Examples()
_DIALECT: Final = Examples(dialect=0.8)
_CONFLICT: Final = Examples(dialect=0.8, prior=0.9, withheld=0.6)
_NOISE: Final = 0.45


def _brief(examples: Examples) -> Practice:
    return Practice(examples, steps=60, rate=6e-4)


PAIRS: Final[Mapping[str, Branch]] = {
    "language": Branch("a language gap only", LANGUAGE_ONLY, _brief(_DIALECT)),
    "both": Branch("a visual and a language gap", BOTH, _brief(_DIALECT), _NOISE),
    "conflict": Branch("both gaps, and a prior that conflicts", CONFLICTING, _brief(_CONFLICT), _NOISE),
    "vision": Branch("a visual gap, and the least language gap", VISION_ONLY, _brief(_SAME), _NOISE),
    "small": Branch(
        "both gaps, two of three language layers", BOTH, Practice(_DIALECT, steps=180, rate=1e-3), _NOISE, layers=(0, 2)
    ),
}
"""Students by name, the three that are needed most first."""

GRID_LANGUAGE: Final = _brief(_CONFLICT)
"""What the language model practises that those of the grid are moved toward; its vision tower is the teacher's."""
VISION_LEVELS: Final = (0.3, 0.42, 0.49)
LANGUAGE_LEVELS: Final = (0.0, 0.7, 1.1)
GRID: Final[Mapping[str, GridPoint]] = {
    f"grid-v{visual}-l{lingual}": GridPoint(noise, moved)
    for visual, noise in enumerate(VISION_LEVELS)
    for lingual, moved in enumerate(LANGUAGE_LEVELS)
}
"""Students by name: v is the level of the visual gap, l that of the language gap."""

RATE: Final = 1e-4
STEPS: Final = 48
"""Of a run on a pair: rate times steps is at most 0.05 of the spread of the student's weights."""
RUN: Final[Mapping[str, float]] = {
    "lr": RATE,
    "batch": 32,
    "micro_batch": 32,
    "generation_batch": 100,
    "held_out": 100,
}
"""The other flags of such a run, fields of `train.config.Config`."""


def flags_of_run(steps: int = STEPS) -> dict[str, float]:
    """Return all flags of a run: gradients are measured before its first step, losses before it and after the last."""
    return {**RUN, "steps": steps, **dict.fromkeys(("geometry_every", "evaluate_every", "checkpoint_every"), steps)}
