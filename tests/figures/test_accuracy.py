"""Figures 1 and 10: points and bars are the record's, by group, by task and against standard."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from scipy.stats import t

from figures import accuracy, accuracy_by_task, arms
from figures.style import arm_colour
from stats import share_interval
from tests.figures.lines import in_colour, panels_overlap
from tests.figures.studies import TASKS


@pytest.fixture(scope="module")
def figure(study):
    return accuracy.draw(study, arms.in_order(list(study.tables["verdicts"]["arm"])))


def named(ax):
    """The arms beside the leftmost panel of a row, which the others share."""
    return [text.get_text() for text in ax.figure.axes[0].get_yticklabels()]


def points(ax):
    """Arm to place of its point and whether it is full."""
    names = named(ax)
    drawn = [found for found in ax.lines if found.get_marker() == "o"]
    return {names[int(p.get_ydata()[0])]: (p.get_xdata()[0], same_color(p.get_mfc(), p.get_color())) for p in drawn}


def bars(ax):
    """Arm to the ends of its bar."""
    names = named(ax)
    segments = [segment for found in ax.collections for segment in found.get_segments()]
    return {names[int(segment[0, 1])]: segment[:, 0] for segment in segments}


@pytest.mark.parametrize("place", range(3))
def test_accuracies_are_the_verdicts(study, figure, place):
    group, verdicts = list(TASKS)[place], study.tables["verdicts"]
    found, ends = points(figure.axes[place]), bars(figure.axes[place])
    assert list(found) == arms.in_order(list(verdicts["arm"]))
    for arm, rows in verdicts[verdicts["group"] == group].groupby("arm"):
        assert found[arm] == (pytest.approx(100 * rows["correct"].mean()), True)
        each = rows.groupby("seed")["correct"].mean()
        if arm == arms.INITIAL:
            scenes = share_interval(rows["correct"], rows["prompt_id"])
            low, high = scenes.low, scenes.high
        else:
            half = t.ppf(0.975, len(each) - 1) * each.sem()
            low, high = each.mean() - half, each.mean() + half
        np.testing.assert_allclose(ends[arm], [max(100 * low, 0), min(100 * high, 100)])
    assert "greedy accuracy (%)" in figure.axes[place].get_xlabel()


def test_arms_of_other_strengths_are_drawn_where_they_are_named(study):
    assert set(named(accuracy.draw(study).axes[0])) == set(study.tables["verdicts"]["arm"]) - {"vgs-lp-lambda-0.1"}


def test_every_seed_has_a_tick(study, figure):
    verdicts = study.tables["verdicts"].query("arm == 'vgs' and group == 'high'")
    [ticks] = [found for found in in_colour(figure.axes[0], arm_colour("vgs")) if found.get_marker() == "|"]
    np.testing.assert_allclose(ticks.get_xdata(), 100 * verdicts.groupby("seed")["correct"].mean())


@pytest.mark.parametrize("place", range(3))
def test_differences_are_the_effects_and_open_where_they_do_not_count(study, figure, place):
    effects = study.tables["effects"].query(f"where == '{list(TASKS)[place]}'").set_index("arm")
    ax = figure.axes[3 + place]
    found, ends = points(ax), bars(ax)
    assert set(found) == set(effects.index) and "standard" not in found
    for arm, row in effects.iterrows():
        assert found[arm] == (pytest.approx(100 * row["difference"]), row["counts_as"] == "better")
        np.testing.assert_allclose(ends[arm], [100 * row["low"], 100 * row["high"]])
    assert {full for _, full in found.values()} == {True, False}


def test_an_interval_over_seeds_is_students_and_one_of_a_student_without_training_is_over_scenes():
    right = {0: [True] * 9 + [False], 1: [True] * 7 + [False] * 3, 2: [True] * 5 + [False] * 5}
    rows = [{"arm": "vgs", "seed": seed, "correct": one} for seed, several in right.items() for one in several]
    verdicts = pd.DataFrame(rows).assign(prompt_id=[f"p{number % 10}" for number in range(30)])
    percent = accuracy.accuracy_of(verdicts)
    assert (percent.mean, percent.seeds, percent.over_scenes) == (pytest.approx(70), pytest.approx([90, 70, 50]), False)
    half = 4.302653 * 20 / np.sqrt(3)  # Student's t with two degrees of freedom
    assert (percent.low, percent.high) == (pytest.approx(70 - half), 100.0)  # an accuracy is at most 100
    for over_scenes in (verdicts.assign(arm=arms.INITIAL), verdicts[verdicts["seed"] == 1]):
        percent = accuracy.accuracy_of(over_scenes)
        interval = share_interval(over_scenes["correct"], over_scenes["prompt_id"])
        assert percent.over_scenes and not percent.seeds
        assert (percent.low, percent.high) == (pytest.approx(100 * interval.low), pytest.approx(100 * interval.high))


def test_one_seed_has_its_interval_over_scenes_and_the_key_says_so(one_seed, figure):
    alone = accuracy.draw(one_seed)
    words = [text.get_text() for text in alone.legends[0].get_texts()]
    assert words[0] == "one seed or none: 95 % interval over scenes" and "95 % interval over seeds" not in words
    assert "95 % interval over seeds" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_without_standard_differences_are_from_the_arm_that_others_are_compared_with(study):
    effects = study.tables["effects"].query("arm == 'vgs-lp' and quantity == 'correct'").assign(against="vgs")
    figure = accuracy.draw(replace(study, tables=study.tables | {"effects": effects}), ["vgs", "vgs-lp"])
    below = figure.axes[3:]
    assert [ax.get_xlabel() for ax in below] == ["points from vgs"] * 3
    assert all(list(points(ax)) == ["vgs-lp"] for ax in below)


def test_nothing_compared_leaves_no_empty_panels(study):
    effects = study.tables["effects"].iloc[:0]
    figure = accuracy.draw(replace(study, tables=study.tables | {"effects": effects}), ["vgs", "vgs-lp"])
    assert len(figure.axes) == 3
    assert not any("difference" in text.get_text() for text in figure.legends[0].get_texts())


def test_other_comparisons_are_not_drawn(study):
    effects = study.tables["effects"]
    for column, value in (("against", "initial"), ("quantity", "visual"), ("where", "low")):
        assert accuracy.against_standard(effects.assign(**{column: value}), "high").empty


def test_tasks_have_a_panel_each_with_their_scenes(study):
    figure = accuracy_by_task.draw(study, ["standard", "grpo"])
    drawn = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title(loc="left") for ax in drawn] == [
        f"{task} ({group}, 40)" for group, tasks in TASKS.items() for task in tasks
    ]
    shares = study.tables["verdicts"].query("task == 'place'").groupby("arm")["correct"].mean()
    found = points(drawn[1])
    assert list(found) == ["standard", "grpo"]
    assert found["grpo"][0] == pytest.approx(100 * shares["grpo"])
    assert not panels_overlap(figure)


def test_nothing_overlaps(figure):
    assert not panels_overlap(figure)
