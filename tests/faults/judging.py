"""What became of a hostile input: right, nan by rule, or refused; anything else fails. And which names have cases.

A case draws an input, calls a public function, and holds what comes back against a twin that is written from the
definition, in mpmath or float64. The twin also says where nan is due, and which inputs must be refused.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

REFUSED = None
"""In the place of what a twin expects: the input must be refused."""


@dataclass(frozen=True)
class Close:
    """Numbers that a result must equal within a tolerance; nan and inf must stand in the same places."""

    value: Any
    tolerance: Any = 0.0

    def check(self, got: Any, what: str) -> bool:
        """Compare, and return whether a nan was due."""
        found, value = as_array(got), np.asarray(self.value, dtype=np.float64)
        assert found.shape == value.shape, f"{what}: shape {found.shape}, not {value.shape}"
        assert (np.isnan(found) == np.isnan(value)).all(), f"{what}: nan in other places: {found} for {value}"
        rest = ~np.isnan(value)
        with np.errstate(invalid="ignore"):
            off = np.where(found == value, 0.0, np.abs(found - value))
        allowed = np.broadcast_to(np.asarray(self.tolerance, dtype=np.float64), value.shape)
        beyond = rest & ~(off <= allowed)
        assert not beyond.any(), (
            f"{what}: {found[beyond]} for {value[beyond]}, {off[beyond]} off, not {allowed[beyond]}"
        )
        return bool(np.isnan(value).any())


Expected = Sequence[Close] | None
Fuzz = Callable[[np.random.Generator], tuple[str, str]]
"""Draws one input and returns its kind and what became of it."""
CASES: dict[str, list[Fuzz]] = {}
"""The cases of each public name."""


def covers(*names: str) -> Callable[[Fuzz], Fuzz]:
    """Name what a case calls."""

    def noted(fuzz: Fuzz) -> Fuzz:
        for name in names:
            CASES.setdefault(name, []).append(fuzz)
        return fuzz

    return noted


def judge(call: Callable[[], Sequence[Any]], expected: Expected, what: str) -> str:
    """Return `right`, `nan` or `refused`.

    Raises:
        AssertionError: numbers are wrong, nan is missing or too much, a bad input passed, a good one was refused, or a
            refusal is not one line.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own parts
            got = call()
    except ValueError as refusal:
        assert expected is REFUSED, f"{what}: refused, {refusal}"
        assert "\n" not in str(refusal) and "`" in str(refusal), f"{what}: refused in the wrong words: {refusal}"
        return "refused"
    assert expected is not REFUSED, f"{what}: not refused, got {got}"
    assert len(got) == len(expected), f"{what}: {len(got)} results for {len(expected)}"
    due = [close.check(one, f"{what}, result {n}") for n, (one, close) in enumerate(zip(got, expected, strict=True))]
    return "nan" if any(due) else "right"


@dataclass
class Tally:
    """Counts of what became of inputs, by case and kind of input."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def run(self, fuzz: Fuzz, rounds: int, seed: int = 0) -> None:
        """Run a case with so many inputs; a failure names the seed that makes its input again."""
        for number in range(rounds):
            try:
                kind, outcome = fuzz(np.random.default_rng([seed, number]))
            except Exception as error:
                raise AssertionError(f"{fuzz.__name__}, seed {[seed, number]}: {error!r}") from error
            self.counts[fuzz.__name__, kind, outcome] += 1

    def lines(self) -> list[str]:
        """Return a line for each case with its counts, and one for all."""
        by_case: dict[str, Counter[str]] = {}
        kinds: dict[str, set[str]] = {}
        for (case, kind, outcome), count in self.counts.items():
            by_case.setdefault(case, Counter())[outcome] += count
            kinds.setdefault(case, set()).add(kind)
        total = sum(by_case.values(), Counter())
        shown = [(name, counts, f"{len(kinds[name])} kinds") for name, counts in sorted(by_case.items())]
        return [_line(*row) for row in [*shown, ("all", total, f"{sum(map(len, kinds.values()))} kinds")]]


def _line(name: str, counts: Counter[str], kinds: str) -> str:
    each = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("right", "nan", "refused"))
    return f"{name:32} {counts.total():6} inputs: {each}; {kinds}"


def as_array(numbers: Any) -> np.ndarray:
    """Return numbers in float64."""
    if isinstance(numbers, Tensor):
        return numbers.detach().to(torch.float64).numpy()
    return np.asarray(numbers, dtype=np.float64)


def pick(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    """Draw one of several."""
    return choices[int(rng.integers(len(choices)))]
