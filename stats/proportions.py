"""How sure a share of right answers is: Wilson's interval, over scenes that several seeds answered."""

from typing import Final

import numpy as np
from jaxtyping import Shaped
from numpy.typing import ArrayLike

from stats._checks import names_of, one_axis
from stats.bootstrap import Array, Interval

_Z: Final = 1.959964  # of a 95 % interval
_ROUNDING: Final = 1e-9  # by which a mean of shares may be beyond 1


def wilson(shares: ArrayLike, sizes: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper ends of Wilson's 95 % interval for shares, each of so many trials.

    Args:
        shares: numbers from 0 to 1.
        sizes: the number of trials behind each share, not necessarily whole.

    Returns:
        nan for a share of nan, and where there is no trial.

    >>> low, high = wilson(0.5, 100)
    >>> print(f"{low:.4f} {high:.4f}")
    0.4038 0.5962

    Raises:
        ValueError: a share is not from 0 to 1, or a number of trials is negative or nan.
    """
    p, n = np.asarray(shares, dtype=float), np.asarray(sizes, dtype=float)
    beyond = np.abs(p - 0.5) - 0.5
    _refuse_outside("shares", p, ~(beyond > _ROUNDING), "lie in [0, 1]", "divide percentages by 100")
    p = np.clip(p, 0.0, 1.0)
    _refuse_outside("sizes", n, n >= 0, "be at least 0", "count the trials")
    n = np.where(n > 0, n, np.nan)
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return middle - half, middle + half


def share_interval(right: Shaped[Array, " n"], scenes: Shaped[Array, " n"]) -> Interval:
    """Return the share of right answers with Wilson's 95 % interval over scenes.

    Seeds answer the same scenes, so scenes are the trials. With several seeds, a scene's mean over seeds varies less
    than one answer does; the number of trials is then n p (1 - p) / variance. With one seed that is n. Where all scenes
    have the same mean, it is taken as n.

    Args:
        right: whether each answer is right.
        scenes: the scene of each answer: numbers or strings. Each scene counts alike.

    Returns:
        nan if there is no answer, or one is nan.

    Raises:
        ValueError: an answer has no scene, or is not from 0 to 1.
    """
    answers = one_axis(right, "right")
    _refuse_outside("right", answers, ~((answers < 0) | (answers > 1)), "lie in [0, 1]", "say whether each is right")
    _, member = np.unique(names_of(scenes, len(answers), "scenes"), return_inverse=True)
    if not len(answers):
        return Interval(np.nan, np.nan, np.nan)
    means = np.bincount(member, answers) / np.bincount(member)
    mean, variance = float(means.mean()), float(means.var())
    trials = len(means) * mean * (1 - mean) / variance if variance > 0 else len(means)
    low, high = wilson(mean, trials)
    return Interval(float(low), float(high), mean)


def _refuse_outside(argument: str, numbers: np.ndarray, inside: np.ndarray, rule: str, way_out: str) -> None:
    if not inside.all():
        raise ValueError(f"`{argument}` must {rule}, got {numbers[~inside].flat[0]}: {way_out}")
