"""Pictures hold what they say they hold."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundled.scenes import CELL_PX, COLOURS, SIZE_PX, Circles, Grid, Lines

SEEDS = st.integers(0, 10**6)


@given(SEEDS)
def test_a_scene_is_drawn_the_same_twice(seed: int) -> None:
    for kind in (Grid, Circles, Lines):
        first, second = kind.sample(Random(seed)), kind.sample(Random(seed))
        assert first == second
        assert first.draw().tobytes() == second.draw().tobytes()
        assert first.draw().size == (SIZE_PX, SIZE_PX)


@given(SEEDS)
def test_each_cell_shows_its_own_colour_and_no_other(seed: int) -> None:
    scene = Grid.sample(Random(seed))
    pixels = np.asarray(scene.draw())
    for cell in range(4):
        row, column = divmod(cell, 2)
        part = pixels[row * CELL_PX : (row + 1) * CELL_PX, column * CELL_PX : (column + 1) * CELL_PX].reshape(-1, 3)
        shown = {name for name, rgb in COLOURS.items() if (part == rgb).all(axis=1).any()}
        assert shown == ({scene.content(cell).split()[0]} - {"none"})


@given(SEEDS)
def test_circles_touch_where_the_distance_of_their_centres_says_so(seed: int) -> None:
    scene = Circles.sample(Random(seed))
    (x1, y1), (x2, y2) = scene.centres
    distance = np.hypot(x1 - x2, y1 - y2)
    assert scene.touch == (distance < 2 * scene.radius)
    assert abs(distance - 2 * scene.radius) > 1.0, "too close to tell at this size"


@given(SEEDS)
def test_crossings_are_those_of_the_segments(seed: int) -> None:
    scene = Lines.sample(Random(seed))
    x = np.linspace(0, 2, 2001)
    red, blue = (np.interp(x, (0, 1, 2), heights) for heights in (scene.red, scene.blue))
    assert scene.crossings == int((np.diff(np.sign(red - blue)) != 0).sum())


@pytest.mark.parametrize("crossings", [0, 1, 2])
def test_every_number_of_crossings_occurs(crossings: int) -> None:
    rng = Random(0)
    assert any(Lines.sample(rng).crossings == crossings for _ in range(50))
