"""Figure 3: what stands in the picture is what stands in the record, and no more is claimed."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import same_color, to_rgba
from PIL import Image

from figures import angle_bins
from figures.panels import SPREAD_WIDTH
from figures.style import COLOURS, NULL_GREY, PAIRS, PAPER_INK, save
from records import ANGLES, NULL_ANGLES, RecordError, read_record
from tests.figures.drawing import refused
from tests.records.synthetic import N_BINS, tables, write_record

ROOT = Path(__file__).resolve().parents[2]
BY_PANEL = [angle for angle, _ in angle_bins.PANELS]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return read_record(write_record(tmp_path_factory.mktemp("figure") / "record"), "bins")


@pytest.fixture(scope="module")
def figure(record):
    return angle_bins.draw(record)


@pytest.fixture(scope="module")
def rows(record):
    bins = record.tables["bins"]
    return bins[bins["scope"] == "all"].sort_values("bin")


def panel(figure, angle):
    return figure.axes[BY_PANEL.index(angle)]


def line(ax, label):
    [found] = [drawn for drawn in ax.lines if drawn.get_label() == label]
    return found


def lines_in(ax, colour):
    return [drawn for drawn in ax.lines if same_color(drawn.get_color(), colour)]


def bands(ax, colour):
    """Return lower and upper edge over the bins of each filled band of a colour."""
    found = []
    for band in ax.collections:
        face = band.get_facecolor()
        if len(face) and np.allclose(face[0][:3], to_rgba(colour)[:3]) and len(band.get_paths()) == 1:
            corners = band.get_paths()[0].vertices
            columns = [corners[corners[:, 0] == x][:, 1] for x in np.unique(corners[:, 0])]
            found.append(np.array([[column.min(), column.max()] for column in columns]))
    return found


def test_every_angle_has_its_panel():
    assert set(BY_PANEL) == set(ANGLES) == set(PAIRS)


@pytest.mark.parametrize("angle", ANGLES)
def test_means_bands_and_intervals_are_the_records(figure, rows, angle):
    ax, (first, second) = panel(figure, angle), PAIRS[angle]
    mean, std = rows[f"{angle}_mean_deg"].to_numpy(), rows[f"{angle}_std_deg"].to_numpy()
    drawn = line(ax, angle)
    np.testing.assert_array_equal(drawn.get_xdata(), np.arange(N_BINS))
    np.testing.assert_array_equal(drawn.get_ydata(), mean)
    assert same_color(drawn.get_color(), COLOURS[first])
    assert same_color(drawn.get_markerfacecolor(), COLOURS[second])
    edges = [drawn.get_ydata() for drawn in lines_in(ax, COLOURS[first]) if drawn.get_linewidth() == SPREAD_WIDTH]
    np.testing.assert_allclose(edges, [mean - std / 2, mean + std / 2])
    bars = [c for c in ax.collections if len(c.get_paths()) == N_BINS][0].get_segments()
    ends = rows[[f"{angle}_low_deg", f"{angle}_high_deg"]].to_numpy()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], ends)


@pytest.mark.parametrize("angle", ANGLES)
def test_the_null_stands_where_it_was_measured(figure, rows, angle):
    found = bands(panel(figure, angle), NULL_GREY)
    if angle not in NULL_ANGLES:
        assert found == []
        return
    mean, std = rows[f"{angle}_null_mean_deg"], rows[f"{angle}_null_std_deg"]
    np.testing.assert_allclose(found[0], np.stack([mean - std, mean + std], axis=1))


@pytest.mark.parametrize("angle", ANGLES)
def test_ninety_degrees_and_shared_limits(figure, angle):
    ax = panel(figure, angle)
    assert any(np.array_equal(drawn.get_ydata(), [90, 90]) for drawn in ax.lines)
    assert ax.get_ylim() == figure.axes[0].get_ylim()
    assert ax.get_title(loc="left") == dict(angle_bins.PANELS)[angle]


@pytest.mark.parametrize("angle", [angle for angle in ANGLES if "language_visual" in angle])
def test_the_papers_curve_is_dashed(figure, angle):
    [paper] = lines_in(panel(figure, angle), PAPER_INK)
    assert list(paper.get_ydata()) == [62, 68, 70, 74, 72, 76, 80, 84, 88, 92]
    assert paper.is_dashed()


@pytest.mark.parametrize(
    ("angle", "last_deg"),
    [("angle_standard_visual", 42), ("angle_standard_visual_attached", 42), ("angle_standard_language", 50)],
)
def test_the_papers_text_is_a_range_and_a_point(figure, angle, last_deg):
    *edges, point = lines_in(panel(figure, angle), PAPER_INK)
    assert [set(edge.get_ydata()) for edge in edges] == [{40}, {50}]
    assert [list(edge.get_xdata()) for edge in edges] == [list(range(9))] * 2
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (9, last_deg)


def test_the_paper_says_nothing_about_the_prior(figure):
    assert lines_in(panel(figure, "angle_prior_language"), PAPER_INK) == []


def test_other_numbers_of_bins_are_not_held_against_the_paper(record):
    bins = record.tables["bins"]
    few = replace(record, tables={"bins": bins[bins["bin"] < 5]})
    drawn = angle_bins.draw(few)
    assert all(lines_in(ax, PAPER_INK) == [] for ax in drawn.axes)
    assert not any("paper" in text.get_text() for text in drawn.legends[0].get_texts())


def test_the_strips_hold_dependence_losses_and_obtuse_shares(figure, rows):
    dependence, losses, obtuse = figure.axes[6:]
    np.testing.assert_array_equal(line(dependence, "teacher (VDS)").get_ydata(), rows["vds_mean_nats"])
    np.testing.assert_array_equal(line(dependence, "student").get_ydata(), rows["student_vds_mean_nats"])
    for name in ("standard", "language", "visual"):
        np.testing.assert_array_equal(line(losses, name).get_ydata(), rows[f"kl_{name}_mean_nats"])
        assert same_color(line(losses, name).get_color(), COLOURS[name])
    for kind, suffix in (("detached", ""), ("attached", "_attached")):
        share = rows[f"angle_language_visual{suffix}_obtuse_share"]
        np.testing.assert_array_equal(line(obtuse, kind).get_ydata(), share)
    assert {ax.get_xlabel() for ax in figure.axes[6:]} == {"VDS bin (0 = least visual)"}


def test_the_legend_names_no_spread_where_a_bin_has_one_unit(rows):
    alone = rows.assign(**{f"{angle}_std_deg": 0.0 for angle in PAIRS})
    words = [mark.get_label() for mark in angle_bins.legend_entries(alone, "mean")]
    assert not any("0.5 std" in word for word in words)


def test_the_legend_says_what_the_marks_are(figure):
    words = " | ".join(text.get_text() for text in figure.legends[0].get_texts())
    for said in ("95 % interval of the mean", "± 0.5 std", "90°", "null", "the paper's models: curve read off"):
        assert said in words


def test_signed_bins_are_called_pooled(record):
    """No mean over units is drawn, and the picture does not say so."""
    settings = record.header["settings"] | {"unit": "signed-bin"}
    pooled = replace(record, record=record.record | {"header": record.header | {"settings": settings}})
    figure = angle_bins.draw(pooled)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert (
        figure.get_suptitle().startswith("Pooled angles between gradients")
        and "unit: signed-bin" in figure.get_suptitle()
    )
    for said in ("pooled angle of all tokens", "\u00b1 0.5 standard error", "95 % interval of the pooled angle"):
        assert any(said in word for word in words)
    assert not any("mean over units" in word or "interval of the mean" in word for word in words)
    test_nothing_overlaps(figure)


def test_the_title_says_what_was_measured(figure, record):
    assert "student student, teacher teacher · unit: token, 64 per bin · all parameters" in figure.get_suptitle()
    assert "parameters: language model" in angle_bins.draw(record, "language_model").get_suptitle()


def test_nothing_overlaps(figure):
    """No two of the figure's titles and legends share a spot."""
    figure.draw_without_rendering()
    boxes = [figure.legends[0].get_window_extent()]
    boxes += [ax.get_tightbbox() for ax in figure.axes]
    for i, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[i + 1 :])


def test_scopes_differ_and_unknown_ones_are_refused(record):
    drawn = angle_bins.draw(record, "language_model")
    bins = record.tables["bins"]
    expected = bins.loc[bins["scope"] == "language_model", "angle_prior_language_mean_deg"]
    np.testing.assert_array_equal(line(drawn.axes[5], "angle_prior_language").get_ydata(), expected)
    with pytest.raises(RecordError, match=r"`scope` must be one .*\(all, language_model\), not 'vision'"):
        angle_bins.draw(record, "vision")


def test_gaps_and_zeros_are_drawn_as_gaps(record):
    """A blind teacher has VDS 0, a bin of one prompt no interval, a gradient of norm 0 no angle."""
    bins = tables()["bins"]
    bins[["vds_mean_nats", "student_vds_mean_nats"]] = 0.0
    bins[[name for name in bins if name.endswith(("low_deg", "high_deg"))]] = np.nan
    bins[[name for name in bins if name.startswith("angle_prior_language")]] = np.nan
    drawn = angle_bins.draw(replace(record, tables={"bins": bins}))
    drawn.draw_without_rendering()
    assert drawn.axes[6].get_yscale() == "linear"
    assert drawn.axes[7].get_yscale() == "log"


def test_pictures_are_written_and_the_same_twice(record, tmp_path):
    first = save(angle_bins.draw(record), tmp_path / "new" / "one")
    second = save(angle_bins.draw(record), tmp_path / "two")
    assert [path.name for path in first] == ["one.png", "one.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    with Image.open(first[0]) as picture:
        assert picture.size[0] == 1800
    assert "<svg" in first[1].read_text() and "<dc:date>" not in first[1].read_text()


def test_drawing_leaves_the_callers_settings(record):
    before = dict(matplotlib.rcParams)
    angle_bins.draw(record)
    assert dict(matplotlib.rcParams) == before


# --- the command ---


def command(*arguments):
    words = [sys.executable, "-m", "figures", *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_writes_both_pictures(tmp_path, record):
    out = tmp_path / "pictures"
    done = command(record.path, "angle_bins", "--scope", "language_model", "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    names = [out / "angle_bins-language_model.png", out / "angle_bins-language_model.svg"]
    assert done.stdout.split() == [str(name) for name in names]
    assert names[0].stat().st_size > 10_000


def test_the_command_fails_in_one_line(tmp_path):
    done = command(tmp_path / "nowhere", "angle_bins")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "python -m probes.angles" in done.stderr


def test_an_unknown_scope_is_one_line(record, capsys):
    assert "error: `scope` must be one" in refused(capsys, record.path, "angle_bins", "--scope", "vision")
