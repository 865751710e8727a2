"""The heatmaps of a record's layers: its numbers in order of depth, 90 degrees in the middle of the colours."""

import numpy as np
import pandas as pd
import pytest

from figures import layers
from figures.style import save
from records import LAYER_ANGLES, RecordError, open_record, read_record
from records.columns import INTERVAL, OBJECTIVES
from tests.figures.drawing import draw, refused
from tests.records.synthetic import HEADER

GROUPS = ["vision_tower", "layer_00.attention", "layer_00.mlp", "layer_10.mlp", "final_norm"]
BINS = ["0", "1", "2", "all"]


def layers_frame():
    draw = np.random.default_rng(0)
    frame = pd.DataFrame([(group, bin_) for group in GROUPS for bin_ in BINS], columns=["group", "bin"])
    n = len(frame)
    columns = {f"{quantity}_{name}_mean": draw.random(n) for quantity in ("norm", "share") for name in OBJECTIVES}
    columns |= {f"{angle}_{end}_deg": draw.uniform(20, 110, n) for angle in LAYER_ANGLES for end in INTERVAL}
    frame = frame.assign(n_units=64, in_language_model=frame["group"] != "vision_tower", **columns)
    frame.loc[frame["group"] == "vision_tower", layers.ANGLE] = np.nan
    return frame


def write(folder, frame):
    with open_record(folder, HEADER | {"probe": "probes.layers"}) as writer:
        writer.finish({"layers": frame}, {})
    return folder


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return read_record(write(tmp_path_factory.mktemp("layers") / "record", layers_frame()), "layers")


@pytest.fixture(scope="module")
def figure(record):
    return layers.draw(record)


def drawn(ax):
    return np.ma.filled(ax.images[0].get_array(), np.nan)


def test_cells_are_the_records_from_vision_to_output(figure):
    frame = layers_frame()
    left, right = figure.axes[:2]
    np.testing.assert_array_equal(drawn(left), frame[layers.ANGLE].to_numpy().reshape(5, 4))
    np.testing.assert_allclose(drawn(right), 100 * frame[layers.SHARE].to_numpy().reshape(5, 4))
    words = [text.get_text() for text in left.get_yticklabels()]
    assert words == ["vision tower", "layer 0 attention", "layer 0 mlp", "layer 10 mlp", "final norm"]
    assert [text.get_text() for text in left.get_xticklabels()] == BINS
    assert left.yaxis_inverted()


def test_ninety_degrees_is_the_middle_of_the_colours(figure):
    norm = figure.axes[0].images[0].norm
    assert (norm.vmin + norm.vmax) / 2 == 90
    assert norm.vmin <= layers_frame()[layers.ANGLE].min()
    assert layers.angle_range(pd.DataFrame([[91.0]])).vmax == 120
    assert layers.angle_range(pd.DataFrame([[np.nan]])).vmin == 60


def test_shares_begin_at_zero(figure):
    assert figure.axes[1].images[0].norm.vmin == 0


def test_a_scope_chooses_the_groups(record):
    words = [text.get_text() for text in layers.draw(record, "language_model").axes[0].get_yticklabels()]
    assert words[0] == "layer 0 attention" and len(words) == 4
    with pytest.raises(RecordError, match="`scope` must be one of all, language_model, not 'vision'"):
        layers.draw(record, "vision")


def test_signed_bins_are_called_pooled(figure, tmp_path):
    with open_record(tmp_path / "record", HEADER | {"settings": HEADER["settings"] | {"unit": "signed-bin"}}) as writer:
        writer.finish({"layers": layers_frame()}, {})
    pooled = layers.draw(read_record(tmp_path / "record", "layers"))
    titles = [drawn.axes[0].get_title(loc="left") for drawn in (figure, pooled)]
    assert titles[0].startswith("(a) angle of") and titles[1].startswith("(a) pooled angle of")


def test_the_title_says_what_was_measured(figure):
    assert "student student, teacher teacher · unit: token, 64 in all" in figure.get_suptitle()


def test_pictures_are_the_same_twice(record, tmp_path):
    first, second = (save(layers.draw(record), tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_command(record, tmp_path, capsys):
    stem = tmp_path / "layers-language_model"
    shown = draw(capsys, record.path, "layers", "--scope", "language_model", "--out", tmp_path)
    assert shown == [f"{stem}.png", f"{stem}.svg"]
    assert "`scope`" in refused(capsys, record.path, "layers", "--scope", "vision")
    assert "python -m probes.layers" in refused(capsys, tmp_path / "none", "layers")
