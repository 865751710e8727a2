"""Texts are broken where they fit, keys stand above their panels, and panels keep their height."""

import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import fitting, panels
from figures.sheets import on_sheet
from figures.style import styled


@pytest.fixture
def column():
    with on_sheet("column"), styled():
        yield


def test_a_text_is_broken_between_words_and_as_late_as_it_fits(column):
    text = Figure().text(0, 0, "one two three four")
    room = text.get_window_extent().width
    fitting.fold(text, room)
    assert text.get_text() == "one two three four"
    fitting.fold(text, room - 1)
    assert text.get_text() == "one two three\nfour"
    fitting.fold(text, 1.0)
    assert text.get_text() == "one\ntwo\nthree\nfour"


def test_an_upright_text_is_as_long_as_it_is_high(column):
    text = Figure().text(0, 0, "one two", rotation=90)
    fitting.fold(text, text.get_window_extent().height - 1)
    assert text.get_text() == "one\ntwo"


def test_a_panel_keeps_its_height_whatever_stands_above_and_below_it(column):
    def panel(title, **more):
        figure, [ax] = panels.grid(1, 1, (2.0,))
        ax.plot([0, 1], label="a line with a name that is long")
        ax.plot([1, 0], label="another with a name that is long")
        ax.set_title(title)
        if more:
            ax.legend()
        fitting.finish(figure, "A title " * 8, "words", **more)
        figure.draw_without_rendering()
        return ax.bbox.height

    many = [Line2D([], [], label=f"mark number {number}") for number in range(9)]
    assert panel("long words " * 9, handles=many) == pytest.approx(panel("short"), abs=8)


def test_keys_have_as_many_columns_as_fit(column):
    figure, [ax] = panels.grid(1, 1, (2.0,))
    fitting.finish(figure, "title", handles=[Line2D([], [], label="mark") for _ in range(12)])
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.width <= figure.bbox.width and 1 < figure.legends[0]._ncols < 12


@pytest.mark.parametrize(("n", "across", "labelled"), [(3, 2, [1, 2]), (4, 2, [2, 3]), (3, 1, [2])])
def test_the_lowest_panel_of_each_column_has_its_numbers(n, across, labelled, column):
    _, axes = panels.grid(n, across, (1.0,), sharex=True)
    shown = [place for place, ax in enumerate(axes) if ax.xaxis.get_tick_params()["labelbottom"]]
    assert len(axes) == n and shown == labelled


def test_a_caption_is_broken_between_its_parts_unless_one_is_longer_than_a_line(column):
    figure, _ = panels.grid(1, 1, (1.0,))
    parts = ("the student and the teacher", "", "all of the parameters of the student", "x y " * 30)
    height_pt = fitting.entitle(figure, "Title", *parts)
    lines = figure.get_suptitle().split("\n")
    assert lines[:3] == ["Title", "the student and the teacher \u00b7", "all of the parameters of the student \u00b7"]
    assert len(lines) > 4 and set("".join(lines[3:])) <= set("xy ")
    assert height_pt > 7 * len(lines)
