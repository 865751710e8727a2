"""Figure 7 over training: norms, cosines and the eta they imply are the record's."""

import numpy as np
import pytest

from figures import training_norms
from figures.style import COLOURS, PAPER_INK
from records import RecordError
from tests.figures.lines import in_colour, labels, line, panels_overlap
from tests.figures.studies import EVERY, STEPS


@pytest.fixture(scope="module")
def axes(study):
    return training_norms.draw(study).axes


def mean(study, column, arm="standard", scope="all"):
    rows = study.tables["gradients"].query(f"arm == '{arm}' and scope == '{scope}'")
    return rows.pivot(index="step", columns="seed", values=column)


def test_norms_are_the_records_in_the_colour_of_their_objective(study, axes):
    for name in ("standard", "visual", "language"):
        drawn = line(axes[0], name)
        assert drawn.get_xdata().tolist() == list(range(0, STEPS, EVERY))
        np.testing.assert_allclose(drawn.get_ydata(), mean(study, f"norm_{name}").mean(axis=1))
        assert drawn in in_colour(axes[0], COLOURS[name]) and len(in_colour(axes[0], COLOURS[name])) == 4


def test_cosines_are_of_the_angles_of_each_seed(study, axes):
    for name, label, _ in training_norms.COSINES:
        expected = np.cos(np.deg2rad(mean(study, f"{name}_deg"))).mean(axis=1)
        np.testing.assert_allclose(line(axes[1], label).get_ydata(), expected)


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_eta_is_of_the_vectors(study, gamma):
    """Slow twin: the two gradients as vectors in a plane (arXiv:2606.00564, Eq. 15)."""
    length, other = mean(study, "norm_standard"), mean(study, "norm_visual")
    angle = np.deg2rad(mean(study, "angle_standard_visual_deg"))
    across, up = length + gamma * other * np.cos(angle), gamma * other * np.sin(angle)
    ax = training_norms.draw(study, gamma=gamma).axes[2]
    drawn = line(ax, f"implied, \u03b3 = {gamma:g}")
    np.testing.assert_allclose(drawn.get_ydata(), (length / np.hypot(across, up)).mean(axis=1))
    published = in_colour(ax, PAPER_INK)
    assert [found.get_ydata() for found in published] == ([[0.41, 0.41]] if gamma == 2.0 else [])


def test_an_arm_has_a_row_and_a_scope_its_rows(study):
    figure = training_norms.draw(study, ["vgs-lp", "standard"], "layer_00")
    assert [ax.get_title(loc="left")[-6:] for ax in figure.axes[::3]] == ["andard", "vgs-lp"]
    expected = mean(study, "norm_visual", "vgs-lp", "layer_00").mean(axis=1)
    np.testing.assert_allclose(line(figure.axes[3], "visual").get_ydata(), expected)
    assert "parameters: layer 00" in figure.get_suptitle() and not panels_overlap(figure)


def test_no_steering_has_no_eta(study, axes):
    assert labels(axes[1]) == ["standard and visual", "language and visual"]
    with pytest.raises(RecordError, match="`gamma` must be above 0, not -1"):
        training_norms.draw(study, gamma=-1.0)


def test_it_says_that_eta_is_inert(study):
    assert "inert under Adam" in training_norms.draw(study).get_suptitle()
