"""Figure 6: accuracy as evaluated, length and reward as running means."""

from dataclasses import replace

import numpy as np
import pytest

from figures import training_curves
from figures.arms import WINDOW, running_mean
from stats import wilson
from tests.figures.lines import labels, line, panels_overlap
from tests.figures.studies import EVERY, STEPS


@pytest.fixture(scope="module")
def figure(study):
    return training_curves.draw(study)


def test_accuracy_is_that_of_the_group(study, figure):
    for group, drawn in (("high", figure), ("low", training_curves.draw(study, "low"))):
        rows = study.tables["evaluations"].query(f"arm == 'vgs-lp' and group == '{group}'")
        found = line(drawn.axes[0], "vgs-lp")
        assert found.get_xdata().tolist() == list(range(0, STEPS + 1, EVERY))
        np.testing.assert_allclose(found.get_ydata(), 100 * rows.groupby("step")["correct_share"].mean())
        assert group in drawn.axes[0].get_title(loc="left")


def test_the_grey_bar_is_the_interval_of_one_evaluation(study, figure):
    rows = study.tables["evaluations"].query("group == 'high'")
    low, high = wilson(rows["correct_share"].median(), 140)
    [bar] = [c for c in figure.axes[0].collections if len(c.get_segments()) == 1]
    np.testing.assert_allclose(bar.get_segments()[0][:, 1], [100 * low, 100 * high])


@pytest.mark.parametrize(("place", "column"), [(1, "response_tokens"), (2, "reward")])
def test_length_and_reward_are_running_means(study, figure, place, column):
    table = study.tables["steps"].query("arm == 'grpo'").pivot(index="step", columns="seed", values=column)
    expected = running_mean(table, WINDOW).mean(axis=1)
    np.testing.assert_allclose(line(figure.axes[place], "grpo").get_ydata(), expected)


def test_usual_and_named_arms(study, figure):
    assert labels(figure.axes[0]) == ["standard", "vgs-lp", "language-steering", "grpo", "grpo+vgs-lp"]
    assert labels(training_curves.draw(study, arms=["vgs"]).axes[2]) == ["vgs"]


def test_an_arm_without_rewards_is_drawn_without(study):
    steps = study.tables["steps"].copy()
    steps.loc[steps["arm"] == "grpo", "reward"] = np.nan
    found = training_curves.draw(replace(study, tables={**study.tables, "steps": steps}))
    assert "grpo" not in labels(found.axes[2]) and "grpo" in labels(found.axes[1])


def test_nothing_overlaps(figure):
    assert not panels_overlap(figure)
