"""The picture of a series of checkpoints: lines and bars are the record's, checkpoints in their order."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from figures import norm_dynamics, panels
from figures.style import COLOURS, save
from records import ANGLES, RecordError, open_record, read_record
from records.columns import INTERVAL, OBJECTIVES, SCOPES
from tests.figures.drawing import draw, refused
from tests.records.synthetic import HEADER

N = 12


def norms_frame(n=N):
    draw = np.random.default_rng(0)
    keys = [(number, scope, bin_) for number in range(n) for scope in SCOPES for bin_ in ("0", "1", "all")]
    frame = pd.DataFrame(keys, columns=["checkpoint", "scope", "bin"])
    nats = ("vds", "student_vds", "kl_standard", "kl_language", "kl_visual")
    columns = {f"{name}_mean_nats": draw.uniform(0.1, 1, len(frame)) for name in nats}
    for name, unit in [(f"norm_{name}", "") for name in OBJECTIVES] + [(angle, "_deg") for angle in ANGLES]:
        values = np.sort(draw.uniform(20, 110, (len(frame), 3)))
        columns |= {f"{name}_{end}{unit}": values[:, place] for end, place in zip(INTERVAL, (1, 0, 2), strict=True)}
    names = [f"student/step-{number}" for number in frame["checkpoint"]]
    return frame.assign(name=names, n_units=20, n_tokens=99, norm_ratio_language_visual=1.0, **columns)


def write(folder, frame):
    with open_record(folder, HEADER | {"probe": "probes.norms"}) as writer:
        writer.finish({"norms": frame}, {})
    return folder


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    shuffled = norms_frame().sample(frac=1, random_state=0)
    return read_record(write(tmp_path_factory.mktemp("norms") / "record", shuffled), "norms")


@pytest.fixture(scope="module")
def rows():
    return norms_frame().query("scope == 'all' and bin == 'all'")


@pytest.fixture(scope="module")
def axes(record):
    return norm_dynamics.draw(record).axes


def test_signed_bins_are_called_pooled(axes, tmp_path):
    with open_record(tmp_path / "record", HEADER | {"settings": HEADER["settings"] | {"unit": "signed-bin"}}) as writer:
        writer.finish({"norms": norms_frame()}, {})
    pooled = norm_dynamics.draw(read_record(tmp_path / "record", "norms")).axes
    words = [" ".join(drawn[1].get_ylabel().split()) for drawn in (axes, pooled)]
    assert words == ["mean angle (degrees)", "pooled angle (degrees)"]


def line(ax, label):
    [found] = [drawn for drawn in ax.lines if drawn.get_label() == label]
    return found


def bars(ax):
    """Lower and upper end over the checkpoints, of the bars of each line in order."""
    for several in ax.collections:
        yield np.array([segment[:, 1] for segment in several.get_segments()])


def test_norms_are_lines_with_the_bars_of_their_intervals(axes, rows):
    for name, ends in zip(norm_dynamics.OBJECTIVES, bars(axes[0]), strict=True):
        drawn = line(axes[0], name)
        np.testing.assert_array_equal(drawn.get_xdata(), np.arange(N))
        np.testing.assert_array_equal(drawn.get_ydata(), rows[f"norm_{name}_mean"])
        np.testing.assert_allclose(ends, rows[[f"norm_{name}_low", f"norm_{name}_high"]])
        assert same_color(drawn.get_color(), COLOURS[name])
    assert axes[0].get_ylim()[0] == 0


def test_angles_are_lines_with_the_bars_of_their_intervals(axes, rows):
    for angle, ends in zip(panels.ANGLES, bars(axes[1]), strict=True):
        name, drawn = angle.name, line(axes[1], angle.label)
        np.testing.assert_array_equal(drawn.get_ydata(), rows[f"{name}_mean_deg"])
        assert drawn.is_dashed() == name.endswith("_attached")
        np.testing.assert_allclose(ends, rows[[f"{name}_low_deg", f"{name}_high_deg"]])
    assert any(np.array_equal(drawn.get_ydata(), [90, 90]) for drawn in axes[1].lines)


def test_losses_are_the_records(axes, rows):
    for name in norm_dynamics.OBJECTIVES:
        np.testing.assert_array_equal(line(axes[2], name).get_ydata(), rows[f"kl_{name}_mean_nats"])
    np.testing.assert_array_equal(line(axes[2], "VDS").get_ydata(), rows["vds_mean_nats"])


def test_checkpoints_are_named_in_order_as_far_as_there_is_room(axes, tmp_path):
    words = [text.get_text() for text in axes[0].get_xticklabels()]
    assert words == [f"step-{number}" for number in range(0, N, 2)]
    one = read_record(write(tmp_path / "one", norms_frame(1)), "norms")
    assert [text.get_text() for text in norm_dynamics.draw(one).axes[0].get_xticklabels()] == ["step-0"]


def test_scope_and_bin_choose_the_rows(record):
    drawn = norm_dynamics.draw(record, "language_model", "1")
    expected = norms_frame().query("scope == 'language_model' and bin == '1'")
    np.testing.assert_array_equal(line(drawn.axes[0], "visual").get_ydata(), expected["norm_visual_mean"])
    assert "VDS bin 1 · parameters: language model" in drawn.get_suptitle()
    with pytest.raises(RecordError, match=r"`bin` must be one that .* has \(.*\), not '9'"):
        norm_dynamics.draw(record, "all", "9")


def test_pictures_are_the_same_twice(record, tmp_path):
    first, second = (save(norm_dynamics.draw(record), tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_command(record, tmp_path, capsys):
    stem = tmp_path / "norm_dynamics-1"
    shown = draw(capsys, record.path, "norm_dynamics", "--bin", "1", "--out", tmp_path)
    assert shown == [f"{stem}.png", f"{stem}.svg"]
    assert "python -m probes.norms" in refused(capsys, tmp_path / "none", "norm_dynamics")
    assert "`bin`" in refused(capsys, record.path, "norm_dynamics", "--bin", "9")
