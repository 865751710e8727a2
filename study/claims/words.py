"""Numbers and verdicts of the scoreboard in words, the same on the page and in the terminal."""

import math

from study.claims.evidence import Evidence, Unit, Verdict

_ANSWERS = {Verdict.REPRODUCED: "yes", Verdict.NOT_REPRODUCED: "no"}


def verdict_word(verdict: Verdict, ours: bool) -> str:
    """Return a verdict as it is read; a question of our own is answered.

    >>> verdict_word(Verdict.NOT_REPRODUCED, ours=True)
    'no'
    """
    return _ANSWERS.get(verdict, verdict.value) if ours else verdict.value


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
