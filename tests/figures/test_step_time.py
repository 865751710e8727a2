"""Figure 9: bars are the phases' medians, and the ratio to standard is written beside them."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import same_color

from figures import step_time
from figures.arms import in_order
from figures.style import PAPER_INK
from records.journal_lines import PHASES
from tests.figures.lines import in_colour, panels_overlap
from tests.figures.studies import SETTINGS, study_tables


@pytest.fixture(scope="module")
def ax(study):
    return step_time.draw(study, list(SETTINGS)).axes[0]


def test_bars_are_stacked_in_the_order_of_the_phases(ax):
    arms = list(SETTINGS)
    assert [text.get_text() for text in ax.get_yticklabels()] == in_order(arms)
    for number, bars in enumerate(ax.containers, start=1):
        assert same_color(bars[0].get_facecolor(), step_time.PHASE_COLOURS[PHASES[number - 1]])
        slower = np.array([1 + 0.1 * arms.index(arm) for arm in in_order(arms)])
        np.testing.assert_allclose([bar.get_width() for bar in bars], 0.1 * number * slower)
        np.testing.assert_allclose([bar.get_x() for bar in bars], sum(0.1 * k for k in range(1, number)) * slower)


def test_ratios_are_written_and_the_published_one_is_a_line(ax):
    words = [text.get_text() for text in ax.texts]
    assert words[0] == "1.00 s, 1.00 ×" and "1.20 s, 1.20 ×" in words
    [published] = in_colour(ax, PAPER_INK)
    assert published.get_xdata()[0] == pytest.approx(1.375)


def test_a_bar_is_the_fastest_run_whole():
    """Not the least of each phase."""
    steps = study_tables(("standard", "vgs"), (0, 1))["steps"]
    steps.loc[(steps["seed"] == 1) & (steps["arm"] == "vgs"), "rollout_seconds"] = 0.01
    steps.loc[(steps["seed"] == 1) & (steps["arm"] == "vgs"), "update_seconds"] = 5.0
    least = step_time.fastest(step_time.seconds(steps))
    np.testing.assert_allclose(least.loc["vgs"], [0.11, 0.22, 0.33, 0.44])
    assert step_time.ratio_words(least, "vgs") == ", 1.10 ×"


def test_one_slow_step_does_not_move_a_bar():
    steps = study_tables(("standard",), (0,))["steps"]
    steps.loc[0, "rollout_seconds"] = 1000.0
    assert step_time.seconds(steps)["rollout_seconds"].tolist() == [0.1]


def test_a_disturbed_run_is_an_arrow_and_does_not_set_the_axis(study):
    steps = study.tables["steps"].copy()
    before = step_time.draw(study, ["standard", "vgs"])
    steps.loc[(steps["seed"] == 1) & (steps["arm"] == "vgs"), "update_seconds"] = 50.0
    after = step_time.draw(replace(study, tables=study.tables | {"steps": steps}), ["standard", "vgs"])
    assert after.axes[0].get_xlim() == before.axes[0].get_xlim()
    [arrow] = [drawn for drawn in after.axes[0].lines if drawn.get_marker() == ">"]
    assert arrow.get_ydata()[0] == 1 and not [drawn for drawn in before.axes[0].lines if drawn.get_marker() == ">"]
    words = [[text.get_text() for text in figure.legends[0].get_texts()] for figure in (before, after)]
    assert set(words[1]) - set(words[0]) == {"slower runs, beyond the axis"}


def test_without_standard_there_is_no_ratio(study):
    steps = study.tables["steps"].query("arm == 'vgs'")
    found = step_time.draw(replace(study, tables={"steps": steps})).axes[0]
    assert [text.get_text() for text in found.texts] == ["1.20 s"] and in_colour(found, PAPER_INK) == []


def test_nothing_overlaps(study):
    assert not panels_overlap(step_time.draw(study))
