"""Figures 5 and 8: arms stand at the gamma and lambda of their flags, and those that lack are named."""

from dataclasses import replace

import numpy as np
import pytest

from figures import strength
from figures.style import PAPER_INK, arm_colour
from records import RecordError
from tests.figures.lines import in_colour, panels_overlap


@pytest.fixture(scope="module")
def figure(study):
    return strength.draw(study)


def points(ax, objective):
    """Place and height of each point of a colour."""
    drawn = [found for found in in_colour(ax, arm_colour(objective)) if found.get_marker() == "o"]
    return sorted((float(found.get_xdata()[0]), float(found.get_ydata()[0])) for found in drawn)


def gain(study, arm, group="high"):
    row = study.tables["effects"].query(f"arm == '{arm}' and where == '{group}'").iloc[0]
    return 100 * row["difference"]


def test_arms_stand_at_their_gamma(study, figure):
    ax, aside = figure.axes[0], strength.SPREAD
    expected = [(1 - aside, gain(study, "vgs-gamma-1")), (2 - aside, gain(study, "vgs"))]
    np.testing.assert_allclose(points(ax, "vgs"), expected)
    np.testing.assert_allclose(points(ax, "vgs-lp"), [(2 + aside, gain(study, "vgs-lp"))])
    np.testing.assert_allclose(points(ax, "language-steering"), [(-2, gain(study, "language-steering"))])
    assert points(ax, "standard") == [(0, 0)]


def test_the_weight_of_the_teachers_prior_stands_below_each_gamma_of_visual_steering(figure):
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels == ["3", "2", "1", "0\n1", "1\n1/2", "2\n1/3", "3\n1/4", "4\n1/5"]
    assert "1 / (1 + γ)" in figure.axes[0].get_xlabel()


def test_arms_stand_at_their_lambda(study, figure):
    ax = figure.axes[1]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "0.01", "0.1"]
    np.testing.assert_allclose(points(ax, "vgs"), [(0, gain(study, "vgs"))])
    expected = [(1, gain(study, "vgs-lp")), (2, gain(study, "vgs-lp-lambda-0.1"))]
    np.testing.assert_allclose(points(ax, "vgs-lp"), expected)


def test_bars_are_the_intervals(study, figure):
    row = study.tables["effects"].query("arm == 'language-steering' and where == 'high'").iloc[0]
    bars = [segment[:, 1] for found in figure.axes[0].collections for segment in found.get_segments()]
    assert any(np.allclose(bar, [100 * row["low"], 100 * row["high"]]) for bar in bars)


def test_the_papers_points_are_differences_from_its_standard(figure):
    [gammas], [lambdas] = (in_colour(ax, PAPER_INK) for ax in figure.axes)
    assert gammas.get_xdata().tolist() == list(range(-3, 5))
    published = np.array([42.5, 43.0, 42.5, 43.74, 45.0, 46.1, 46.5, 46.5]) - 43.74
    np.testing.assert_allclose(gammas.get_ydata(), published, atol=1e-9)
    np.testing.assert_allclose(lambdas.get_ydata(), np.array([56.8, 58.2, 57.3]) - 56.64, atol=1e-9)


def test_what_lacks_is_named(figure, one_seed):
    words = figure.get_suptitle()
    assert "not in this record: language γ = 3, language γ = 1, visual γ = 3, visual γ = 4" in words
    assert "λ = 0.01, λ = 0.1" in strength.draw(one_seed).get_suptitle()


def test_other_forms_of_a_term_and_gamma_by_token_are_left_out(study):
    drawn = set(strength.measured(study, "high")["arm"])
    assert drawn == {"vgs-gamma-1", "vgs", "vgs-lp", "vgs-lp-lambda-0.1", "language-steering"}


def test_the_group_chooses_the_rows(study):
    [point] = points(strength.draw(study, "low").axes[0], "language-steering")
    assert point[1] == pytest.approx(gain(study, "language-steering", "low"))


def test_a_record_without_a_steered_arm_is_refused(study):
    effects = study.tables["effects"].query("arm == 'grpo'")
    with pytest.raises(RecordError, match="lacks a steered arm or standard"):
        strength.draw(replace(study, tables={"effects": effects}))


def test_nothing_overlaps(figure):
    assert not panels_overlap(figure)


def test_the_legend_names_what_is_drawn(figure, one_seed):
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[:4] == ["standard", "language-steering", "vgs: no preservation", "vgs-lp"]
    fewer = [text.get_text() for text in strength.draw(one_seed).legends[0].get_texts()]
    assert fewer == [
        "standard",
        "vgs: no preservation",
        "95 % interval over seeds",
        "paper: other models and benchmarks",
    ]
