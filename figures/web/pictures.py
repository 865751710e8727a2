"""A figure as a picture inside a page: an SVG without a background, whose ink follows the reader's light or dark mode.

It is shown as an image and not as part of the page: its styles and names stay its own, and no script in it runs.
"""

import base64
import io
import re

from matplotlib.figure import Figure

from figures.style import INK, styled

PALETTES = {"light": {"ink": INK, "paper": "#ffffff"}, "dark": {"ink": "#e6e7e9", "paper": "#1d2024"}}
"""What ink and paper are in each mode; the objectives keep their colours."""
DPI = 150
"""Of what is drawn as pixels inside a picture."""
_STYLE = (
    "svg{{color:{light[ink]};--paper:{light[paper]}}}"
    "@media(prefers-color-scheme:dark){{svg{{color:{dark[ink]};--paper:{dark[paper]}}}}}"
)


def svg_url(figure: Figure) -> str:
    """Return a figure as a `data:` address of an SVG that follows dark mode."""
    out = io.BytesIO()
    with styled():
        figure.savefig(out, format="svg", dpi=DPI, transparent=True, metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(following(out.getvalue().decode()).encode()).decode()}"


def following(svg: str) -> str:
    """Return an SVG with its ink and its white replaced by names, and the colours of both modes for these names."""
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor")
    svg = re.sub(r"(fill|stroke): (#ffffff|white)", r"\1: var(--paper)", svg)
    style = _STYLE.format(**PALETTES)
    return re.sub(r"(<svg[^>]*>)", lambda head: f"{head[1]}<style>{style}</style>", svg, count=1)
