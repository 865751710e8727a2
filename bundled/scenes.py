"""Seeded pictures with known content: grids of coloured shapes, pairs of circles, pairs of lines.

The last two follow the tasks of "Vision language models are blind" (arXiv:2407.06581) at a small size. Every
picture is 48 x 48 pixels, so that a patch of 12 and a merge of 2 give four visual tokens, one a grid cell.
"""

from dataclasses import dataclass
from functools import cached_property
from random import Random

from PIL import Image, ImageDraw

SIZE_PX = 48
CELL_PX = 24
_OVERSAMPLE = 4

COLOURS = {"red": (214, 48, 49), "blue": (41, 98, 220), "green": (34, 160, 80), "yellow": (240, 196, 25)}
SHAPES = ("circle", "square", "triangle", "cross")
PLACES = ("northwest", "northeast", "southwest", "southeast")
_BACKGROUND = (246, 246, 242)
_INK = (40, 40, 48)


@dataclass(frozen=True)
class Item:
    """One coloured shape in one of the four cells (in the order of `PLACES`)."""

    cell: int
    colour: str
    shape: str

    @property
    def place(self) -> str:
        return PLACES[self.cell]


@dataclass(frozen=True)
class Grid:
    """Up to four coloured shapes in a 2 x 2 grid, by cell."""

    items: tuple[Item, ...]
    jitter: int

    @classmethod
    def sample(cls, rng: Random, least: int = 1) -> "Grid":
        cells = sorted(rng.sample(range(4), rng.randint(least, 4)))
        items = tuple(Item(cell, rng.choice(tuple(COLOURS)), rng.choice(SHAPES)) for cell in cells)
        return cls(items, rng.getrandbits(32))

    @classmethod
    def single(cls, rng: Random) -> "Grid":
        """A grid with one shape."""
        item = Item(rng.randrange(4), rng.choice(tuple(COLOURS)), rng.choice(SHAPES))
        return cls((item,), rng.getrandbits(32))

    def content(self, cell: int) -> str:
        """What is in a cell, in words."""
        return next((f"{item.colour} {item.shape}" for item in self.items if item.cell == cell), "none")

    def draw(self) -> Image.Image:
        rng, canvas = Random(self.jitter), _Canvas()
        for item in self.items:
            row, column = divmod(item.cell, 2)
            x = column * CELL_PX + 12 + rng.uniform(-2, 2)
            y = row * CELL_PX + 12 + rng.uniform(-2, 2)
            canvas.shape(item.shape, x, y, rng.uniform(6, 9), COLOURS[item.colour])
        return canvas.picture()


@dataclass(frozen=True)
class Circles:
    """Two outlined circles of one radius that overlap or keep a gap; `gap_px` is negative where they overlap."""

    centres: tuple[tuple[float, float], tuple[float, float]]
    radius: float
    gap_px: float

    @property
    def touch(self) -> bool:
        return self.gap_px < 0

    @classmethod
    def sample(cls, rng: Random) -> "Circles":
        touch = rng.random() < 0.5
        radius = rng.uniform(7, 9)
        gap_px = rng.uniform(-6, -2) if touch else rng.uniform(3, 9)
        half_x, drop = radius + gap_px / 2, rng.uniform(-3, 3)
        x, y = 24 + rng.uniform(-2, 2), rng.uniform(13, 35)
        return cls(((x - half_x, y - drop / 2), (x + half_x, y + drop / 2)), radius, gap_px)

    def draw(self) -> Image.Image:
        canvas = _Canvas()
        for x, y in self.centres:
            canvas.ring(x, y, self.radius, _INK)
        return canvas.picture()


@dataclass(frozen=True)
class Lines:
    """A red and a blue line of two segments each; they cross where their order changes (0, 1 or 2 times)."""

    red: tuple[float, float, float]
    blue: tuple[float, float, float]

    @cached_property
    def red_above(self) -> tuple[bool, bool, bool]:
        """Whether red is above blue at the left end, the middle and the right end."""
        left, middle, right = (red < blue for red, blue in zip(self.red, self.blue, strict=True))
        return left, middle, right

    @property
    def crossings(self) -> int:
        left, middle, right = self.red_above
        return int(left != middle) + int(middle != right)

    @classmethod
    def sample(cls, rng: Random) -> "Lines":
        crossings = rng.randrange(3)
        turn = crossings == 2 or (crossings == 1 and rng.random() < 0.5)
        above = [rng.random() < 0.5]
        above.append(above[0] != turn)
        above.append(above[1] != (crossings == 2 or (crossings == 1 and not turn)))
        ends = [_two_heights(rng, first) for first in above]
        red, blue = zip(*ends, strict=True)
        return cls(red, blue)

    def draw(self) -> Image.Image:
        canvas = _Canvas()
        for heights, colour in ((self.red, "red"), (self.blue, "blue")):
            canvas.polyline(list(zip((4, 24, 44), heights, strict=True)), COLOURS[colour])
        return canvas.picture()


Scene = Grid | Circles | Lines


def _two_heights(rng: Random, red_above: bool) -> tuple[float, float]:
    upper = rng.uniform(6, 30)
    lower = rng.uniform(upper + 9, 43)
    return (upper, lower) if red_above else (lower, upper)


class _Canvas:
    """A picture drawn at four times its size, so that edges are smooth."""

    def __init__(self) -> None:
        side = SIZE_PX * _OVERSAMPLE
        self._image = Image.new("RGB", (side, side), _BACKGROUND)
        self._pen = ImageDraw.Draw(self._image)

    def picture(self) -> Image.Image:
        return self._image.reduce(_OVERSAMPLE)

    def shape(self, shape: str, x: float, y: float, radius: float, fill: tuple[int, int, int]) -> None:
        x, y, radius = x * _OVERSAMPLE, y * _OVERSAMPLE, radius * _OVERSAMPLE
        box = (x - radius, y - radius, x + radius, y + radius)
        if shape == "circle":
            self._pen.ellipse(box, fill=fill)
        elif shape == "square":
            self._pen.rectangle(box, fill=fill)
        elif shape == "triangle":
            self._pen.polygon([(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)], fill=fill)
        else:
            arm = radius * 0.36
            self._pen.rectangle((x - radius, y - arm, x + radius, y + arm), fill=fill)
            self._pen.rectangle((x - arm, y - radius, x + arm, y + radius), fill=fill)

    def ring(self, x: float, y: float, radius: float, ink: tuple[int, int, int]) -> None:
        x, y, radius = x * _OVERSAMPLE, y * _OVERSAMPLE, radius * _OVERSAMPLE
        box = (x - radius, y - radius, x + radius, y + radius)
        self._pen.ellipse(box, outline=ink, width=2 * _OVERSAMPLE)

    def polyline(self, points: list[tuple[float, float]], ink: tuple[int, int, int]) -> None:
        scaled = [(x * _OVERSAMPLE, y * _OVERSAMPLE) for x, y in points]
        self._pen.line(scaled, fill=ink, width=2 * _OVERSAMPLE, joint="curve")
