"""Figure 4: the lines are the record's losses, of the rollouts and bins that the panel names."""

from dataclasses import replace

import numpy as np
import pytest

from figures import loss_dynamics
from figures.arms import WINDOW, running_mean
from figures.style import ARM_COLOURS
from records import RecordError
from tests.figures.lines import in_colour, labels, line, panels_overlap
from tests.figures.studies import EVERY, SEEDS, STEPS


@pytest.fixture(scope="module")
def figure(study):
    return loss_dynamics.draw(study)


def expected(study, arm, rollouts, loss, bins):
    """The mean over some bins by step and seed, written out."""
    rows = study.tables["curves"]
    rows = rows[(rows["arm"] == arm) & (rows["rollouts"] == rollouts) & rows["bin"].isin(bins)]
    return rows.groupby(["step", "seed"])[f"{loss}_nats"].mean().unstack()


PAPERS = ("standard", "vgs-lp", "vgs", "vgs-gamma-1")
PANELS = [("visual", [-1]), ("visual", [7, 8, 9]), ("language", [-1]), ("language", [7, 8, 9])]


@pytest.mark.parametrize(("place", "loss", "bins"), [(i, *panel) for i, panel in enumerate(PANELS)])
def test_training_losses_are_running_means_over_seeds(study, figure, place, loss, bins):
    for arm in PAPERS:
        table = running_mean(expected(study, arm, "training", loss, bins), WINDOW)
        drawn = line(figure.axes[place], arm)
        np.testing.assert_allclose(drawn.get_ydata(), table.mean(axis=1))
        assert drawn.get_xdata().tolist() == list(range(WINDOW // 2, STEPS - WINDOW // 2))
        thin = [other for other in in_colour(figure.axes[place], ARM_COLOURS[arm]) if other is not drawn]
        np.testing.assert_allclose([other.get_ydata() for other in thin], table.to_numpy().T)
        assert len(thin) == len(SEEDS)
    assert figure.axes[place].get_ylim()[0] == 0 and "nats" in figure.axes[place].get_ylabel()


@pytest.mark.parametrize("rollouts", ["fixed", "own"])
def test_evaluated_losses_are_points_as_measured(study, rollouts):
    drawn = line(loss_dynamics.draw(study, rollouts, ["adaptive"]).axes[3], "adaptive")
    assert drawn.get_xdata().tolist() == list(range(0, STEPS + 1, EVERY)) and drawn.get_marker() == "o"
    np.testing.assert_allclose(
        drawn.get_ydata(), expected(study, "adaptive", rollouts, "language", [7, 8, 9]).mean(axis=1)
    )


def test_the_papers_arms_are_drawn_unless_others_are_named(study, one_seed, figure):
    assert labels(figure.axes[0]) == list(PAPERS)
    assert labels(loss_dynamics.draw(study, arms=["grpo", "standard"]).axes[0]) == ["standard", "grpo"]
    assert labels(loss_dynamics.draw(one_seed).axes[0]) == ["standard", "vgs"]


def test_the_title_says_what_is_drawn(study, figure):
    assert "3 seeds per arm · training rollouts · running mean over 15 steps" in figure.get_suptitle()
    assert "running mean" not in loss_dynamics.draw(study, "fixed").get_suptitle()


def test_gaps_are_gaps(study):
    curves = study.tables["curves"].copy()
    curves.loc[curves["bin"] == 9, "visual_nats"] = np.nan
    found = loss_dynamics.draw(replace(study, tables={"curves": curves}), "fixed")
    drawn = line(found.axes[1], "vgs").get_ydata()
    np.testing.assert_allclose(drawn, expected(study, "vgs", "fixed", "visual", [7, 8]).mean(axis=1))


@pytest.mark.parametrize("window", [0, -3, 4])
def test_a_window_without_a_middle_is_refused(study, window):
    with pytest.raises(RecordError, match=f"`window` must be an odd number of steps, not {window}"):
        loss_dynamics.draw(study, window=window)


def test_nothing_overlaps(figure):
    assert not panels_overlap(figure)
