"""The questions asked about the pictures, and how a careful speaker answers them.

A task turns a seeded random generator into an `Example`. Answers are worded in several ways and in free order: the
language has entropy, as real responses have. `dependency` says what the answer needs:

- high: the picture; low: a picture is there, but the question already tells; text: there is no picture.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from bundled.scenes import COLOURS, PLACES, SHAPES, Circles, Grid, Lines, Scene

NAMES = ("ann", "bob", "cid", "dan", "eve", "fay")


@dataclass(frozen=True)
class Example:
    """One question with its picture (or none), its answer, and one worded response."""

    task: str
    dependency: str
    question: str
    answer: str
    response: str
    scene: Scene | None


def sample(task: str, rng: Random) -> Example:
    """Draw one example of `task` (a key of `TASKS`)."""
    dependency, make = TASKS[task]
    question, reasons, answer, scene = make(rng)
    remark = _remark(rng)
    sentences = [remark, *reasons] if rng.random() < 0.5 else [*reasons, remark]
    reason = " ".join(sentence for sentence in sentences if sentence)
    response = f"<reason> {reason} </reason> \\boxed{{ {answer} }}"
    return Example(task, dependency, question, answer, response, scene)


def caption(rng: Random) -> Example:
    """Draw a picture with a full description in fixed words; for training alone, it is no task."""
    scene = rng.choice((Grid, Grid, Grid, Circles, Lines)).sample(rng)
    if isinstance(scene, Grid):
        words = ", ".join(f"{place}: {scene.content(cell)}" for cell, place in enumerate(PLACES))
    elif isinstance(scene, Circles):
        words = "the circles touch" if scene.touch else "the circles do not touch"
    else:
        sides = zip(("left", "centre", "right"), scene.red_above, strict=True)
        words = ", ".join(f"{x}: {'red above blue' if red else 'blue above red'}" for x, red in sides)
    return Example("caption", "high", "what do you see?", "", words, scene)


# What a task returns: question, the sentences of the reason, answer, scene.
_Made = tuple[str, list[str], str, Scene | None]


def _colour(rng: Random) -> _Made:
    scene = Grid.single(rng)
    (item,) = scene.items
    ask = rng.choice(("what colour is the shape?", "what is the colour of the shape?"))
    conclude = rng.choice(("its colour is {}.", "the colour is {}.", "it is {}."))
    return ask, [_survey(rng, scene), _so(rng, conclude.format(item.colour))], item.colour, scene


def _shape(rng: Random) -> _Made:
    scene = Grid.single(rng)
    (item,) = scene.items
    ask = rng.choice(("which shape is there?", "what shape do you see?"))
    conclude = rng.choice(("its shape is a {}.", "the shape is a {}.", "it is a {}."))
    return ask, [_survey(rng, scene), _so(rng, conclude.format(item.shape))], item.shape, scene


def _place(rng: Random) -> _Made:
    scene = Grid.single(rng)
    (item,) = scene.items
    ask = rng.choice(("where is the shape?", "at which place is the shape?"))
    conclude = rng.choice(("its place is the {}.", "the place is the {}.", "it is in the {}."))
    return ask, [_survey(rng, scene), _so(rng, conclude.format(item.place))], item.place, scene


def _count(rng: Random) -> _Made:
    scene = Grid.sample(rng, least=2)
    wanted = rng.choice(tuple(COLOURS) if rng.random() < 0.5 else SHAPES)
    number = sum(wanted in (item.colour, item.shape) for item in scene.items)
    ask = rng.choice(("how many {} shapes are there?", "how many {} shapes do you see?"))
    total = rng.choice(("that makes {}.", "there are {}.", "in all {}.")).format(number)
    return ask.format(wanted), [_survey(rng, scene), _so(rng, total)], str(number), scene


def _touch(rng: Random) -> _Made:
    scene = Circles.sample(rng)
    ask = rng.choice(("do the two circles touch?", "do the circles touch?"))
    if scene.touch:
        seen = rng.choice(
            ("the circles overlap.", "one circle cuts the other.", "there is no gap between the circles.")
        )
        end = rng.choice(("they touch.", "yes, they do touch."))
    else:
        seen = rng.choice(
            ("there is a gap between the circles.", "the circles are apart.", "one circle is off the other.")
        )
        end = rng.choice(("they do not touch.", "no, they do not."))
    return ask, [seen, _so(rng, end)], "yes" if scene.touch else "no", scene


def _cross(rng: Random) -> _Made:
    scene = Lines.sample(rng)
    ask = rng.choice(("how many times do the lines cross?", "how often do the two lines cross?"))
    steps = list(zip(("left", "centre", "right"), scene.red_above, strict=True))
    if rng.random() < 0.5:
        steps.reverse()
    over = rng.choice(("{0} above {1}", "{0} over {1}", "{0} is on top"))
    walk = [f"{x}: " + over.format(*(("red", "blue") if red else ("blue", "red"))) for x, red in steps]
    end = rng.choice(("they cross {} times.", "that makes {}.", "in all {}.")).format(scene.crossings)
    return ask, [", ".join(walk) + ".", _so(rng, end)], str(scene.crossings), scene


def _told_colour(rng: Random) -> _Made:
    scene = Grid.sample(rng)
    item = rng.choice(scene.items)
    colour = rng.random() < 0.5
    ask = "what colour is it?" if colour else "which shape is it?"
    answer = item.colour if colour else item.shape
    question = f"the shape in the {item.place} is a {item.colour} {item.shape}. {ask}"
    opening = rng.choice(("the question tells that it is a {} {}.", "we are told of a {} {}."))
    return question, [opening.format(item.colour, item.shape), _so(rng, f"it is {answer}.")], answer, scene


def _told_count(rng: Random) -> _Made:
    scene = Grid.sample(rng)
    first, second = rng.sample(tuple(COLOURS), 2)
    number = {c: sum(item.colour == c for item in scene.items) for c in (first, second)}
    wanted = rng.choice((first, second))
    question = f"there are {number[first]} {first} shapes and {number[second]} {second} shapes. how many are {wanted}?"
    opening = rng.choice(("the question tells of {} shapes: {}.", "of {} shapes we are told: {}."))
    return question, [_so(rng, opening.format(wanted, number[wanted]))], str(number[wanted]), scene


def _sum_beside_picture(rng: Random) -> _Made:
    question, reasons, answer, _ = _sum(rng)
    scene = rng.choice((Grid, Circles, Lines)).sample(rng)
    return question, reasons, answer, scene


def _sum(rng: Random) -> _Made:
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    ask = rng.choice(("what is {} plus {}?", "how much is {} plus {}?", "add {} and {}."))
    work = rng.choice(("{} plus {} is {}.", "{} and {} make {}."))
    operands = (a, b) if rng.random() < 0.5 else (b, a)
    return ask.format(a, b), [_so(rng, work.format(*operands, a + b))], str(a + b), None


def _difference(rng: Random) -> _Made:
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    a, b = max(a, b), min(a, b)
    ask = rng.choice(("what is {} minus {}?", "how much is {} minus {}?"))
    work = rng.choice(("{} minus {} is {}.", "{} less {} is {}."))
    return ask.format(a, b), [_so(rng, work.format(a, b, a - b))], str(a - b), None


def _order(rng: Random) -> _Made:
    tall, mid, short = rng.sample(NAMES, 3)
    facts = [f"{tall} is taller than {mid}.", f"{mid} is taller than {short}."]
    rng.shuffle(facts)
    end = rng.choice(("tallest", "shortest"))
    answer = tall if end == "tallest" else short
    chain = f"{tall}, {mid}, {short}" if rng.random() < 0.5 else f"{tall} over {mid} over {short}"
    order = rng.choice(("the order is {}.", "we get {}.")).format(chain)
    return f"{' '.join(facts)} who is {end}?", [order, _so(rng, f"{answer} is {end}.")], answer, None


def _survey(rng: Random, scene: Grid) -> str:
    """What is in each cell, in reading order or backwards."""
    cells = list(enumerate(PLACES))
    if rng.random() < 0.5:
        cells.reverse()
    entry = rng.choice(("{}: {}", "the {} has {}"))
    return ", ".join(entry.format(place, scene.content(cell)) for cell, place in cells) + "."


def _so(rng: Random, sentence: str) -> str:
    return rng.choice(("so ", "thus ", "hence ", "")) + sentence


def _remark(rng: Random) -> str:
    """An aside that the answer does not need."""
    if rng.random() < 0.5:
        return ""
    return rng.choice(("let me look.", "let me think.", "one moment.", "step by step.", "this is easy.", "well, well."))


TASKS: dict[str, tuple[str, Callable[[Random], _Made]]] = {
    "colour": ("high", _colour),
    "shape": ("high", _shape),
    "place": ("high", _place),
    "count": ("high", _count),
    "touch": ("high", _touch),
    "cross": ("high", _cross),
    "told-colour": ("low", _told_colour),
    "told-count": ("low", _told_count),
    "sum-beside-picture": ("low", _sum_beside_picture),
    "sum": ("text", _sum),
    "difference": ("text", _difference),
    "order": ("text", _order),
}
