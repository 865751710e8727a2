"""The tables of a comparison, from made-up answers: what is counted, what is drawn, what is left out."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from probes.comparison.changes import accuracy_rows, angle_change_rows, answer_rows, example_rows
from records import ANGLES, TABLES
from stats import bootstrap_interval
from vlm.prompts.prompt import Prompt


def prompts_of(n, answer="yes"):
    """Prompts that show a picture, except every fourth."""
    image = Image.new("RGB", (8, 6), "red")
    return [
        Prompt(
            f"p{number}",
            ({"role": "user", "content": [{"type": "text", "text": f"question {number}"}]},),
            (image,) if number % 4 else (),
            answer,
            task=("count", "place")[number % 2],
            dependency="high" if number % 4 else "text",
        )
        for number in range(n)
    ]


def answered(prompts, before, after):
    sides = {"before": before, "after": after}
    frames = {
        side: pd.DataFrame({"response": [str(ok) for ok in right], "correct": right}) for side, right in sides.items()
    }
    return answer_rows(prompts, frames)


BEFORE = [True, True, True, False, False, False, False, True]
AFTER = [True, False, True, True, True, False, True, True]


def test_accuracy_is_paired_by_prompt():
    answers = answered(prompts_of(8), BEFORE, AFTER)
    TABLES["answers"].check(answers)
    rows = accuracy_rows(answers, seed=0)
    TABLES["accuracy_changes"].check(rows)
    assert list(zip(rows["by"], rows["name"], rows["n_prompts"], strict=True)) == [
        ("all", "all", 8),
        ("dependency", "text", 2),
        ("dependency", "high", 6),
        ("task", "count", 4),
        ("task", "place", 4),
    ]
    assert rows["n_gained"].tolist() == [3, 1, 2, 2, 1] and rows["n_lost"].tolist() == [1, 0, 1, 0, 1]
    assert rows["accuracy_before_mean_percent"].tolist() == pytest.approx([50, 50, 50, 50, 50])
    assert rows["accuracy_change_mean_percent"].tolist() == pytest.approx([25, 50, 100 / 6, 50, 0])
    change = 100.0 * (np.array(AFTER, dtype=float) - np.array(BEFORE, dtype=float))
    interval = bootstrap_interval(change, np.arange(8))
    ends = rows.iloc[0][["accuracy_change_low_percent", "accuracy_change_high_percent"]]
    assert ends.tolist() == pytest.approx([interval.low, interval.high])


def test_without_a_known_answer_there_is_no_verdict():
    prompts = prompts_of(4)[:2] + prompts_of(4, answer="")[2:]
    answers = answered(prompts, [False] * 4, [True, True, False, False])
    assert answers["correct_after"].tolist() == [True, True, None, None]
    rows = accuracy_rows(answers, seed=0)
    assert rows.iloc[0][["n_prompts", "n_gained"]].tolist() == [2, 2]
    assert example_rows(answers, prompts, 9, seed=0)["prompt_id"].tolist() == ["p0", "p1"]
    unknown = answered(prompts_of(2, answer=""), [False] * 2, [False] * 2)
    TABLES["accuracy_changes"].check(accuracy_rows(unknown, seed=0))
    assert accuracy_rows(unknown, seed=0).empty


@pytest.mark.parametrize(
    ("n_gained", "n_lost", "n", "kept"),
    [(9, 9, 6, (3, 3)), (9, 9, 5, (3, 2)), (9, 1, 6, (5, 1)), (1, 9, 6, (1, 5)), (2, 1, 12, (2, 1)), (4, 4, 0, (0, 0))],
)
def test_examples_are_balanced_as_far_as_there_are_some(n_gained, n_lost, n, kept):
    before = [False] * n_gained + [True] * n_lost + [True, False]
    after = [True] * n_gained + [False] * n_lost + [True, False]
    prompts = prompts_of(len(before))
    answers = answered(prompts, before, after)
    examples = example_rows(answers, prompts, n, seed=0)
    TABLES["examples"].check(examples)
    assert (examples["verdict"].eq("gained").sum(), examples["verdict"].eq("lost").sum()) == kept
    assert examples["prompt_id"].is_unique
    gained = {f"p{number}" for number in range(n_gained)}
    assert examples["prompt_id"].isin(gained).eq(examples["verdict"].eq("gained")).all()
    pd.testing.assert_frame_equal(examples, example_rows(answers, prompts, n, seed=0))


def test_examples_carry_the_picture_of_their_prompt():
    prompts = prompts_of(5)
    examples = example_rows(answered(prompts, [False] * 5, [True] * 5), prompts, 5, seed=0)
    assert examples["picture"].isna().tolist() == [True, False, False, False, True]
    picture = Image.open(io.BytesIO(examples["picture"][1]))
    assert (picture.size, picture.getpixel((0, 0))) == ((8, 6), (255, 0, 0))


def test_an_angle_that_one_side_has_not_is_left_out_of_both_means():
    units = pd.DataFrame({"prompt_id": ["p", "q", "r"], "bin": 0, "scope": "all"})
    for angle in ANGLES:
        units[f"{angle}_before_deg"], units[f"{angle}_after_deg"] = [10.0, 20.0, 90.0], [11.0, 24.0, np.nan]
    row = angle_change_rows(units, seed=0).iloc[0]
    found = [row[f"angle_prior_language_{name}_deg"] for name in ("before_mean", "after_mean", "change_mean")]
    assert found == [15.0, 17.5, 2.5] and row["n_units"] == 3
