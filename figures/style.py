"""How every figure looks: sizes, fonts, and one colour for each objective everywhere.

The colours are Okabe and Ito's, which colour-blind readers and readers of prints can distinguish.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import matplotlib
import seaborn
from matplotlib.figure import Figure

from figures.sheets import sheet
from records.files import write_whole

INK: Final = "#222222"
NULL_GREY: Final = "#8C8C8C"
PAPER_INK: Final = "#7A4B9E"  # what the paper published, wherever it stands next to ours

DASHED: Final = (0, (4, 2.2))  # what the paper published
DOTTED: Final = (0, (1, 1.6))  # 90 degrees

COLOURS: Final = {
    "standard": "#0072B2",
    "language": "#D55E00",
    "visual": "#009E73",
    "prior": "#CC79A7",
    "shift": "#E69F00",
}
# What a student was trained on. An arm has its objective's hue, a variant of it another lightness and a broken line.
ARM_COLOURS: Final = {
    "initial": NULL_GREY,
    "standard": COLOURS["standard"],
    "vgs-lp": COLOURS["visual"],
    "vgs": "#00543D",
    "vgs-gamma-1": "#6CCBB0",
    "vgs-frozen": "#CC3311",
    "vgs-lp-lambda-1": "#000000",
    "vgs-lp-gamma-0-lambda-1": "#7F7F00",
    "vgs-lp-attached": "#8A8F00",
    "language-steering": COLOURS["language"],
    "language-steering-printed": "#8A3D00",
    "adaptive": "#E69F00",
    "off-policy": "#56B4E9",
    "grpo": "#CC79A7",
    "grpo+standard": "#882255",
    "grpo+standard-matched": "#B5739A",
    "grpo+vgs-lp": "#332288",
}
ARM_LINES: Final[dict[str, Any]] = {  # those that are not drawn through
    "vgs": DASHED,
    "vgs-gamma-1": (0, (6, 1.4, 1.2, 1.4)),
    "vgs-lp-gamma-0-lambda-1": (0, (1.5, 1.2)),
    "vgs-lp-attached": DASHED,
    "language-steering-printed": DASHED,
    "grpo+standard-matched": DASHED,
}
# Each angle lies between two objectives: its line has the colour of the first, its points that of the second.
PAIRS: Final = {
    "angle_language_visual": ("language", "visual"),
    "angle_standard_visual": ("standard", "visual"),
    "angle_standard_language": ("standard", "language"),
    "angle_language_visual_attached": ("language", "visual"),
    "angle_standard_visual_attached": ("standard", "visual"),
    "angle_prior_language": ("prior", "language"),
}

STYLE: Final[dict[str, Any]] = {
    **seaborn.axes_style("ticks"),
    "font.family": ["DejaVu Sans"],  # ships with matplotlib: the same picture on every machine
    "axes.titlelocation": "left",
    "axes.titlepad": 6.0,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.bottom": False,
    "ytick.minor.left": False,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "text.hinting": "none",  # else letters are wider at one resolution than at another
    "svg.hashsalt": "vgs-geometry",  # else the names inside an SVG differ from run to run
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and edited
    "pdf.fonttype": 42,
}
_METADATA: Final[dict[str, dict[str, Any]]] = {  # without what differs from run to run
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_SVG_FONT: Final = "'DejaVu Sans'"
_SVG_FONTS: Final = f"{_SVG_FONT}, Verdana, sans-serif"  # Verdana's letters are as wide


def base_arm(arm: str) -> str:
    """Return the longest arm with a colour of its own that a name is or begins with; "" if there is none.

    >>> base_arm("vgs-gamma-4"), base_arm("other")
    ('vgs', '')
    """
    return max((name for name in ARM_COLOURS if f"{arm}-".startswith(f"{name}-")), key=len, default="")


def arm_colour(arm: str) -> str:
    """Return an arm's colour: its own, else that of the arm which its name begins with, else ink.

    >>> arm_colour("vgs-lp-lambda-0.1") == ARM_COLOURS["vgs-lp"], arm_colour("other") == INK
    (True, True)
    """
    return ARM_COLOURS.get(base_arm(arm), INK)


def arm_line(arm: str) -> Any:
    """Return an arm's kind of line; that of an arm without a colour of its own is dotted."""
    return ARM_LINES.get(arm, "-" if arm in ARM_COLOURS else DOTTED)


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the house style for the present sheet, and leave the caller's settings as they were."""
    with matplotlib.rc_context(cast(Any, STYLE | _sizes())):  # its keys are literals in the annotations
        yield


def _sizes() -> dict[str, float]:
    """Return the sizes of letters and pixels on the present sheet."""
    text, small = sheet().text_pt, sheet().small_pt
    sizes = {"font.size": small, "axes.titlesize": text, "axes.labelsize": text, "legend.fontsize": small}
    return sizes | {"xtick.labelsize": small, "ytick.labelsize": small, "savefig.dpi": sheet().dpi}


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Write a picture as the files of the present sheet, such as `stem.png` and `stem.svg`; return their paths.

    The same figure gives the same bytes. Text in an SVG or a PDF is text.

    Raises:
        NotWritten: the system refuses; no part of a picture stays.
    """
    paths = [Path(f"{stem}{suffix}") for suffix in sheet().suffixes]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    with styled():
        for path in paths:
            write_whole(path, partial(_save_as, figure, path.suffix))
    return paths


def _save_as(figure: Figure, suffix: str, path: Path) -> None:
    figure.savefig(path, format=suffix[1:], metadata=_METADATA[suffix])
    if suffix == ".svg":
        path.write_text(path.read_text(encoding="utf-8").replace(_SVG_FONT, _SVG_FONTS), encoding="utf-8")
