"""The picture of a comparison: points and bars are the record's, beside the line of no change."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import same_color

from figures import before_after, panels
from figures.catalogue import picture
from figures.style import save
from records import RecordError
from tests.figures.comparisons import accuracy_changes, angle_changes, changes, write
from tests.figures.drawing import draw, refused


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    tables = {"changes": changes(), "angle_changes": angle_changes(), "accuracy_changes": accuracy_changes()}
    return write(tmp_path_factory.mktemp("compare") / "record", **tables)


@pytest.fixture(scope="module")
def figure(record):
    return before_after.draw(record)


def points(ax, label):
    [found] = [line for line in ax.lines if line.get_label() == label]
    return found


def bars(ax):
    """Lower and upper end of each set of bars, in order."""
    for drawn in ax.collections:
        if isinstance(drawn, LineCollection):
            yield np.array([segment[:, 1] for segment in drawn.get_segments()])


@pytest.mark.parametrize(("panel", "things", "unit"), [(0, before_after.LOSSES, "nats"), (1, panels.ANGLES, "deg")])
def test_changes_are_points_with_their_intervals(figure, record, panel, things, unit):
    ax = figure.axes[panel]
    table = record.tables["changes"] if unit == "nats" else record.tables["angle_changes"].query("scope == 'all'")
    for thing, ends in zip(things, bars(ax), strict=True):
        drawn, name = points(ax, thing.label), thing.name
        np.testing.assert_array_equal(drawn.get_ydata(), table[f"{name}_change_mean_{unit}"])
        np.testing.assert_array_equal(ends, table[[f"{name}_change_low_{unit}", f"{name}_change_high_{unit}"]])
        assert np.abs(drawn.get_xdata() - np.arange(len(table))).max() < 0.5
        assert same_color(drawn.get_color(), thing.colour)
        assert same_color(drawn.get_mfc(), "white" if name.endswith("_attached") else thing.colour)
    assert any(np.array_equal(line.get_ydata(), [0, 0]) for line in ax.lines)
    assert [text.get_text() for text in ax.get_xticklabels()] == table["bin"].tolist()


def test_points_of_a_bin_stand_apart(figure):
    for ax, things in zip(figure.axes, (before_after.LOSSES, panels.ANGLES), strict=False):
        places = [points(ax, thing.label).get_xdata()[0] for thing in things]
        assert (np.diff(places) > 0.1).all()


def test_the_axis_of_losses_is_straight_about_zero_and_says_how_far(figure):
    ax = figure.axes[0]
    assert ax.get_yscale() == "symlog" and "straight within \u00b1" in ax.get_ylabel()
    low, high = ax.get_ylim()
    ends = np.concatenate([ends.ravel() for ends in bars(ax)])
    assert low < ends.min() and ends.max() < high


def test_accuracy_goes_from_before_to_after(figure, record):
    rows, left, right = record.tables["accuracy_changes"], *figure.axes[2:]
    for side in ("before", "after"):
        np.testing.assert_array_equal(points(left, side).get_xdata(), rows[f"accuracy_{side}_mean_percent"])
    [segments] = [drawn.get_segments() for drawn in right.collections]
    ends = np.array([segment[:, 0] for segment in segments])
    np.testing.assert_array_equal(ends, rows[["accuracy_change_low_percent", "accuracy_change_high_percent"]])
    assert [text.get_text() for text in right.texts] == [
        *("+4 \u22120", "+3 \u22121", "+2 \u22122", "+1 \u22123"),
        "gained, lost",
    ]
    names = [text.get_text() for text in left.get_yticklabels()]
    assert names == ["all prompts (50)", "high dependency (50)", "text alone (50)", "count (50)"]
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first on top


def test_who_is_compared_stands_above(figure):
    words = figure.get_suptitle()
    assert "before: bundled/student \u00b7 after: run/step-9 \u00b7 teacher: bundled/teacher" in words
    assert words.endswith("responses of after")


def test_what_was_not_measured_is_not_drawn(tmp_path):
    losses = write(tmp_path / "losses", changes=changes())
    assert len(before_after.draw(losses).axes) == 1
    unknown = write(tmp_path / "unknown", changes=changes(), accuracy_changes=accuracy_changes()[:0])
    assert len(before_after.draw(unknown).axes) == 1
    assert (
        len(
            before_after.draw(
                write(tmp_path / "no-angles", changes=changes(), accuracy_changes=accuracy_changes())
            ).axes
        )
        == 3
    )


def test_no_change_at_all_is_drawn(tmp_path):
    still = changes().apply(lambda column: 0.0 * column if "_change_" in column.name else column)
    ax = before_after.draw(write(tmp_path / "still", changes=still)).axes[0]
    assert ax.get_yscale() == "linear"
    nothing = angle_changes().apply(lambda column: np.nan * column if "_change_" in column.name else column)
    before_after.draw(write(tmp_path / "no angle", changes=still, angle_changes=nothing))


def test_scope_chooses_the_angles(record):
    drawn = points(before_after.draw(record, "language_model").axes[1], "standard and visual").get_ydata()
    expected = record.tables["angle_changes"].query("scope == 'language_model'")[
        "angle_standard_visual_change_mean_deg"
    ]
    np.testing.assert_array_equal(drawn, expected)
    with pytest.raises(RecordError, match="`scope` must be one of all, language_model, not 'vision'"):
        before_after.draw(record, "vision")


def test_pictures_are_the_same_twice(record, tmp_path):
    first, second = (save(before_after.draw(record), tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_command(record, tmp_path, capsys):
    stem = tmp_path / "before_after-language_model"
    shown = draw(capsys, record.path, "before_after", "--scope", "language_model", "--out", tmp_path)
    assert shown == [f"{stem}.png", f"{stem}.svg"]
    assert "python -m probes.compare" in refused(capsys, tmp_path / "none", "before_after")
    assert "`scope`" in refused(capsys, record.path, "before_after", "--scope", "x")


def test_reading_takes_the_tables_that_are_there(record, tmp_path):
    read = picture("before_after").read
    assert set(read(record.path).tables) == {"changes", "angle_changes", "accuracy_changes"}
    alone = write(tmp_path / "alone", changes=changes())
    pd.testing.assert_frame_equal(read(alone.path).tables["changes"], alone.tables["changes"])
