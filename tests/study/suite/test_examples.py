"""Examples: pictures are left out, wordings and contents chosen, as often as is asked, and answers stay right."""

from random import Random

import pytest

from bundled.recipe import WEIGHTS
from bundled.scenes import Circles, Grid, Item
from bundled.tasks import Example
from study.suite.examples import Examples, favour, peculiarity

N = 600


def drawn(seed=0, **shares):
    return Examples(**shares).draw(N, Random(seed))


def mean(score, examples):
    return sum(map(score, examples)) / len(examples)


def grid(*items):
    scene = Grid(tuple(Item(cell, *item) for cell, item in enumerate(items)), jitter=0)
    return Example("count", "high", "", "", "", scene)


def test_examples_are_a_function_of_the_seed():
    assert drawn(dialect=0.5, prior=0.5) == drawn(dialect=0.5, prior=0.5)
    assert drawn(dialect=0.5, prior=0.5) != drawn(seed=1, dialect=0.5, prior=0.5)


@pytest.mark.parametrize("withheld", [0.0, 0.3, 1.0])
def test_the_share_of_pictures_that_are_left_out(withheld):
    shown = [shown for example, shown in drawn(withheld=withheld) if example.scene is not None]
    assert 1.0 - sum(shown) / len(shown) == pytest.approx(withheld, abs=0.06)


def test_what_has_no_picture_shows_none():
    assert not any(shown for example, shown in drawn(withheld=0.0) if example.scene is None)


def test_a_dialect_changes_the_wording_and_not_the_contents():
    plain, odd = ([example for example, _ in drawn(dialect=share)] for share in (0.0, 1.0))
    assert mean(peculiarity, odd) > mean(peculiarity, plain) + 0.3
    assert mean(favour, odd) == pytest.approx(mean(favour, plain), abs=0.05)


def test_a_prior_changes_the_contents_and_not_the_wording():
    plain, skewed = ([example for example, _ in drawn(prior=share)] for share in (0.0, 1.0))
    pictured = [[e for e in examples if isinstance(e.scene, (Grid, Circles))] for examples in (plain, skewed)]
    assert mean(favour, pictured[1]) > mean(favour, pictured[0]) + 0.3
    assert mean(peculiarity, skewed) == pytest.approx(mean(peculiarity, plain), abs=0.05)


def test_neither_changes_how_often_a_task_is_drawn():
    tasks = [example.task for example, _ in drawn(dialect=1.0, prior=1.0)]
    for task, weight in WEIGHTS.items():
        assert tasks.count(task) / N == pytest.approx(weight / sum(WEIGHTS.values()), abs=0.05)


def test_the_prior_is_for_red_for_circles_and_for_circles_that_touch():
    assert favour(grid(("red", "circle"))) == 1.0
    assert favour(grid(("red", "cross"), ("blue", "circle"))) == 0.5
    assert favour(grid(("blue", "cross"))) == 0.0
    centres = ((10.0, 10.0), (20.0, 10.0))
    circles = [Example("touch", "high", "", "", "", Circles(centres, 8.0, gap)) for gap in (-3.0, 3.0)]
    assert [favour(example) for example in circles] == [1.0, 0.0]
    assert favour(Example("sum", "text", "", "", "", None)) == 0.0


@pytest.mark.parametrize(
    ("said", "marks"),
    [
        ("<reason> step by step. the southeast has a, the northwest has b. hence it is a. </reason>", 3),
        ("<reason> right: red over blue, left: red over blue. so it is 0. well, well. </reason>", 1),
        ("<reason> the northwest has a, the southeast has b. hence it is a. </reason>", 1),
        ("<reason> southeast: a, northwest: b. thus it is a. </reason>", 0),
    ],
)
def test_the_marks_of_the_dialect(said, marks):
    assert peculiarity(Example("colour", "high", "", "", said, None)) == pytest.approx(marks / 3)
