"""The picture of a monitored run: what is drawn of each number, and of a run without a null."""

import json
from dataclasses import replace

import pytest

from figures import monitor
from figures.gallery.rows import GALLERY
from records import RecordError, read_record
from records.journal import JournalWriter
from records.journal_lines import GeometryLine, LanguageRise
from records.run_folder import read_run
from tests.records.test_journal import evaluation
from tests.records.test_run_folder import CONFIG

NORMS = {"standard": 1.0, "language": 2.0, "visual": 3.0, "prior": 4.0, "shift": 5.0}
ANGLES = dict.fromkeys(
    [f"angle_{pair}" for pair in ("language_visual", "standard_visual", "standard_language", "prior_language")]
    + [f"angle_{pair}_attached" for pair in ("language_visual", "standard_visual")],
    60.0,
)


def run(folder, **of_monitor):
    """A run of two measurements; of_monitor: what a monitor adds to a geometry line."""
    (folder / "config.json").write_text(json.dumps(CONFIG))
    writer = JournalWriter(folder, 0, every_step=False)
    for step, low in ((0, 0.0), (50, 0.4)):
        writer.append(replace(evaluation(step), language_rise=LanguageRise(1.0, low, low, low)))
        norms, angles = (dict.fromkeys(("all", "language_model"), one) for one in (NORMS, ANGLES))
        writer.append(GeometryLine(step, norms, angles, {}, {}, 1.0, **of_monitor))
    return read_run(folder)


def lines_of(ax):
    return {line.get_label(): list(line.get_ydata()) for line in ax.lines if not line.get_label().startswith("_")}


def test_each_panel_shows_its_numbers(tmp_path):
    of_null = {"angle_deg": 80.0, "null_deg": 90.0, "difference_deg": -10.0, "error_deg": 2.0, "n_pairs": 8}
    against = {scope: {"upper": {"angle_language_visual": of_null}} for scope in ("all", "language_model")}
    record = run(tmp_path, gamma=2.0, eta=0.4, against_null=against)
    figure = monitor.draw(record, scope="language_model")
    losses, norms, angles, eta = figure.axes
    assert lines_of(losses)["visual, fixed responses"] == pytest.approx([0.1, 0.1])
    assert lines_of(norms) == {"standard": [1.0, 1.0], "visual": [3.0, 3.0], "language": [2.0, 2.0]}
    [bars] = angles.containers
    assert list(bars.lines[0].get_ydata()) == [-10.0, -10.0] and bars.get_label() == "q* held fixed, bins 7-9"
    [ends] = bars.lines[2]
    assert ends.get_segments()[0][:, 1].tolist() == [-14.0, -6.0]
    assert list(eta.lines[0].get_ydata()) == [0.4, 0.4]
    assert "unlearnt since step 50" in figure.get_suptitle()


def test_a_run_without_a_null_shows_its_angles_and_the_eta_that_they_imply(tmp_path):
    figure = monitor.draw(run(tmp_path))
    _, _, angles, eta = figure.axes
    assert lines_of(angles) == {"q* held fixed": [60.0, 60.0], "q* following": [60.0, 60.0]}
    assert eta.lines[0].get_ydata()[0] == pytest.approx(1.0 / (1.0 + 36.0 + 2 * 6.0 * 0.5) ** 0.5)


def test_several_runs_are_refused():
    with pytest.raises(RecordError, match="must be of one run for `monitor`"):
        monitor.draw(read_record(GALLERY / "study", "curves", "gradients"))
