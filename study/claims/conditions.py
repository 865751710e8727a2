"""When does steering help? The section of the scoreboard about pairs whose gaps are set, from the record `phases`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pandas as pd

from records import RecordError, read_record
from records.record_json import RECORD
from study.claims.markdown import markdown_table
from study.rules import GRID_SEEDS

NAME: Final = "phases"
_PROBE: Final = "study.phases"
_ENDPOINT: Final = "standard"
_SEED_ORDER: Final = ("lower", "higher", "equivalent", "undecided", "not judged")
_WORDS: Final = {"lower": "helps", "higher": "harms", "equivalent": "no difference", "undecided": "undecided"}
_GAPS: Final = {
    "language_gap_nats": "language gap",
    "visual_gap_nats": "visual gap",
    "steered_deg": "angle between the standard and the steered gradient",
}
_RULES: Final = """\
Students made with set gaps, all under one teacher (`study/suite`, [cards](../study/suite/cards/README.md)). Each is
distilled by standard and by each arm below, from the same seeds and prompts. The endpoint is the change of the standard
loss in bins 7-9 over the run, on the first student's responses. *Helps* and *harms* mean that the arm lowers it more or
less than standard does: a 95 % interval of Student's t over the seeds' differences that excludes 0. *No difference*
holds by two one-sided tests with a margin of 0.02 nats. Each pair is judged by itself and unadjusted.
Command: `python -m study.suite runs/suite --grid && python -m study.phases`."""


def section(folder: Path) -> str:
    """Return the section in Markdown; empty if the folder has no record of pairs with set gaps.

    Args:
        folder: the records that claims rest on.

    Raises:
        RecordError: the record is broken, or another probe's.
    """
    if not (folder / NAME / RECORD).is_file():
        return ""
    record = read_record(folder / NAME, NAME)
    if record.header["probe"] != _PROBE:
        raise RecordError(
            f"{record.where} must be the record of `python -m {_PROBE}`, got one of {record.header['probe']}: write it"
            f" again with `python -m {_PROBE} --no-runs`"
        )
    return "\n\n".join(["## When does steering help?", *_parts(record.table(NAME))])


def _parts(table: pd.DataFrame) -> Iterator[str]:
    rows = table[table["quantity"] == _ENDPOINT]
    yield "\n".join(f"- **{arm}**: {_counted(own)}." for arm, own in rows.groupby("arm", sort=False))
    yield _RULES
    if (fewest := int(rows["n_seeds"].min())) < len(GRID_SEEDS):
        yield f"**Interim**: the rule asks for {len(GRID_SEEDS)} seeds of each arm, and a pair here has {fewest}."
    yield _pairs_table(rows)
    yield from _orders(rows)


def _counted(rows: pd.DataFrame) -> str:
    """How many pairs came to what, and the range of the differences."""
    counts = Counter(rows["counts_as"])
    words = [f"{_WORDS.get(kind, kind)} on {counts[kind]}" for kind in _SEED_ORDER if counts[kind]]
    least, greatest = rows["difference"].min(), rows["difference"].max()
    return f"{', '.join(words)} of {len(rows)} pairs; differences {least:+.4f} to {greatest:+.4f} nats"


def _pairs_table(rows: pd.DataFrame) -> str:
    arms = list(dict.fromkeys(rows["arm"]))
    titles = ("pair", "visual gap", "language gap", "angle", "standard changes by", *(f"{arm} - it" for arm in arms))
    lines = []
    for pair, members in rows.groupby("pair", sort=False):
        first = members.iloc[0]
        gaps = [f"{first[name]:.3f}" for name in ("visual_gap_nats", "language_gap_nats")]
        by_arm = {row["arm"]: row for row in members.to_dict("records")}
        cells = [_difference(by_arm[arm]) if arm in by_arm else "-" for arm in arms]
        lines.append([str(pair), *gaps, f"{first['steered_deg']:.0f}", f"{first['change_against']:+.4f}", *cells])
    return markdown_table(titles, lines) + "\n\nGaps, changes and differences in nats, angles in degrees."


def _difference(row: dict) -> str:
    ends = f" [{row['low']:+.4f}, {row['high']:+.4f}]" if row["low"] == row["low"] else ""
    return f"{row['difference']:+.4f}{ends}, {_WORDS.get(row['counts_as'], row['counts_as'])}"


def _orders(rows: pd.DataFrame) -> Iterator[str]:
    """How the differences go with the gaps and the angle, over pairs."""
    from scipy.stats import spearmanr  # half a second

    lines = []
    for arm, own in rows.groupby("arm", sort=False):
        if own["pair"].nunique() < 5:
            continue
        for name, words in _GAPS.items():
            result = spearmanr(own[name], own["difference"])
            lines.append([str(arm), words, f"{result.statistic:+.2f}", f"{result.pvalue:.2g}"])
    if lines:
        yield "Does a gap, or the angle, order the differences? Spearman's rank correlation over pairs, unadjusted:"
        yield markdown_table(("arm", "with", "rank correlation", "p"), lines)
