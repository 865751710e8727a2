"""The pictures of the report: three that carry the verdict, and the others, folded."""

from typing import Final

from figures.catalogue import Picture, picture
from figures.web import svg_url
from records import Measurement

CAPTIONS: Final = {
    "trial": "What real steps did to the losses of the upper bins, minus standard distillation; grey: the margin",
    "vds": "How much response tokens depend on the picture, and the losses by VDS bin",
    "angle_bins": "Angles between the gradients by VDS bin, all parameters; grey: the null, unrelated tokens",
    "sensitivity": "What a first step of standard + gamma visual would change on held-out responses",
    "layers": "Where in the model the gradients lie and meet",
}
"""Every picture in its order: the steps, the gap, the geometry."""
N_TELLING: Final = 3


def telling(record: Measurement) -> list[dict[str, str]]:
    """Return the pictures that carry the verdict; the forecast's only where no step was tried."""
    return [_figure(record, name) for name in _names(record)[:N_TELLING]]


def more(record: Measurement) -> list[dict[str, str]]:
    """Return the other pictures that can be drawn."""
    return [_figure(record, name) for name in _names(record)[N_TELLING:]]


def _names(record: Measurement) -> list[str]:
    return [name for name in CAPTIONS if _is_drawable(record, picture(name))]


def _figure(record: Measurement, name: str) -> dict[str, str]:
    return {"caption": CAPTIONS[name], "url": svg_url(picture(name).draw(record))}


def _is_drawable(record: Measurement, one: Picture) -> bool:
    """Say whether a picture's tables are there and not all their angles are nan, as those of zero gradients are."""
    if not record.has(*one.tables):
        return False
    if one.name == "trial":
        rows = record.table("trial")
        return bool(((rows["gamma"] > 0) | (rows["lambda"] > 0)).any())
    angles = [record.table(table).filter(regex="^angle_.*_mean_deg$") for table in one.tables]
    angles = [frame for frame in angles if not frame.empty]
    return not angles or any(frame.notna().any(axis=None) for frame in angles)
