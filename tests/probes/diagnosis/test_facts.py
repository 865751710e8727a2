"""Facts among the findings: the steered angle by hand, accuracy by model and view, and what was not asked."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from geometry import Gram
from geometry.gram import BASIS
from probes import Analyzer, stages
from probes.diagnosis.facts import accuracy_rows, not_asked_rows, pooled_angle, steered_angle_row
from probes.stages.forecast import gram_of
from probes.stages.tables import gram_rows
from probes.stages.units import Unit
from records.tables.forecast import DIRECTIONS
from tests.probes.diagnosis.cases import SEES


def gradients(visual, prior):
    """The tables `grams` and `units` of units, half of each gradient's products in either of two groups."""
    vectors = np.stack([np.stack([v, p, np.ones_like(v), np.ones_like(v)]) for v, p in zip(visual, prior, strict=True)])
    products = vectors @ vectors.transpose(0, 2, 1)
    n = len(products)
    units = [Unit(number, "token", 0, f"p{number}", number, 0, {}) for number in range(n)]
    grams = gram_rows(units, {"first": Gram(products / 2), "second": Gram(products / 2)})
    return grams, pd.DataFrame(
        {"unit_id": range(n), "prompt_id": [f"p{number}" for number in range(n)], "scope": "all"}
    )


def test_the_angle_by_hand():
    """visual (1, 0), prior (0, 1): standard (1, 1) at 45 degrees; with gamma 2 (3, 1) at 18.43: 26.57 between them."""
    grams, units = gradients(np.array([[1.0, 0.0]] * 3), np.array([[0.0, 1.0]] * 3))
    result = pooled_angle(grams, units, 2.0, 0)
    assert result.estimate == pytest.approx(26.565, abs=1e-3) and result.low == pytest.approx(result.high)


def test_it_is_the_angle_of_the_mean_gram_matrix():
    """Prompts differ: the longest gradient counts most, and the interval spans what resampled prompts give."""
    visual, prior = np.array([[1.0, 0.0], [10.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 0.0]])
    grams, units = gradients(visual, prior)
    mean = np.diag([101.0 / 2, 1.0 / 2, 1.0, 1.0])
    result = pooled_angle(grams, units, 2.0, 0)
    assert result.estimate == pytest.approx(float(Gram(mean).angle_to_steered_deg(2.0)))
    assert result.low == pytest.approx(0.0, abs=1e-5) and result.high == pytest.approx(26.565, abs=1e-3)


@pytest.mark.parametrize(("length", "verdict"), [(0.1, "little to expect"), (1.0, "")])
def test_a_small_prior_leaves_little_to_expect(length, verdict):
    grams, units = gradients(np.array([[1.0, 0.0]] * 2), np.array([[0.0, length]] * 2))
    [row] = steered_angle_row("q", {"grams": grams, "units": units}, SEES, 0)
    assert row["verdict"] == verdict and ("within 10 degrees" in row["reason"]) == bool(verdict)
    assert row["measure"] == "angle between standard and standard + 2 visual" and row["unit"] == "degrees"


def test_without_the_geometry_the_forecast_tells():
    square = pd.DataFrame(np.eye(len(DIRECTIONS)), index=DIRECTIONS, columns=DIRECTIONS)
    square.loc["standard", "visual"] = square.loc["visual", "standard"] = 0.5
    table = square.stack().rename("product").rename_axis(["direction_a", "direction_b"]).reset_index()
    [row] = steered_angle_row("q", {"direction_products": table}, replace(SEES, content_nats=0.0), 0)
    assert row["value"] == pytest.approx(float(gram_of(table).angle_to_steered_deg(2.0)))
    assert "forecast" in row["reason"] and steered_angle_row("q", {}, SEES, 0) == []
    assert set(BASIS) <= set(DIRECTIONS)


def test_accuracy_by_model_and_view():
    rows = [
        {"side": side, "with_picture": seen, "prompt_id": f"p{n}", "correct": n < right}
        for (side, seen), right in {("teacher", True): 4, ("teacher", False): 1, ("student", True): 2}.items()
        for n in range(4)
    ]
    result = accuracy_rows({"picture_answers": pd.DataFrame(rows)})
    shares = {row["measure"]: row["value"] for row in result}
    assert shares == {
        "teacher, with the picture": 1.0,
        "teacher, without the picture": 0.25,
        "student, with the picture": 0.5,
    }
    assert all(row["low"] <= row["value"] <= row["high"] + 1e-9 and "4 prompts" in row["reason"] for row in result)
    assert accuracy_rows({}) == [] and accuracy_rows({"picture_answers": pd.DataFrame()}) == []


def test_what_was_not_asked_has_its_reason():
    [row] = not_asked_rows({"what real steps do": "`--skip-forecast`: no setting was tried"})
    assert (row["question"], row["measure"], row["verdict"]) == (
        "what was not asked",
        "what real steps do",
        "not asked",
    )


def test_answers_are_those_of_both_models_in_both_views(bundled_few):
    """The text view stands in for the picture: what a model answers to it is what it answers to the text view alone."""
    table = stages.picture_answer_table(bundled_few)
    asked = [prompt.prompt_id for prompt in stages.answered_prompts(bundled_few)]
    for _, rows in table.groupby(["side", "with_picture"]):
        assert rows["prompt_id"].tolist() == asked
    assert len(table) == 4 * len(asked) and set(table["side"]) == {"teacher", "student"}
    greedy = stages.answer_table(bundled_few, 0, without_image=True).set_index("prompt_id")["correct"]
    blind = table[(table["side"] == "student") & ~table["with_picture"]].set_index("prompt_id")["correct"]
    assert blind.equals(greedy.loc[asked].astype(bool))


@pytest.fixture(scope="module")
def bundled_few():
    return Analyzer("bundled", limit=8, batch=4)
