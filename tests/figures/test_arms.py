"""What the figures of a study share: order and colour of arms, running means, captions."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from figures import arms, captions
from figures.style import ARM_COLOURS, ARM_LINES, COLOURS, DOTTED, INK, arm_colour, arm_line
from records import RecordError
from tests.figures.lines import line
from tests.figures.studies import SEEDS, SETTINGS


def test_arms_share_the_colour_of_their_objective_and_no_other():
    assert ARM_COLOURS["standard"] == COLOURS["standard"]
    assert ARM_COLOURS["vgs-lp"] == COLOURS["visual"]
    assert ARM_COLOURS["language-steering"] == COLOURS["language"]
    assert len(set(ARM_COLOURS.values())) == len(ARM_COLOURS) and set(ARM_LINES) <= set(ARM_COLOURS)


def test_no_two_arms_look_alike_to_a_viewer_without_red_cones():
    """Largest difference of linear light after Viénot's matrix."""
    blind = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, -0.0], [0.00401, -0.00401, 1.0]])
    seen = [blind @ np.array(to_rgb(colour)) ** 2.2 for colour in ARM_COLOURS.values()]
    apart = [np.abs(one - other).max() for i, one in enumerate(seen) for other in seen[:i]]
    assert min(apart) > 0.015


def test_arms_named_after_another_have_its_colour_on_a_dotted_line():
    assert arm_colour("vgs-gamma-4") == ARM_COLOURS["vgs"]
    assert arm_colour("vgs-lp-lambda-0.1") == ARM_COLOURS["vgs-lp"]
    assert (arm_colour("vgsx"), arm_line("vgsx"), arm_line("vgs-gamma-4")) == (INK, DOTTED, DOTTED)
    assert arm_line("standard") == "-"


def test_order_is_that_of_the_style_with_variants_behind():
    found = arms.in_order(["other", "vgs-gamma-3", "vgs", "initial", "vgs-lp-lambda-0.1", "vgs-lp", "vgs"])
    assert found == ["initial", "vgs-lp", "vgs-lp-lambda-0.1", "vgs", "vgs-gamma-3", "other"]


def test_chosen_arms(study):
    assert arms.choose(study, "curves", None, ("vgs", "standard", "absent")) == ["standard", "vgs"]
    assert set(arms.choose(study, "curves", None)) == set(SETTINGS)
    assert set(arms.choose(study, "curves", None, ("absent",))) == set(SETTINGS)
    assert arms.choose(study, "curves", ["grpo", "standard", "grpo"]) == ["standard", "grpo"]
    with pytest.raises(RecordError, match=r"`arms` must be of those .*\(standard, vgs-lp, .*\), not 'off-policy'"):
        arms.choose(study, "curves", ["off-policy"])


def test_settings_are_read_by_arm(study):
    found = arms.settings_of(study)
    assert set(found) == set(SETTINGS) and found["vgs-gamma-1"]["gamma"] == 1.0


def test_running_means_are_centred_and_drawn_where_the_window_is_whole():
    table = pd.DataFrame({0: [0.0, 3.0, 6.0, 9.0, 2.0], 1: [np.nan, 1.0, np.nan, 3.0, 4.0]}, index=[0, 1, 2, 3, 4])
    smooth = arms.running_mean(table, 3)
    assert list(smooth.index) == [1, 2, 3]
    assert smooth[0].tolist() == pytest.approx([3.0, 6.0, 17 / 3])
    np.testing.assert_allclose(smooth[1], [1.0, 2.0, 3.5])
    assert arms.running_mean(table, 5)[0].to_dict() == pytest.approx({2: 4.0})
    assert arms.running_mean(table, 1).equals(table)
    assert len(arms.running_mean(table, 7)) == len(table)  # no window is whole: all steps are drawn


def test_seeds_are_thin_and_their_mean_is_named():
    table = pd.DataFrame({0: [0.0, 2.0], 1: [2.0, 4.0]}, index=[0, 5])
    ax = Figure().subplots()
    arms.draw_arm(ax, table, "vgs")
    assert line(ax, "vgs").get_ydata().tolist() == [1.0, 3.0]
    thin = [drawn.get_ydata().tolist() for drawn in ax.lines if drawn.get_linewidth() < 1]
    assert thin == [[0.0, 2.0], [2.0, 4.0]]


def test_the_caption_counts_seeds(study):
    curves = study.tables["curves"]
    assert f"{len(SEEDS)} seeds per arm" in captions.trained(study, curves)
    fewer = curves[(curves["arm"] != "vgs") | (curves["seed"] == 0)]
    assert "1 to 3 seeds per arm" in captions.trained(study, fewer)
    assert "1 seed per arm" in captions.trained(study, curves[curves["seed"] == 0])
