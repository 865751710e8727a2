"""Each pair has a panel with its contrasts, each at its difference with its interval."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from figures import pair_contrasts, phase_diagram
from figures.style import NULL_GREY, arm_colour
from records.tables.phases import PHASES

CONTRASTS = [
    ("vgs", "standard", -0.5, -1.0, -0.1, "worse"),
    ("vgs-frozen", "standard", 0.1, -0.2, 0.4, "equivalent"),
    ("vgs-lp-lambda-1", "vgs-lp-gamma-0-lambda-1", 1.0, -2.0, 4.0, "undecided"),
]


def table():
    rows = [
        {"pair": pair, "visual_gap_nats": 0.3, "language_gap_nats": 0.1, "quantity": quantity, "n_seeds": 8}
        | dict(zip(("arm", "against", "difference", "low", "high", "counts_as"), contrast, strict=True))
        for pair in ("language", "both", "conflict")
        for contrast in CONTRASTS
        for quantity in ("correct", "standard")
    ]
    return pd.DataFrame(rows, columns=PHASES.names)


@pytest.fixture
def record():
    return SimpleNamespace(path="here", table={"phases": table()}.__getitem__)


def test_every_pair_has_its_contrasts_with_their_intervals(record):
    figure = pair_contrasts.draw(record)
    assert [ax.get_title(loc="left").partition(":")[0] for ax in figure.axes] == ["language", "both", "conflict"]
    for ax in figure.axes:
        bars = [tuple(np.ravel(bar.get_segments()[0])) for bar in ax.collections]
        assert bars == [(low, place, high, place) for place, (*_, low, high, _) in enumerate(CONTRASTS)]
        points = [line for line in ax.lines if line.get_marker() == "o"]
        assert [line.get_xdata()[0] for line in points] == [contrast[2] for contrast in CONTRASTS]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert [" ".join(name.split()) for name in names] == [f"{arm} \u2212 {other}" for arm, other, *_ in CONTRASTS]


def test_a_pair_that_lacks_a_contrast_keeps_the_places_of_the_others():
    frame = table().query("not (pair == 'both' and arm == 'vgs')")
    figure = pair_contrasts.draw(SimpleNamespace(path="here", table={"phases": frame}.__getitem__))
    places = [[bar.get_segments()[0][0][1] for bar in ax.collections] for ax in figure.axes]
    assert places == [[0, 1, 2], [1, 2], [0, 1, 2]]
    assert len(figure.axes[1].get_yticks()) == 3


@pytest.mark.parametrize(("quantity", "side"), [("correct", "right"), ("standard", "left")])
def test_the_axis_says_which_side_is_better(record, quantity, side):
    assert f"({side}: better)" in " ".join(pair_contrasts.draw(record, quantity).axes[-1].get_xlabel().split())


def test_what_was_not_judged_has_a_point_without_interval():
    frame = table().assign(low=np.nan, high=np.nan, counts_as="not judged")
    ax = pair_contrasts.draw(SimpleNamespace(path="here", table={"phases": frame}.__getitem__)).axes[0]
    assert len([line for line in ax.lines if line.get_marker() == "o"]) == 3
    assert [line.get_label() for line in pair_contrasts.legend_entries(frame)] == [pair_contrasts.OPEN]


def test_the_inside_of_a_point_says_what_counts(record):
    points = [line for line in pair_contrasts.draw(record).axes[0].lines if line.get_marker() == "o"]
    inside = [to_rgba(line.get_markerfacecolor()) for line in points]
    assert inside == [to_rgba(arm_colour("vgs")), to_rgba(NULL_GREY), to_rgba("white")]


def test_the_key_names_what_is_drawn_alone(record):
    rows = record.table("phases")
    assert [line.get_label() for line in pair_contrasts.legend_entries(rows)] == list(pair_contrasts.KINDS)
    assert len(pair_contrasts.legend_entries(rows[rows["arm"] == "vgs"])) == 1


def test_the_phase_diagram_shows_comparisons_with_standard_alone(record):
    assert set(phase_diagram.against_standard(record, "correct")["arm"]) == {"vgs", "vgs-frozen"}
