"""Pairs stand at their gaps, coloured by the difference; and at their angle, with the interval."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from figures import phase_diagram, steering_effect
from figures.style import INK, NULL_GREY, arm_colour
from records import RecordError
from records.tables.phases import PHASES
from tests.figures.lines import in_colour

PAIRS = {"a": (0.0, 0.3, 5.0), "b": (0.2, 0.3, 30.0), "c": (0.4, 0.1, 60.0)}


def table():
    rows = []
    for arm, effects in {"vgs": (0.0, -0.05, 0.02), "vgs-frozen": (0.0, -0.04, -0.01)}.items():
        for (pair, (language, visual, angle)), effect in zip(PAIRS.items(), effects, strict=True):
            for quantity, scale in {"standard": 1.0, "correct": -100.0}.items():
                counts = "lower" if effect < -0.03 else "equivalent" if effect == 0 else "undecided"
                rows.append(
                    {"pair": pair, "about": "", "arm": arm, "against": "standard", "quantity": quantity, "n_seeds": 8}
                    | {"language_gap_nats": language, "visual_gap_nats": visual, "steered_deg": angle}
                    | {"difference": scale * effect, "low": scale * effect - 0.01, "high": scale * effect + 0.01}
                    | {"counts_as": counts}
                )
    return pd.DataFrame(rows, columns=PHASES.names)


@pytest.fixture
def record():
    return SimpleNamespace(path="here", table={"phases": table()}.__getitem__)


def test_each_arm_has_a_panel_with_the_pairs_at_their_gaps(record):
    figure = phase_diagram.draw(record)
    panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in panels] == ["vgs \u2212 standard", "vgs-frozen \u2212 standard"]
    for ax in panels:
        places = [tuple(points.get_offsets()[0]) for points in ax.collections]
        assert places == [(language, visual) for language, visual, _ in PAIRS.values()]


def test_a_lower_loss_and_more_right_answers_have_the_same_colour(record):
    colours = []
    for quantity in ("standard", "correct"):
        figure = phase_diagram.draw(record, quantity)
        figure.canvas.draw()
        points = figure.axes[0].collections
        colours.append([tuple(one.get_facecolor()[0]) for one in points])
    np.testing.assert_allclose(colours[0], colours[1])


def test_rims_and_numbers_say_what_counts(record):
    ax = phase_diagram.draw(record).axes[0]
    rims = [tuple(one.get_edgecolor()[0]) if len(one.get_edgecolor()) else () for one in ax.collections]
    assert rims == [to_rgba(NULL_GREY), to_rgba(INK), ()]
    assert [text.get_text() for text in ax.texts] == ["+0.000", "-0.050", "+0.020"]


def test_effects_stand_at_their_angle_with_their_interval(record):
    (ax,) = steering_effect.draw(record).axes
    (points,) = (line for line in in_colour(ax, arm_colour("vgs")) if line.get_marker() == "o")
    np.testing.assert_allclose(points.get_xdata(), np.array([5.0, 30.0, 60.0]) - steering_effect.APART_DEG / 2)
    assert points.get_ydata().tolist() == [0.0, -0.05, 0.02]
    bars = [
        segment[:, 1] for lines in ax.collections if hasattr(lines, "get_segments") for segment in lines.get_segments()
    ]
    assert any(np.allclose(bar, [-0.06, -0.04]) for bar in bars)


def test_what_is_not_there_is_refused(record):
    with pytest.raises(RecordError, match="`quantity` must be"):
        phase_diagram.draw(record, "prior")
    empty = SimpleNamespace(path="here", table={"phases": table().iloc[:0]}.__getitem__)
    with pytest.raises(RecordError, match=r"run some with `python -m study.phases`"):
        steering_effect.draw(empty)
