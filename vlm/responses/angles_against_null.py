"""The angle between the language and the visual gradient of a response, and what unrelated responses show.

A response's gradients are the sums over some of its tokens, with the weights that these have. The null takes the
language gradient of one response and the visual gradient of another prompt's response. Each response is compared with
its own null: the error of the mean difference is that of these differences over responses.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from geometry import Gram, UnitViews, null_grams, total
from stats import chain_order
from vlm.checkpoints.pair import Pair
from vlm.families import scopes
from vlm.responses.halving import Batches
from vlm.responses.held_views import HeldViews
from vlm.responses.response import Response
from vlm.views.view import image_view

ANGLES: Final = ("angle_language_visual", "angle_language_visual_attached")
"""The angle with q* held fixed, and with q* following the student."""


@dataclass(frozen=True)
class AgainstNull:
    """A mean angle over responses, that of unrelated responses, and how far the two are apart, in degrees."""

    angle_deg: float
    null_deg: float
    difference_deg: float
    error_deg: float
    """Standard error of the difference over responses; nan for one response."""
    n_pairs: int


def against_null(
    pair: Pair, responses: Sequence[Response], weights: Sequence[Tensor], passes: Batches, seed: int = 0
) -> dict[str, dict[str, AgainstNull]]:
    """Return for each scope and each of `ANGLES` the angle of the responses against its null.

    Responses without a weight or a picture are left out. Nothing is returned where two prompts are not left.

    Args:
        weights: of the tokens of each response, `[T]`.
        passes: responses in a forward pass of the teacher.
        seed: of the choice of pairs.

    Raises:
        TooLargeError: not even one response fits into memory.
    """
    units = [
        (response, weight.cpu())
        for response, weight in zip(responses, weights, strict=True)
        if response.prompt.has_image and bool(weight.any())
    ]
    prompts = np.array([response.prompt.prompt_id for response, _ in units], dtype=str)
    pairs = chain_order(np.zeros(len(units), dtype=int), prompts, np.random.default_rng(seed)).tolist()
    if not pairs:
        return {}
    walk = [both for first, second in pairs for both in ((first, first), (first, second))]
    with torch.enable_grad():
        grams = list(null_grams(walk, _Views(pair, units, passes), pair.student.groups))
    return {scope: _compared(grams, names) for scope, names in scopes(pair.student.groups).items() if names}


def _compared(grams: Sequence[dict[str, Gram]], names: Sequence[str]) -> dict[str, AgainstNull]:
    """The angles over some groups; `grams` are of a response with itself and with another, in turn."""
    angles = np.stack([total(gram, names).angle_deg("language", "visual") for gram in grams])  # [2 pairs, 2]
    return dict(zip(ANGLES, map(_mean, angles[0::2].T, angles[1::2].T), strict=True))


def _mean(own: np.ndarray, other: np.ndarray) -> AgainstNull:
    measured = np.isfinite(own) & np.isfinite(other)
    own, other = own[measured], other[measured]
    n = len(own)
    if not n:
        return AgainstNull(math.nan, math.nan, math.nan, math.nan, 0)
    error = float((own - other).std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return AgainstNull(float(own.mean()), float(other.mean()), float((own - other).mean()), error, n)


class _Views:
    """What the gradients of each response need, by its number."""

    def __init__(self, pair: Pair, units: Sequence[tuple[Response, Tensor]], passes: Batches) -> None:
        self._units = units
        self._held = HeldViews(pair, dict(self._responses()), passes)

    def _responses(self) -> Iterator[tuple[int, tuple]]:
        for number, (response, weights) in enumerate(self._units):
            views = image_view(response.prompt), response.text_view
            yield number, (views, response.rollout.token_ids, weights.nonzero().squeeze(1))

    def __call__(self, number: int) -> UnitViews:
        weights = self._units[number][1]
        at = weights.nonzero().squeeze(1)
        teacher = self._held.teacher(number) or self._held.teacher_run([number])[0]
        return UnitViews(*self._held.student(number), *teacher.logits(at), at, weights[at])
