"""The ribbon of tokens: colours, marks and angles are the record's, and any text is drawn as it stands."""

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import LogNorm, same_color
from matplotlib.patches import Rectangle
from PIL import Image

from figures import ribbon
from figures.style import COLOURS, NULL_GREY
from records import RecordError
from tests.figures.drawing import draw, refused
from tests.figures.geometries import WORDS, write_geometry
from tests.figures.lines import in_colour

ANGLE = "angle_language_visual"


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return write_geometry(tmp_path_factory.mktemp("ribbon") / "record")[0]


@pytest.fixture(scope="module")
def ax(record):
    return ribbon.draw(record, [1]).axes[0]


def is_angle(text):
    return same_color(text.get_color(), COLOURS["language"])


def expected(record, kind=ANGLE, threshold_deg=90.0):
    """Angle and conflict of each measured token, one at a time."""
    found = {}
    bins = record.tables["bins"].query("scope == 'all'").set_index("bin")
    for row in record.tables["units"].query("scope == 'all'").to_dict("records"):
        null = bins.loc[row["bin"]]
        beyond = null[f"{kind}_null_mean_deg"] + 2 * null[f"{kind}_null_std_deg"]
        angle = row[f"{kind}_deg"]
        found[row["rollout_id"], row["position"]] = (angle, angle > threshold_deg and angle > beyond)
    return found


@pytest.mark.parametrize(("attached", "threshold_deg"), [(False, 90.0), (True, 90.0), (False, 140.0)])
def test_conflicts_are_above_the_threshold_and_beyond_the_null(record, attached, threshold_deg):
    tokens = ribbon.marked(record, attached, threshold_deg)
    wanted = expected(record, ANGLE + "_attached" * attached, threshold_deg)
    for row in tokens.to_dict("records"):
        angle, conflict = wanted.get((row["rollout_id"], row["position"]), (np.nan, False))
        np.testing.assert_equal(row["angle_deg"], angle)
        assert row["conflict"] == conflict
    assert 0 < tokens["conflict"].sum() < len(wanted)
    assert len(tokens) == len(record.tables["tokens"])


def test_an_angle_within_the_null_is_no_conflict(record):
    bins = record.tables["bins"]
    wide = {**record.tables, "bins": bins.assign(**{f"{ANGLE}_null_std_deg": 50.0})}
    assert not ribbon.marked(type(record)(record.path, record.record, wide), False, 90.0)["conflict"].any()


def test_boxes_have_the_colour_of_the_vds(record, ax):
    boxes = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    tokens = record.tables["tokens"].query("rollout_id == 1")
    norm = LogNorm(*ribbon.VDS_RANGE_NATS)
    for box, vds in zip(boxes, tokens["vds_nats"], strict=True):
        assert same_color(box.get_facecolor(), colormaps["YlGnBu"](norm(np.clip(vds, *ribbon.VDS_RANGE_NATS))))


def test_marks_are_thick_thin_or_absent(record, ax):
    mine = {position: found for (rollout, position), found in expected(record).items() if rollout == 1}
    conflicts = [angle for angle, conflict in mine.values() if conflict]
    assert 0 < len(conflicts) < len(mine)
    thick = [found for found in in_colour(ax, COLOURS["language"]) if found.get_linewidth() > 2]
    thin = [found for found in in_colour(ax, NULL_GREY) if found.get_linewidth() < 1]
    assert (len(thick), len(thin)) == (len(conflicts), len(mine) - len(conflicts))
    assert [text.get_text() for text in ax.texts if is_angle(text)] == [f"{angle:.0f}" for angle in conflicts]


def test_text_is_drawn_as_it_stands(ax):
    words = [text.get_text() for text in ax.texts if not is_angle(text)]
    assert words[0] == "what $colour$ is it?  ·  expected blue: wrong"
    assert words[1:] == ["<reason>", "it", "is", "↵", "$5$", "□", "blue"]
    assert not any(text.get_parse_math() for text in ax.texts if "$" in text.get_text())


def test_tokens_stand_in_lines_that_are_not_too_long():
    places = ribbon.places(["aaaa"] * 10, 3.5 * (ribbon.token_width_pt("aaaa") + ribbon.GAP_PT))
    assert [line for _, line in places] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert {x for x, _ in places[::3]} == {0.0} and places[1][0] > ribbon.token_width_pt("aaaa")
    assert [line for _, line in ribbon.places(["a\n", "b"], 1000.0)] == [0, 1]
    assert ribbon.places(["a" * 90], 10.0) == [(0.0, 0)]


@pytest.mark.parametrize(
    ("text", "shown"), [(" a", "a"), ("", "·"), (" ", "·"), ("\n\n", "↵↵"), ("\x07", "□"), ("\t", "□"), ("中", "□")]
)
def test_what_the_font_lacks_is_a_box(text, shown):
    assert ribbon.shown(text) == shown


def test_responses_with_most_conflicts_come_first(record):
    tokens = ribbon.marked(record, False, 90.0)
    counts = tokens.groupby("rollout_id")["conflict"].sum()
    chosen = ribbon.choose(record, tokens, None)
    assert len(chosen) == 3 and 3 not in chosen  # the fourth is without a picture
    assert counts[chosen].is_monotonic_decreasing
    assert ribbon.choose(record, tokens, [3, 0]) == [3, 0]


def test_pictures_stand_beside_their_responses(record, tmp_path):
    Image.new("RGB", (8, 8), (200, 0, 0)).save(tmp_path / "a.png")
    with_picture, without = ribbon.draw(record, [0], [tmp_path / "a.png"]), ribbon.draw(record, [0])
    [image] = with_picture.axes[0].images
    assert image.get_array()[0, 0, 0] == 200 and not without.axes[0].images
    box = with_picture.axes[0].patches[0].get_x()
    assert box >= image.get_extent()[1] > without.axes[0].patches[0].get_x()
    with pytest.raises(RecordError, match="`pictures` must be one for each of 2 responses, not 1"):
        ribbon.draw(record, [0, 1], [tmp_path / "a.png"])


def test_everything_is_inside_the_picture(record):
    figure = ribbon.draw(record)
    figure.draw_without_rendering()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    assert len(figure.axes[0].patches) == 3 * len(WORDS)


def test_faults_are_one_line(record, tmp_path, capsys):
    trajectories = write_geometry(tmp_path / "record", "trajectory-bin")[0].path
    (tmp_path / "no.png").write_text("no picture")
    for words, message in (
        ((tmp_path / "none", "ribbon"), "python -m probes.angles"),
        ((trajectories, "ribbon"), "must be measured with `--unit token`, not trajectory-bin"),
        ((record.path, "ribbon", "--responses", "99"), "`responses` must be of those"),
        ((record.path, "ribbon", "--responses", "0", "--pictures", tmp_path / "no.png"), "no.png"),
        ((record.path, "ribbon", "--responses", "0", "--pictures", tmp_path / "absent.png"), "absent.png"),
    ):
        assert message in refused(capsys, *words)


def test_the_command_writes_the_same_pictures_twice(record, tmp_path, capsys):
    for folder in ("one", "two"):
        draw(capsys, record.path, "ribbon", "--attached", "--out", tmp_path / folder)
    for name in ("ribbon.png", "ribbon.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
