"""What trackers are handed: pictures in the form that each takes, and a table of responses."""

import sys
from types import ModuleType

import numpy as np
import pytest

from figures import for_trackers
from figures.catalogue import Picture
from figures.for_trackers import TAKERS, markdown, pixels, run_pictures, show
from records import RecordError
from tests.records.test_run_folder import run  # noqa: F401  # a fixture

ROWS = [{"prompt": "what | where\n?", "vds_nats": 0.123456}, {"prompt": "which", "vds_nats": 2.0}]


class Kept:
    """A tracker that keeps what it is given."""

    def __init__(self, name):
        self.name, self.taken = name, []

    def log(self, values, step=None, **settings):
        self.taken.append(("log", values, step, settings))

    def log_images(self, values, step=None, **settings):
        self.taken.append(("log_images", values, step, settings))

    def log_table(self, name, columns=None, data=None, step=None):
        self.taken.append(("log_table", {name: (columns, data)}, step, {}))


@pytest.fixture
def trackio(monkeypatch):
    """A package in the place of trackio."""
    module = ModuleType("trackio")
    module.Image = lambda value: ("image", value)
    module.Table = lambda dataframe: ("table", dataframe)
    monkeypatch.setitem(sys.modules, "trackio", module)


def test_the_pictures_of_a_run_are_those_that_belong_to_it(run, monkeypatch):  # noqa: F811
    pictures = run_pictures(run)
    assert set(pictures) == {f"pictures/{name}" for name in ("loss_dynamics", "step_time", "training_curves")}
    for one in pictures.values():
        assert one.dtype == np.uint8 and one.shape[2] == 3 and one.shape[1] > 500 and one.min() < 100 < one.max()

    def fail(self, record, **options):
        raise RecordError("nothing to draw")

    monkeypatch.setattr(Picture, "draw", fail)
    assert run_pictures(run) == {}


@pytest.mark.parametrize("name", TAKERS)
def test_each_tracker_takes_its_own_form(name, run, trackio, monkeypatch):  # noqa: F811
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    monkeypatch.setattr(for_trackers, "run_pictures", lambda folder: {"pictures/one": picture})
    tracker = Kept(name)
    show([tracker, Kept("mlflow")], run, 7, ROWS)
    (how, images, step, settings), (how_table, tables, _, _) = tracker.taken
    assert step == 7 and len(tracker.taken) == 2
    [value] = images.values()
    if name == "tensorboard":
        assert how == "log_images" and value.shape == (1, 2, 4, 3) and settings == {"dataformats": "NHWC"}
        assert tables == {"responses": markdown(ROWS)} and how_table == "log"
    elif name == "wandb":
        assert how == "log_images" and np.array_equal(value[0], picture) and how_table == "log_table"
        assert tables["responses"] == (["prompt", "vds_nats"], [list(row.values()) for row in ROWS])
    else:
        assert how == how_table == "log" and value[0] == "image" and np.array_equal(value[1], picture)
        assert tables["responses"][1].to_dict("records") == ROWS


def test_trackers_that_take_numbers_alone_cost_nothing(run, monkeypatch):  # noqa: F811
    monkeypatch.setattr(for_trackers, "run_pictures", lambda folder: pytest.fail("drawn for nobody"))
    other = Kept("mlflow")
    show([other], run, 0, ROWS)
    assert other.taken == []


def test_no_picture_and_no_table_are_not_handed_over(run, monkeypatch):  # noqa: F811
    monkeypatch.setattr(for_trackers, "run_pictures", lambda folder: {})
    tracker = Kept("tensorboard")
    show([tracker], run, 0, [])
    assert tracker.taken == []


def test_a_table_in_markdown_has_one_line_for_each_row():
    lines = markdown(ROWS).splitlines()
    assert lines == ["| prompt | vds_nats |", "| --- | --- |", "| what \\| where ? | 0.123 |", "| which | 2 |"]


def test_pixels_show_the_figure():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([0, 1])
    shown = pixels(figure)
    assert shown.shape == (100, 200, 3) and shown.max() == 255 and shown.min() < 100
