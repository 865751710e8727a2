"""The numbers of README.md and docs/findings.md are those of the records."""

import re
from pathlib import Path

import numpy as np
import pytest

from records import read_record
from stats.adjustment import holm
from study.rules import ALPHA, LONG_PAIRS, PRIMARY

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "figures" / "gallery"


def spoken(page):
    """Return a page's text with one space between words."""
    return re.sub(r"\s+", " ", (ROOT / page).read_text(encoding="utf-8"))


FINDINGS, README = spoken("docs/findings.md"), spoken("README.md")


def effect(record, arm, against, quantity="correct", where="high"):
    """Return the row of a record's table of differences."""
    rows = read_record(GALLERY / record).table("effects")
    [row] = rows.query("arm == @arm and against == @against and quantity == @quantity and where == @where").to_dict(
        "records"
    )
    return row


def points(row):
    """Return a difference of accuracies with its interval, as the pages write it."""
    return tuple(f"{100 * row[name]:+.1f}" for name in ("difference", "low", "high"))


PRIMARY_NAMES = {
    ("vgs", "standard"): "gamma 2 - standard",
    ("vgs-frozen", "standard"): "gamma 2 with a frozen prior - standard",
    ("vgs-lp-lambda-1", "vgs-lp-gamma-0-lambda-1"): "gamma 2, lambda 1 - gamma 0, lambda 1",
}


@pytest.mark.parametrize("contrast", PRIMARY)
def test_primary_contrasts(contrast):
    row = effect("study_average", *contrast)
    mean, low, high = points(row)
    digits = f"{row['p_holm']:.2g}" if row["p_holm"] < 0.01 else f"{row['p_holm']:.3f}"
    assert row["kind"] == "primary" and (row["n_seeds"], row["n_against"]) == (8, 8)
    assert f"| {PRIMARY_NAMES[contrast]} | {mean} ({low} to {high}) | {digits} | {row['counts_as']} |" in FINDINGS


@pytest.mark.parametrize(("arm", "words"), [("vgs", "below standard distillation"), ("vgs-frozen", "below")])
def test_the_third_finding_of_the_readme(arm, words):
    mean, low, high = (value.lstrip("-") for value in points(effect("study_average", arm, "standard")))
    assert f"{mean} points ({high} to {low}) {words}" in README


OTHERS = {
    "gamma 2 (`vgs`)": "vgs",
    "gamma 2, lambda 0.01 (`vgs-lp`)": "vgs-lp",
    "gamma 2, lambda 1": "vgs-lp-lambda-1",
    "gamma 0, lambda 1": "vgs-lp-gamma-0-lambda-1",
    "off-policy": "off-policy",
    "q\\* attached, lambda 0.01": "vgs-lp-attached",
    "GRPO": "grpo",
    "GRPO + standard, matched norm": "grpo+standard-matched",
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_arms(name):
    row = effect("study", OTHERS[name], "standard")
    mean, low, high = points(row)
    assert f"| {name} | {mean} ({low.lstrip('+')} to {high.lstrip('+')}) | {row['counts_as']} |" in FINDINGS


@pytest.mark.parametrize(("objective", "side"), [("visual", "lower"), ("language", "higher")])
def test_losses_under_steering(objective, side):
    row = effect("study_average", "vgs", "standard", objective, "bins 7-9")
    mean, *ends = (abs(row[name]) for name in ("difference", "low", "high"))
    assert row["counts_as"] == side
    assert f"{mean:.3f} nats ({min(ends):.3f} to {max(ends):.3f}) {side}" in FINDINGS
    assert effect("study_average", "vgs", "standard", "standard", "all")["counts_as"] == "equivalent"


CLAIMS = spoken("docs/claims.md")


def test_counts_of_claims():
    counts = re.findall(r"\*\*(\d+)\*\*", CLAIMS.partition("questions of our own")[0])[:5]
    assert f"| {' | '.join(counts)} |" in FINDINGS


def claimed(statement):
    """Return the figures that claims.md has for a statement, each with the ends of its interval."""
    rows = re.findall(rf"\| {re.escape(statement)} \| (-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]", CLAIMS)
    return [tuple(map(float, row)) for row in rows]


ANGLE = "mean angle of bins 7-9 minus that of bins 0-2"


@pytest.mark.parametrize(
    ("statement", "which", "digits", "words"),
    [
        (ANGLE, 0, 0, "{} degrees ({} to {}) attached"),
        (ANGLE, 1, 0, "{} ({} to {}) detached"),
        ("bin 9 minus its null, detached", 0, 1, "{} degrees ({} to {}) above this null"),
        ("standard minus initial, language loss in bins 7-9", 0, 2, "{} nats ({} to {})"),
        ("vgs minus initial, language loss in bins 7-9", 0, 2, "{} ({} to {})"),
    ],
)
def test_the_first_findings_of_the_readme(statement, which, digits, words):
    assert words.format(*(f"{value:.{digits}f}" for value in claimed(statement)[which])) in README


PAIRS = read_record(GALLERY / "phases").table("phases").query("against == 'standard'")


def counted(quantity, verdict, pairs=PAIRS):
    rows = pairs[pairs["quantity"] == quantity]
    return f"{(rows['counts_as'] == verdict).sum()} of {len(rows)}"


def test_when_steering_helps():
    without = PAIRS[PAIRS["language_gap_nats"] < 1e-6]
    assert f"In {counted('standard', 'lower')} comparisons steering lowers the standard loss" in FINDINGS
    assert f"in {counted('standard', 'higher')} it leaves it higher" in FINDINGS
    assert f"in {counted('standard', 'equivalent')} it makes no difference" in FINDINGS
    assert f"equivalent in {counted('standard', 'equivalent', without)} comparisons" in FINDINGS
    assert (
        f"better in {counted('correct', 'better')} comparisons and worse in {counted('correct', 'worse')}" in FINDINGS
    )


LONG = read_record(GALLERY / "phases_accuracy").table("phases").query("quantity == 'correct'")


@pytest.mark.parametrize("pair", LONG_PAIRS)
def test_right_answers_after_longer_runs(pair):
    rows = LONG[LONG["pair"] == pair].set_index(["arm", "against"])
    cells = [f"{rows[f'{gap}_gap_nats'].iloc[0]:.2f}" for gap in ("visual", "language")]
    cells += [f"{rows['change_against'].iloc[0]:.1f}"]
    cells += [
        f"{row['difference']:+.1f} ({row['low']:.1f} to {row['high']:.1f})"
        for _, row in rows.loc[[*PRIMARY]].iterrows()
    ]
    assert f"| {pair} | {' | '.join(cells)} |" in FINDINGS


def test_counts_of_right_answers_after_longer_runs():
    primary = LONG[[two in PRIMARY for two in zip(LONG["arm"], LONG["against"], strict=True)]]
    better, worse = (counted("correct", verdict, primary) for verdict in ("better", "worse"))
    assert f"better in {better} contrasts and worse in {worse}" in FINDINGS
    steered = LONG.query("arm == 'vgs' and against == 'standard'")
    assert (steered["counts_as"] == "better").all()
    span = f"{steered['difference'].min():.1f} to {steered['difference'].max():.1f} points"
    assert span in FINDINGS and span in README


def test_three_of_nine_count_by_holm():
    primary = LONG[[two in PRIMARY for two in zip(LONG["arm"], LONG["against"], strict=True)]]
    counts = primary[np.array(holm(primary["p"].tolist(), len(primary))) < ALPHA]
    places = {(row["pair"], PRIMARY.index((row["arm"], row["against"]))) for row in counts.to_dict("records")}
    assert places == {("both", 0), ("both", 2), ("conflict", 2)}
    assert "with Holm over the nine, three count (both: first and third, conflict: third)" in FINDINGS


def test_the_standard_loss_after_longer_runs():
    losses = read_record(GALLERY / "phases_accuracy").table("phases").query("quantity == 'standard'")
    for arm, words in (("vgs", "{:.3f} to {:.3f} nats higher"), ("vgs-frozen", "frozen prior {:.3f} to {:.3f}")):
        rows = losses[(losses["arm"] == arm) & (losses["against"] == "standard")]
        assert (rows["counts_as"] == "higher").all()
        assert words.format(rows["difference"].min(), rows["difference"].max()) in FINDINGS


def test_the_rival_of_another_rate():
    both = read_record(GALLERY / "phases_accuracy").table("phases").query("pair == 'both' and against == 'standard'")
    rival = both[both["arm"] == "standard-lr-1e-4"].set_index("quantity")
    points, nats = rival.loc["correct"], -rival.loc["standard", ["difference", "high", "low"]]
    assert f"has {points['difference']:.1f} points ({points['low']:.1f} to {points['high']:.1f}) more" in FINDINGS
    assert "{:.3f} nats lower ({:.3f} to {:.3f})".format(*nats) in FINDINGS
    steered = both[(both["arm"] == "vgs") & (both["quantity"] == "correct")]["difference"].item()
    assert points["difference"] > steered and "on one, a larger rate alone gains more" in README


def test_what_the_validation_says():
    [correlation] = re.findall(r"rank correlation (\S+ \[\S+ \S+\]) over (\d+) pairs", spoken("docs/validation.md"))[:1]
    value, low, high = re.findall(r"[\d.]+", correlation[0])
    assert f"rank correlation of {float(value):.2f} ({float(low):.2f} to {float(high):.2f})" in FINDINGS
