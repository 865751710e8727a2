"""The cards of the suite as one page of Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cli.options import flag_name
from study.suite import cards, designs

_HEAD: Final = """# Pairs with set gaps

`python -m study.suite --grid` makes the pairs and measures this page. `study/suite/designs.py` says how each student is
made. Losses are nats, means over the tokens of the student's own responses, {gap_prompts} prompts, those without a
picture left out. Bins are those of VDS, ten of equal size. Accuracy is over {answers} prompts; on high its standard
error is about three points. Angles are means over at most {per_bin} tokens per bin, {angle_prompts} prompts. `low` and
`high` are the 95 % interval of language-visual over prompts; `null` is the mean of unrelated tokens. A run on a pair:

    python -m train --student runs/suite/NAME/student --objective vgs {flags}

The rate times the number of steps is {path:g}, at most 0.05 of the spread of the weights. Spread is the SD of all
matrices of the student; distance is its difference from the teacher, root mean square, in units of the spread.
"""
_GAP_COLUMNS: Final = ("standard", "language", "visual")


def page(
    teacher: Mapping[str, Any], pairs: Mapping[str, Mapping[str, Any]], grid: Mapping[str, Mapping[str, Any]]
) -> str:
    """Return the page of the cards, by name; there may be none of the grid."""
    sections = [_head()]
    sections += [_pairs(teacher, pairs)] if pairs else []
    sections += [_grid(grid)] if grid else []
    sections += [_figure_3(name, card) for name, card in pairs.items()]
    return "\n".join(sections)


def _head() -> str:
    return _HEAD.format(
        flags="--eta none "
        + " ".join(f"{flag_name(name)} {value:g}" for name, value in designs.flags_of_run().items()),
        path=designs.RATE * designs.STEPS,
        gap_prompts=cards.GAP_PROMPTS,
        answers=cards.ANSWERS,
        angle_prompts=cards.ANGLE_PROMPTS,
        per_bin=cards.PER_BIN,
    )


def _pairs(teacher: Mapping[str, Any], pairs: Mapping[str, Mapping[str, Any]]) -> str:
    about = [f"- **{name}**: {card['about']}." for name, card in pairs.items()]
    answered = {"teacher": teacher} | dict(pairs)
    rows = [
        (name, *_shares(card, "with the picture"), *_shares(card, "without")[:2]) for name, card in answered.items()
    ]
    titles = ("", "high", "low", "text", "high, no picture", "low, no picture")
    return "\n".join(
        ["## The pairs", "", *about, "", _gaps(pairs), "", "Greedy accuracy, percent:", "", _table(titles, rows), ""]
    )


def _grid(grid: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (
            name,
            f"{card['design']['vision_noise']:g}",
            f"{card['design']['language']:g}",
            _shares(card, "with the picture")[0],
        )
        for name, card in grid.items()
    ]
    made = _table(("", "vision noise", "language moved by", "accuracy on high, %"), rows)
    return "\n".join(["## The grid", "", _gaps(grid), "", made, ""])


def _gaps(cards: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of gaps: all tokens, then bins 7 to 9 together, then bin 9."""
    groups = ("all", "bins 7-9", "bin 9")
    titles = ("", *(f"{loss}, {group}" for group in groups for loss in _GAP_COLUMNS), "VDS", "spread", "distance")
    rows = [
        (
            name,
            *(f"{card['gaps'][group][loss]:.3f}" for group in groups for loss in _GAP_COLUMNS),
            f"{card['gaps']['all']['vds']:.3f}",
            f"{card['weights']['spread']:.3f}",
            "-" if card["weights"]["distance"] is None else f"{card['weights']['distance']:.3f}",
        )
        for name, card in cards.items()
    ]
    return _table(titles, rows)


def _figure_3(name: str, card: Mapping[str, Any]) -> str:
    titles = tuple(card["angles"][0])
    rows = [tuple("-" if value is None else f"{value:g}" for value in row.values()) for row in card["angles"]]
    return "\n".join([f"## Angles of {name}, degrees", "", _table(titles, rows), ""])


def _shares(card: Mapping[str, Any], how: str) -> tuple[str, ...]:
    answered = card["accuracy"][how]
    return tuple(f"{100 * answered[group]:.1f}" for group in ("high", "low", "text"))


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
