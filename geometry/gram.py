"""Lengths of gradients and the angles between them, read from Gram matrices.

Four gradients are measured, `BASIS`; every other one is a combination of them:

    standard         visual + prior        arXiv:2606.00564, Eq. 2-4
    visual_attached  visual + shift        Eq. 11 where q* follows the student
    steered          standard + gamma visual + lambda gated_language, Eq. 13-18

so a `Gram` of the four answers for all. Nothing here needs torch.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np

from geometry.objective_settings import Prior

Combination = Mapping[str, float]
"""What each gradient is weighed by in a sum of gradients."""

BASIS: Final = ("visual", "prior", "language", "shift")
"""The gradients that are measured: the first two at the image view's logits, the others at the text view's."""
OBJECTIVES: Final = ("standard", "language", "visual", "prior", "shift")
"""The gradients that tables list, in their order."""
STANDARD: Final[Combination] = {"visual": 1.0, "prior": 1.0}
VISUAL_ATTACHED: Final[Combination] = {"visual": 1.0, "shift": 1.0}
COMBINATIONS: Final[Mapping[str, Combination]] = {"standard": STANDARD, "visual_attached": VISUAL_ATTACHED}
ANGLES: Final[Mapping[str, tuple[str, str]]] = {
    "angle_language_visual": ("language", "visual"),
    "angle_standard_visual": ("standard", "visual"),
    "angle_standard_language": ("standard", "language"),
    "angle_language_visual_attached": ("language", "visual_attached"),
    "angle_standard_visual_attached": ("standard", "visual_attached"),
    "angle_prior_language": ("prior", "language"),
}
"""The angles that tables list: their names, and the two gradients between which each lies."""
NEAR_STANDARD_DEG: Final = 10.0
"""Angle from the standard to the steered gradient below which steering changes little: at equal length the two steps
differ by at most 2 sin(5 degrees), 17 % of a step. The threshold is a choice of this project."""
RESOLUTION: Final = 64 * np.finfo(np.float64).eps
"""Part of the squared lengths in a sum below which a squared length is rounding."""
_SHORTEST: Final = float(np.finfo(np.float64).tiny) ** 0.5
"""Shortest length whose square float64 holds in full."""
_SLACK: Final = 0.05
"""Part by which rounding may break what holds of every Gram matrix; gradients in 16 bits come near it."""


def steered(gamma: float, lambda_: float = 0.0, *, prior: Prior = "detached") -> Combination:
    """Return the gradient of VGS with language preservation, without eta (arXiv:2606.00564, Eq. 13-18).

    Args:
        prior: whether q* follows the student in the visual term (attached).

    Raises:
        ValueError: a strength is negative or not finite, or `prior` is another.
    """
    for name, strength in (("gamma", gamma), ("lambda_", lambda_)):
        if not 0.0 <= strength < math.inf:
            raise ValueError(f"`{name}` must be at least 0 and finite, got {strength}. Give 0 to leave it out.")
    _refuse_other("prior", prior, get_args(Prior))
    weights = {"standard": 1.0, "visual": gamma, "gated_language": lambda_}
    if prior == "attached":
        weights["shift"] = gamma
    return {name: weight for name, weight in weights.items() if weight}


@dataclass(frozen=True)
class Gram:
    """The inner products `G_kl = <g_k, g_l>` of some gradients, in float64.

    A gradient is named (`"standard"`), or a combination of named ones (`{"standard": 1.0, "visual": 2.0}`). What
    depends on an inner product that is nan or infinite is nan.

    Args:
        values: `[..., m, m]`, anything that numpy reads.
        names: of the m gradients.
        resolution: relative error of a squared length that is a sum; float32 gradients that are added up have a
            larger one.

    Raises:
        ValueError: the matrix does not have one row and one column for each name, or is not symmetric; a name stands
            there twice; or the resolution is negative or not finite.
    """

    values: np.ndarray
    names: tuple[str, ...] = BASIS
    resolution: float = RESOLUTION

    def __init__(self, values: Any, names: Iterable[str] = BASIS, *, resolution: float = RESOLUTION) -> None:
        object.__setattr__(self, "values", np.asarray(values, dtype=np.float64))
        object.__setattr__(self, "names", tuple(names))
        object.__setattr__(self, "resolution", resolution)
        m = len(self.names)
        if self.values.shape[-2:] != (m, m):
            raise ValueError(
                f"`values` must be `[..., {m}, {m}]`, a row and a column for each of {', '.join(self.names)}, got"
                f" {self.values.shape}. Name the gradients in `names`."
            )
        _refuse_settings(self)

    def product(self, a: str | Combination, b: str | Combination) -> np.ndarray:
        """Return the inner product <a, b>, `[...]`; nan where it is not finite."""
        product = _form(self._weights(a), self.values, self._weights(b))
        return np.asarray(np.where(np.isfinite(product), product, np.nan))

    def norm(self, a: str | Combination) -> np.ndarray:
        """Return the length |a|, `[...]`.

        nan where the terms of a sum cancel to less than their rounding, and where the square is negative or not finite.
        """
        weights = self._weights(a)
        square = _form(weights, self.values, weights)
        if np.count_nonzero(weights) > 1:
            terms = _form(np.abs(weights), np.abs(self.values), np.abs(weights))
            square = np.where((square != 0.0) & (square < self.resolution * terms), np.nan, square)
        return np.asarray(np.sqrt(np.where((square >= 0.0) & (square < np.inf), square, np.nan)))

    def cosine(self, a: str | Combination, b: str | Combination) -> np.ndarray:
        """Return <a, b> / (|a| |b|) within [-1, 1], `[...]`.

        nan where a length is 0, unknown, or so short that its square has lost digits (1.5e-154), and where the product
        exceeds the lengths by more than rounding, as in no Gram matrix.
        """
        one, two = self.norm(a), self.norm(b)
        lengths = np.where((one >= _SHORTEST) & (two >= _SHORTEST), one, np.nan) * two
        if np.array_equal(self._weights(a), self._weights(b)):
            return np.asarray(lengths / lengths)
        cosine = self.product(a, b) / lengths
        return np.asarray(np.clip(np.where(np.abs(cosine) > 1.0 + _SLACK, np.nan, cosine), -1.0, 1.0))

    def angle_deg(self, a: str | Combination, b: str | Combination) -> np.ndarray:
        """Return the angle between two gradients, 0 to 180 degrees, `[...]`; nan, not 90, where the cosine is nan.

        Good to about 1e-6 degrees at 0 and 180, where the cosine is flat, and to rounding elsewhere.
        """
        return np.asarray(np.degrees(np.arccos(self.cosine(a, b))))

    def eta(
        self, gamma: float, *, steer: Literal["visual", "language"] = "visual", prior: Prior = "detached"
    ) -> np.ndarray:
        """Return the factor that gives the steered gradient the length of the standard one, `[...]`.

            eta(gamma) = |g_std| / |g_std + gamma g_s|        (arXiv:2606.00564, Eq. 15, 20, 23)

        with g_s the visual or the language gradient. **Inert under Adam**, which a constant factor on the loss does not
        change. It acts under SGD and against terms that it does not multiply, and a binding gradient clip takes it away
        again. The published constants, at gamma = 2: 0.41 for Qwen3-VL-2B and 0.36 for 4B.

        inf where the steered gradient alone is 0, nan where the standard one is 0 too or a length is unknown.

        Raises:
            ValueError: gamma is negative or not finite, or `steer` or `prior` is another.
        """
        _refuse_other("steer", steer, ("visual", "language"))
        toward = steered(gamma, prior=prior)
        if steer == "language":
            toward = {"standard": 1.0, "language": gamma}
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.norm("standard") / self.norm(toward))

    def angle_to_steered_deg(self, gamma: float, *, prior: Prior = "detached") -> np.ndarray:
        """Return the angle between the standard gradient and standard + gamma visual, 0 to 180 degrees, `[...]`.

        This angle is all that steering changes of a step whose length does not depend on the length of the gradient.
        Below `NEAR_STANDARD_DEG` little is to be expected of steering. With no language gap (prior = 0), or without a
        visual gradient, it is 0 for every gamma; see docs/theory.md.

        nan where one of the two gradients is 0.
        """
        return self.angle_deg("standard", steered(gamma, prior=prior))

    def __add__(self, other: "Gram") -> "Gram":
        """Return the Gram matrix of the same gradients over the parameters of both."""
        if self.names != other.names:
            raise ValueError(f"`names` must be the same, got {self.names} and {other.names}. Add like to like.")
        return Gram(self.values + other.values, self.names, resolution=max(self.resolution, other.resolution))

    def __getitem__(self, index: Any) -> "Gram":
        """Return some of a batch of Gram matrices."""
        return Gram(self.values[index], self.names, resolution=self.resolution)

    def __len__(self) -> int:
        return len(self.values)

    def _weights(self, gradient: str | Combination) -> np.ndarray:
        """The gradient as a combination of `names`, `[m]`."""
        terms = {gradient: 1.0} if isinstance(gradient, str) else gradient
        weights = np.zeros(len(self.names))
        for name, weight in terms.items():
            if name in self.names:
                weights[self.names.index(name)] += weight
            elif name in COMBINATIONS:
                weights += weight * self._weights(COMBINATIONS[name])
            else:
                allowed = ", ".join([*self.names, *COMBINATIONS])
                raise ValueError(f"a gradient must be one of {allowed}, got {name!r}. Combine these.")
        return weights


def _form(a: np.ndarray, values: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return `a^T values b`, `[...]`; products of what has no weight take no part, even where they are nan."""
    used = np.where((a != 0.0)[:, None] & (b != 0.0), values, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.einsum("k,...kl,l->...", a, used, b))


def _refuse_settings(gram: Gram) -> None:
    values, names = gram.values, gram.names
    if len(set(names)) < len(names):
        raise ValueError(f"`names` must hold each gradient once, got {', '.join(names)}. Rename the second.")
    if not 0.0 <= gram.resolution < math.inf:
        raise ValueError(
            f"`resolution` must be at least 0 and finite, got {gram.resolution}. Leave it out for float64."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.abs(values - values.swapaxes(-1, -2))
        if (apart > _SLACK * np.abs(values).max(axis=(-1, -2), keepdims=True, initial=0.0)).any():
            raise ValueError(
                "`values` must be symmetric, got inner products that depend on the order of the two gradients. "
                "Give <a, b> in both places."
            )


def _refuse_other(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}. Name one.")


def total(grams: Mapping[str, Gram], names: Iterable[str] | None = None) -> Gram:
    """Return the Gram matrix over several parameter groups; all of them by default.

    Raises:
        ValueError: a name is none of the groups, or there is none.
    """
    chosen = list(grams) if names is None else list(names)
    if not chosen or not set(chosen) <= set(grams):
        raise ValueError(f"`names` must be groups among {sorted(grams)}, got {chosen}. Name at least one.")
    first, *others = (grams[name] for name in chosen)
    return sum(others, first)
