"""The forecast's picture: the record's numbers, a third row where steps were taken, and errors in one line."""

import numpy as np
import pandas as pd
import pytest

from figures import sensitivity
from figures.catalogue import picture
from figures.style import COLOURS, save
from records import RecordError, open_record, read_record
from records.tables.forecast import CHANGED, ENDS, PRIORS, STEERED_ANGLES
from tests.figures.drawing import draw, refused
from tests.records.synthetic import HEADER

BINS = ["0", "1", "2", "high", "all", "text"]
GAMMAS, LAMBDAS = (0.0, 1.0, 2.0, 4.0), (0.0, 1.0)


def grid():
    return [(prior, gamma, lambda_) for prior in PRIORS for lambda_ in LAMBDAS for gamma in GAMMAS]


def forecast_frame(draw):
    frame = pd.DataFrame(
        [(*step, bin_) for step in grid() for bin_ in BINS], columns=["prior", "gamma", "lambda", "bin"]
    )
    for loss in CHANGED:
        mean = draw.normal(size=len(frame)) * 10.0 ** draw.integers(-4, 2, len(frame))
        columns = dict(zip(ENDS, (mean, mean - 0.3 * abs(mean), mean + 0.3 * abs(mean)), strict=True))
        frame = frame.assign(**{f"d_{loss}_{end}_nats": values for end, values in columns.items()})
    return frame.assign(n_tokens=20)


def steering_frame(draw):
    frame = pd.DataFrame(grid(), columns=["prior", "gamma", "lambda"])
    angles = {f"angle_{name}_deg": draw.uniform(0, 180, len(frame)) for name in STEERED_ANGLES}
    return frame.assign(eta=1 / (1 + frame["gamma"]), norm=1.0 + frame["gamma"], **angles)


def readings_frame(rise):
    rows = [("gamma_rise", prior, np.nan, rise, 0.5, np.inf, np.nan) for prior in PRIORS]
    return pd.DataFrame(rows, columns=["reading", "prior", "gamma", "estimate", "low", "high", "times_eta"])


def step_frames(draw, steps):
    known = [(step, lr, loss) for step, rates in steps.items() for lr in rates for loss in ("language", "visual")]
    fits = pd.DataFrame(known, columns=["step", "lr", "loss"])
    fits = fits.assign(
        slope=draw.normal(1, 0.1, len(fits)), correlation=0.9, relative_error=np.resize([0.1, 0.9], len(fits))
    )
    changes = fits[["step", "lr", "loss"]].merge(pd.DataFrame({"bin": BINS[:4]}), how="cross")
    predicted = draw.normal(size=len(changes)) * 1e-3
    changes = changes.assign(
        n_tokens=5, predicted_nats=predicted, measured_nats=predicted * 1.1, slope=1.0, correlation=1.0
    )
    return {"step_changes": changes, "step_fits": fits}


def tables(rise=1.25, steps=None):
    draw = np.random.default_rng(0)
    found = {"forecast": forecast_frame(draw), "steering": steering_frame(draw), "readings": readings_frame(rise)}
    return found | (step_frames(draw, steps) if steps else {})


def write(folder, **asked):
    content = tables(**asked)
    with open_record(folder, HEADER | {"probe": "probes.sensitivity"}) as writer:
        writer.finish(content, {"prompts_of_directions": 4, "prompts_of_forecast": 3})
    return read_record(folder, *content)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return write(tmp_path_factory.mktemp("plain") / "record")


@pytest.fixture(scope="module")
def with_steps(tmp_path_factory):
    steps = {"sgd": (1e-3, 1e-2), "adamw": (1e-5, 1e-4)}
    return write(tmp_path_factory.mktemp("steps") / "record", steps=steps)


@pytest.fixture(scope="module")
def figure(record):
    return sensitivity.draw(record)


def line(ax, label):
    (found,) = [entry for entry in ax.lines if entry.get_label() == label]
    return found


def test_lines_over_gamma_are_the_records(record, figure):
    frame = record.tables["forecast"].query("prior == 'detached' and `lambda` == 0")
    for place, loss in ((0, "language"), (3, "visual")):
        upper = line(figure.axes[place], "upper bins")
        np.testing.assert_array_equal(upper.get_xdata(), GAMMAS)
        np.testing.assert_array_equal(upper.get_ydata(), frame[frame["bin"] == "high"][f"d_{loss}_mean_nats"])
        assert upper.get_color() == COLOURS[loss]
        every = frame[frame["bin"] == "all"][f"d_{loss}_mean_nats"]
        np.testing.assert_array_equal(line(figure.axes[place], "all bins").get_ydata(), every)
        assert any(list(entry.get_ydata()) == [0, 0] for entry in figure.axes[place].lines)
    strong = record.tables["forecast"].query("prior == 'detached' and `lambda` == 1 and bin == 'high'")
    found = line(figure.axes[0], "upper bins, lambda 1").get_ydata()
    np.testing.assert_array_equal(found, strong["d_language_mean_nats"])


def test_points_by_bin_are_the_records_with_numbered_bins_alone(record, figure):
    frame = record.tables["forecast"].query("prior == 'detached' and `lambda` == 0 and gamma == 2")
    found = line(figure.axes[1], "gamma 2")
    np.testing.assert_array_equal(np.round(found.get_xdata()), [0, 1, 2])
    expected = frame.set_index("bin").loc[["0", "1", "2"], "d_language_mean_nats"]
    np.testing.assert_array_equal(found.get_ydata(), expected)
    low, high = figure.axes[1].get_ylim()
    numbered = record.tables["forecast"].query("prior == 'detached' and `lambda` == 0 and bin in ['0', '1', '2']")
    numbered = numbered[numbered["gamma"].isin(sensitivity.SHOWN_GAMMAS)]
    assert low <= numbered["d_language_low_nats"].min() and numbered["d_language_high_nats"].max() <= high


def test_eta_and_angles_are_the_records(record, figure):
    steering = record.tables["steering"].query("`lambda` == 0")
    for prior in PRIORS:
        expected = steering[steering["prior"] == prior]["eta"]
        np.testing.assert_array_equal(line(figure.axes[2], f"q* {prior}").get_ydata(), expected)
    of_detached = steering[steering["prior"] == "detached"]
    for name, label in (("prior", "prior"), ("visual_attached", "visual, attached")):
        np.testing.assert_array_equal(line(figure.axes[5], label).get_ydata(), of_detached[f"angle_{name}_deg"])
    assert "Adam" in figure.axes[2].get_title(loc="left")


def test_the_other_prior(record):
    found = line(sensitivity.draw(record, "attached").axes[0], "upper bins").get_ydata()
    frame = record.tables["forecast"].query("prior == 'attached' and `lambda` == 0 and bin == 'high'")
    np.testing.assert_array_equal(found, frame["d_language_mean_nats"])
    with pytest.raises(RecordError, match="`prior` must be one of detached, attached, not 'both'"):
        sensitivity.draw(record, "both")


def test_the_caption_says_from_which_gamma_and_the_axis_does_not(record, figure, tmp_path):
    words = " ".join(figure.get_suptitle().split())
    assert "language loss of the upper bins rises from gamma 1.2 (95 %: 0.5 to never)" in words
    assert figure.axes[0].get_xlabel() == "gamma"
    never = write(tmp_path / "never", rise=np.inf)
    assert "rises from gamma never" not in sensitivity.draw(never).get_suptitle()
    assert "language loss of the upper bins never rises" in " ".join(sensitivity.draw(never).get_suptitle().split())


def test_steps_add_a_row(figure, with_steps):
    assert len(figure.axes) == 6
    axes = sensitivity.draw(with_steps).axes
    assert len(axes) == 9
    fits = with_steps.tables["step_fits"].query("step == 'sgd' and loss == 'visual'")
    slopes = [entry for entry in axes[7].lines if np.array_equal(entry.get_xdata(), fits["lr"])]
    assert any(np.array_equal(entry.get_ydata(), fits["slope"]) for entry in slopes)


def test_points_are_filled_where_first_order_holds(with_steps):
    ax = sensitivity.draw(with_steps).axes[6]
    fits, changes = with_steps.tables["step_fits"], with_steps.tables["step_changes"]
    filled = {False: 0, True: 0}
    for entry in ax.lines:
        if entry.get_linestyle() == "None":
            filled[entry.get_markerfacecolor() != "none"] += len(entry.get_xdata())
    n_held = int((fits["relative_error"] <= sensitivity.FIRST_ORDER).sum())
    assert filled == {True: 3 * n_held, False: 3 * (len(fits) - n_held)}
    assert len(changes) == 4 * len(fits)


def test_the_way_to_a_checkpoint_has_no_rate(tmp_path):
    after = write(tmp_path / "after", steps={"after": (np.nan,)})
    axes = sensitivity.draw(after).axes
    heights = {entry.get_ydata()[0] for entry in axes[7].lines}
    assert set(after.tables["step_fits"]["slope"]) <= heights
    save(sensitivity.draw(after), tmp_path / "picture")


def test_pictures_are_the_same_bytes(with_steps, tmp_path):
    first, second = (save(sensitivity.draw(with_steps), tmp_path / name / "sensitivity") for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_command(record, with_steps, tmp_path, capsys):
    stem = tmp_path / "sensitivity-attached"
    shown = draw(capsys, record.path, "sensitivity", "--prior", "attached", "--out", tmp_path)
    assert shown == [f"{stem}.png", f"{stem}.svg"]
    assert len(draw(capsys, with_steps.path, "sensitivity", "--out", tmp_path)) == 2
    assert "`prior`" in refused(capsys, record.path, "sensitivity", "--prior", "both")
    assert "python -m probes.sensitivity" in refused(capsys, tmp_path / "none", "sensitivity")


def test_the_steps_that_were_taken_are_read_where_they_are_there(record, with_steps):
    read = picture("sensitivity").read
    assert "step_fits" in read(with_steps.path).tables and "step_fits" not in read(record.path).tables
