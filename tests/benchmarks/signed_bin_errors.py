"""How far the pooled angles of signed-bins are from those of all tokens, draw by draw of the signs."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from geometry import ANGLES, Gram, Gramian, total
from probes import sampling, stages
from probes.settings import UnitOptions
from records import NULL_ANGLES
from stats import N_BINS, bootstrap_of_mean

if TYPE_CHECKING:
    from probes import Analyzer

KINDS: Final = {angle: "attached" if angle.endswith("attached") else "detached" for angle in NULL_ANGLES}
"""The angles between language and visual whose error is measured, and the name of each in columns."""


@dataclass(frozen=True)
class UnitGrams:
    """The Gram matrices of some units over all parameters.

    rows: a row for each unit, with `rollout_id`, `position`, `bin` and `prompt_id`.
    grams: `[U, 4, 4]`.
    seconds: of the processor that they took.
    """

    rows: pd.DataFrame
    grams: np.ndarray
    seconds: float

    def of(self, tokens: pd.DataFrame) -> "UnitGrams":
        """Return the units of tokens that are in `tokens`, with the bins that they have there."""
        keys = ["rollout_id", "position"]
        places = pd.Series(range(len(self.rows)), index=pd.MultiIndex.from_frame(self.rows[keys]))
        return UnitGrams(tokens, self.grams[places.loc[pd.MultiIndex.from_frame(tokens[keys])]], self.seconds)

    def pooled_deg(self) -> dict[str, np.ndarray]:
        """Return by kind of q* the angle of each bin's sum of Gram matrices, degrees `[bins]`."""
        bins = self.rows["bin"].to_numpy()
        sums = Gram(np.stack([self.grams[bins == number].sum(axis=0) for number in np.unique(bins)]))
        return {kind: sums.angle_deg(*ANGLES[angle]) for angle, kind in KINDS.items()}

    def half_widths_deg(self) -> dict[str, float]:
        """Return by kind the half-width of the 95 % interval over prompts of a pooled angle, mean over bins."""
        prompts = self.rows["prompt_id"].to_numpy(dtype=str)
        inside = [(self.rows["bin"] == number).to_numpy() for number in np.unique(self.rows["bin"])]
        widths = {}
        for angle, kind in KINDS.items():
            ends = [_interval(self.grams[chosen], prompts[chosen], angle) for chosen in inside]
            widths[kind] = float(np.mean([(high - low) / 2 for low, high in ends]))
        return widths


def _interval(grams: np.ndarray, prompts: np.ndarray, angle: str) -> tuple[float, float]:
    interval = bootstrap_of_mean(grams, prompts, lambda means: Gram(means).angle_deg(*ANGLES[angle]), n_resamples=500)
    return interval.low, interval.high


def measured(analyzer: "Analyzer", tokens: pd.DataFrame, kind: str, seed: int) -> UnitGrams:
    """Measure all units of a kind in a table of tokens.

    kind: `token`, or `signed-bin` with signs drawn by the seed.
    """
    units = stages.choose_units(tokens, UnitOptions(kind, "all"), seed)  # type: ignore[arg-type]
    engine = Gramian(analyzer.pair.student.model, analyzer.pair.student.groups)
    began = time.process_time()
    parts = [(members, total(grams).values) for members, grams in stages.unit_grams(analyzer, engine, units)]
    seconds = time.process_time() - began
    members = [unit for inside, _ in parts for unit in inside]
    names = ("rollout_id", "position", "bin", "prompt_id")
    rows = pd.DataFrame([{name: getattr(unit, name) for name in names} for unit in members])
    return UnitGrams(rows, np.concatenate([grams for _, grams in parts]), seconds)


def draws(analyzer: "Analyzer", sizes: Sequence[int], seeds: int, n_bins: int = N_BINS) -> Iterator[dict]:
    """Yield a row for each number of responses, set of so many responses, and draw of the signs.

    Sets of one size have no response in common. Each is binned as if it were all that is measured.
    """
    tokens = analyzer.tokens
    every = measured(analyzer, tokens, "token", seed=0)
    for size in sizes:
        for number in range(n_sets(size, len(analyzer.rollouts))):
            inside = tokens["rollout_id"].between(size * number, size * (number + 1) - 1)
            part = sampling.binned(tokens[inside].reset_index(drop=True), n_bins)
            exact = every.of(part)
            about: dict[str, Any] = {"responses": size, "set": number, "tokens": len(part)}
            about["token_seconds"] = every.seconds * len(part) / len(tokens)
            widths = {f"{kind}_half_width_deg": width for kind, width in exact.half_widths_deg().items()}
            for seed in range(seeds):
                signed = measured(analyzer, part, "signed-bin", seed)
                spent = {"units": len(signed.rows), "signed_seconds": signed.seconds}
                yield about | {"seed": seed} | spent | errors(exact, signed) | widths


def n_sets(size: int, responses: int, most: int = 16) -> int:
    """Return how many sets of `size` responses are measured: as many as `most` responses hold, and at least one.

    >>> [n_sets(size, 512) for size in (8, 64, 512)]
    [2, 1, 1]
    """
    return max(1, min(most, responses) // size)


def errors(exact: UnitGrams, signed: UnitGrams) -> dict[str, float]:
    """Return by kind the mean and the greatest absolute error over bins, and the mean error with its sign, degrees."""
    row = {}
    for kind, truth in exact.pooled_deg().items():
        difference = signed.pooled_deg()[kind] - truth
        row[f"{kind}_mean_deg"] = float(np.abs(difference).mean())
        row[f"{kind}_greatest_deg"] = float(np.abs(difference).max())
        row[f"{kind}_shift_deg"] = float(difference.mean())
    return row
