"""Numbers and verdicts of the scoreboard in words, the same on the page and in the terminal."""

import math

from probes.claims.evidence import Evidence, Unit, Verdict

_HOLDS = {Verdict.REPRODUCED: "holds", Verdict.NOT_REPRODUCED: "does not hold"}


def verdict_word(verdict: Verdict, holds: bool) -> str:
    """Return a verdict as it is read; a statement that is not the paper's holds or does not.

    >>> verdict_word(Verdict.NOT_REPRODUCED, True)
    'does not hold'
    """
    return _HOLDS.get(verdict, verdict.value) if holds else verdict.value


def interval(found: Evidence, unit: Unit) -> str:
    """Return a value with its interval.

    >>> interval(Evidence(1.24, 0.5, 2.0), Unit("points", 1))
    '1.2 [0.5, 2.0] points'
    """
    ends = "" if math.isnan(found.low) else f" [{unit.number(found.low)}, {unit.number(found.high)}]"
    return f"{unit.number(found.value)}{ends} {unit.name}".rstrip()


def seeds(found: Evidence, unit: Unit) -> str:
    """Return what a number was had from: units, scenes, and the seeds with their least and greatest.

    >>> seeds(Evidence(1, 0, 2, "40 scenes", 3, -0.5, 2.5), Unit("points", 1))
    '40 scenes; 3 seeds, -0.5 to 2.5'
    """
    words = [found.sample] if found.sample else []
    if found.n_seeds == 1:
        words.append("1 seed")
    elif found.n_seeds is not None:
        words.append(f"{found.n_seeds} seeds, {unit.number(found.least)} to {unit.number(found.greatest)}")
    return "; ".join(words)
