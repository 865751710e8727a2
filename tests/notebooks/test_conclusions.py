"""What the notebooks conclude follows from the tables: other values, other words."""

import ast
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from IPython.display import Markdown

from figures import arms, loss_dynamics
from figures.angle_bins import PAPER_CURVE_DEG, PAPER_LAST_DEG, PAPER_RANGE_DEG
from geometry.objective_settings import GAMMA, PUBLISHED_ETA
from probes.diagnosis.trial import setting_name
from stats import Interval, bins_label
from tests.notebooks import execute

N_BINS, PER_BIN = 10, 12
ANGLES = ("language_visual", "language_visual_attached", "standard_visual", "standard_language")


def written(name, cell_id, names):
    """Return the text that a cell of a notebook writes where these names are set."""
    (cell,) = (cell for cell in execute.read(name).cells if cell.id == cell_id)
    *body, last = ast.parse(cell.source).body
    names = {"Markdown": Markdown, **names}
    exec(compile(ast.Module(body, []), cell_id, "exec"), names)
    return eval(compile(ast.Expression(last.value), cell_id, "eval"), names).data


def line_of(text, word):
    """Return the one line or list item of a text that begins with a word."""
    (item,) = (item for item in text.replace("\n  ", " ").splitlines() if item.startswith(word))
    return item


def angle_tables(slope_deg, null_deg=90.0):
    """Return the names that Figure 3's reading needs: angles around 60 degrees that change by bin, and their null."""
    noise = np.random.default_rng(0).normal(0.0, 1.0, (N_BINS, PER_BIN))
    degrees = 60.0 + slope_deg * np.arange(N_BINS)[:, None] + noise
    units = {"bin": np.repeat(np.arange(N_BINS), PER_BIN), "scope": "all", "prompt_id": np.arange(N_BINS * PER_BIN)}
    bins = {"bin": np.arange(N_BINS), "scope": "all", "n_units": PER_BIN}
    for angle in ANGLES:
        units[f"angle_{angle}_deg"] = degrees.ravel()
        bins[f"angle_{angle}_mean_deg"] = degrees.mean(axis=1)
        for end, width in (("low", -1.0), ("high", 1.0)):
            bins[f"angle_{angle}_{end}_deg"] = degrees.mean(axis=1) + width
    bins |= {"angle_language_visual_null_mean_deg": null_deg, "angle_language_visual_null_std_deg": 1.0}
    by_bin = pd.DataFrame(bins).set_index("bin")
    published = {
        "PAPER_CURVE_DEG": PAPER_CURVE_DEG,
        "PAPER_LAST_DEG": PAPER_LAST_DEG,
        "PAPER_RANGE_DEG": PAPER_RANGE_DEG,
    }
    return {"angles": SimpleNamespace(units=pd.DataFrame(units)), "by_bin": by_bin, **published}


@pytest.mark.parametrize(("slope_deg", "word"), [(3.0, "rises"), (-3.0, "falls"), (0.0, "shows no sure change")])
def test_figure_3_says_what_the_angle_does(slope_deg, word):
    text = written("figure3_angles", "reading", angle_tables(slope_deg))
    assert f"**{word}**" in line_of(text, "- **Attached**")
    assert f"**{word}**" in line_of(text, "- **Detached**")


@pytest.mark.parametrize(
    ("null_deg", "counts"), [(90.0, "10 of 10 bins stand below"), (30.0, "0 of 10 bins stand below")]
)
def test_figure_3_compares_with_the_null(null_deg, counts):
    text = written("figure3_angles", "reading", angle_tables(0.0, null_deg))
    assert counts in line_of(text, "- **Compared with the null**")


def test_figure_3_says_what_standard_is_nearer_to():
    names = angle_tables(0.0)
    assert "as near to one as to the other" in line_of(written("figure3_angles", "reading", names), "- **Standard**")
    names["by_bin"].loc[9, ["angle_standard_visual_low_deg", "angle_standard_visual_high_deg"]] = (5.0, 6.0)
    assert "nearer to visual" in line_of(written("figure3_angles", "reading", names), "- **Standard**")


def study_of(counts_as):
    """Return the names that Figure 4's last reading needs, every language loss counting as one word."""
    shown = [arm for arm in loss_dynamics.USUAL if arm != "standard"]
    rows = [
        {"arm": arm, "quantity": loss, "difference": 0.1, "low": 0.0, "high": 0.2, "counts_as": counts_as[loss]}
        for arm in shown
        for loss in ("visual", "language")
    ]
    runs = {f"{arm}-0": {"objective": "vgs-lp", "gamma": 2.0, "lambda_": 0.01} for arm in shown}
    steps = pd.DataFrame({"arm": ["vgs"], "seed": [0], "update_seconds": [120.0]})
    header = {"settings": {"runs": runs}}
    full = SimpleNamespace(header=header, curves=pd.DataFrame({"step": [150]}), steps=steps)
    effects = pd.DataFrame(rows).set_index(["arm", "quantity"])
    return {"full": full, "effects": effects, "shown": shown, "arms": arms, "label": "bins 7-9"}


@pytest.mark.parametrize("word", ["higher", "lower", "undecided"])
def test_figure_4_says_what_the_effects_count_as(word):
    text = written("figure4_dynamics", "full-study-shows", study_of({"visual": "equivalent", "language": word}))
    assert f"here it counts as **{word}**" in text
    assert "visual loss **equivalent**" in text and "2 minutes" in text


def gradients(slope):
    """Return the names that Figure 7's reading needs: every column with one slope over ten measurements."""
    steps = np.arange(0, 50, 5)
    values = 1.0 + slope * steps + np.random.default_rng(1).normal(0.0, 0.01, len(steps))
    angles = ("angle_standard_visual_deg", "angle_language_visual_deg")
    columns = dict.fromkeys(("norm_standard", "norm_visual", *angles, "eta"), values)
    table = pd.DataFrame(columns, index=steps)
    return {"table": table, "STEPS": 50, "BATCH": 8, "GAMMA": GAMMA, "PUBLISHED_ETA": PUBLISHED_ETA}


@pytest.mark.parametrize(("slope", "word"), [(0.02, "rises"), (-0.02, "falls"), (0.0, "shows no sure trend")])
def test_figure_7_says_whether_a_norm_moves(slope, word):
    text = written("figure7_norms", "reading", gradients(slope))
    assert f"**{word}**" in line_of(text, "- **Norm of the standard gradient**")
    side = "inside" if slope < 0 else "outside"
    assert f"lies {side} this range" in line_of(text, "- **The eta")


def test_figure_7_says_no_trend_from_two_measurements():
    names = gradients(0.02)
    names["table"] = names["table"].iloc[:2]
    assert "too few measurements" in written("figure7_norms", "reading", names)


def decided(accuracy, loss, verdict="undecided", change=(-1.0, 1.0, 0.0)):
    """Return the decision where accuracy, every loss, and the accuracy before and after have these intervals."""
    place, losses = bins_label([7, 8, 9]), ("standard", "language", "visual")
    sure = {(place, name): Interval(*loss) for name in losses} | {"accuracy": Interval(*accuracy)}
    advice = SimpleNamespace(verdict=verdict, reasons={"verdict": "the Reason"})
    row = {
        f"accuracy_change_{end}_percent": [value] for end, value in zip(("low", "high", "mean"), change, strict=True)
    }
    changes = {"standard": SimpleNamespace(accuracy_changes=pd.DataFrame({"by": ["all"], **row}))}
    names = {"sure": sure, "advice": advice, "upper": [7, 8, 9], "LOSSES": losses, "STEPS": 3, "LR": 0.1}
    names |= {"bins_label": bins_label, "chosen": (2.0, 0.01, "detached"), "setting_name": setting_name}
    return written("steer_or_not", "decision", names | {"changes": changes})


@pytest.mark.parametrize(
    ("accuracy", "loss", "words"),
    [
        ((-1.0, 1.0, 0.0), (-0.2, -0.1, -0.15), "speaks for this setting"),
        ((-1.0, 1.0, 0.0), (0.1, 0.2, 0.15), "speaks against this setting"),
        ((-3.0, -1.0, -2.0), (-0.2, -0.1, -0.15), "speaks for this setting in one respect and against it in another"),
        ((-1.0, 1.0, 0.0), (-0.1, 0.1, 0.0), "does not tell whether this setting helps"),
    ],
)
def test_the_decision_weighs_the_training_by_its_intervals(accuracy, loss, words):
    assert words in decided(accuracy, loss)


UNSURE = (-1.0, 1.0, 0.0), (-0.1, 0.1, 0.0)


@pytest.mark.parametrize(
    ("change", "word"),
    [((-9.0, -1.0, -5.0), "lower"), ((-1.0, 1.0, 0.0), "not sure to differ"), ((1.0, 9.0, 5.0), "higher")],
)
def test_the_decision_says_what_training_did_to_accuracy(change, word):
    text = decided(*UNSURE, change=change)
    assert f"standard **{word}**" in text
    assert ("try a smaller rate" in text) == (word == "lower")


def test_the_decision_is_the_verdict():
    assert decided(*UNSURE, verdict="steer").startswith("**Steer.** The Reason.")
    assert decided(*UNSURE, verdict="do not steer").startswith("**Do not steer.**")
