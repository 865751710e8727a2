"""How the sections about pairs with set gaps word a row of the table `phases`."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pandas as pd

from study.rules import GRID_SEEDS

NOTHING: Final = "\u2013"
"""In a cell without a number."""
_ORDER: Final = ("helps", "harms", "no difference", "undecided", "not judged")
_WORDS: Final = {
    "lower": "helps",
    "better": "helps",
    "higher": "harms",
    "worse": "harms",
    "equivalent": "no difference",
}


def verdict_of(row: Mapping[Any, Any]) -> str:
    """Return what a row counts as, in a reader's words."""
    return _WORDS.get(row["counts_as"], row["counts_as"])


def number(value: float, spec: str) -> str:
    """Return a number as a format says, and a dash for one that is not known.

    >>> number(0.25, "+.1f"), number(float("nan"), ".2g")
    ('+0.2', '\u2013')
    """
    return NOTHING if math.isnan(value) else f"{value:{spec}}"


def difference_cell(row: Mapping[Any, Any], digits: int) -> str:
    """Return a row's difference with its interval, if it has one."""
    spec = f"+.{digits}f"
    ends = "" if math.isnan(row["low"]) else f" [{row['low']:{spec}}, {row['high']:{spec}}]"
    return f"{number(row['difference'], spec)}{ends}"


def counted(rows: pd.DataFrame, digits: int, unit: str) -> str:
    """Return how many pairs came to what, and the range of the differences."""
    counts = Counter(map(verdict_of, rows.to_dict("records")))
    words = [f"{kind} on {counts[kind]}" for kind in _ORDER if counts[kind]]
    ends = [f"{end:+.{digits}f}" for end in (rows["difference"].min(), rows["difference"].max())]
    if len(rows) == 1:
        return f"{next(iter(counts))} on the one pair; difference {ends[0]} {unit}"
    return f"{', '.join(words)} of {len(rows)} pairs; differences {' to '.join(ends)} {unit}"


def interim(rows: pd.DataFrame) -> Iterator[str]:
    """Yield a warning if an arm has fewer seeds than the rules ask for."""
    if (fewest := int(rows["n_seeds"].min())) < len(GRID_SEEDS):
        yield f"**Interim**: the rule asks for {len(GRID_SEEDS)} seeds of each arm, and a pair here has {fewest}."
