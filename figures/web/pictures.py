"""A figure inside a page: an SVG without a background, whose colours follow the reader's light or dark mode.

It is shown as an image and not as part of the page: its styles and names stay its own, and no script in it runs.
"""

import base64
import io
import re
from collections.abc import Mapping
from typing import Final

from matplotlib.figure import Figure

from figures.style import COLOURS, INK, NULL_GREY, PAPER_INK, styled

DARK: Final[Mapping[str, str]] = {
    INK: "#e6e7e9",
    "#ffffff": "#1d2024",
    NULL_GREY: "#a2a9b3",
    PAPER_INK: "#b88ddb",
    COLOURS["standard"]: "#56a8dc",
    COLOURS["language"]: "#f08a3c",
    COLOURS["visual"]: "#2fc79b",
}
"""Colours that change in dark mode: ink, paper, and the hues that would be too dark."""
DPI: Final = 150
"""Of what is drawn as pixels inside a picture."""


def svg_url(figure: Figure) -> str:
    """Return a figure as a `data:` address of an SVG that follows dark mode."""
    out = io.BytesIO()
    with styled():
        figure.savefig(out, format="svg", dpi=DPI, transparent=True, metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(following(out.getvalue().decode()).encode()).decode()}"


def following(svg: str) -> str:
    """Return an SVG in which the colours of `DARK` are named, and the named colours of both modes."""
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    names = {light.lower(): f"--c{place}" for place, light in enumerate(DARK)}
    pattern = re.compile("|".join(names), re.IGNORECASE)
    svg = pattern.sub(lambda colour: f"var({names[colour[0].lower()]})", svg)
    light, dark = (";".join(f"--c{i}:{pair[mode]}" for i, pair in enumerate(DARK.items())) for mode in (0, 1))
    style = f"svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
    return re.sub(r"<svg[^>]*>", lambda head: f"{head[0]}<style>{style}</style>", svg, count=1)
