"""The pictures of a run and a table of responses, handed to trackers: tensorboard, wandb and trackio.

A tracker is one of accelerate's, or an object with its `name` and its methods. Other trackers take numbers alone, and
are passed over. tensorboard has no tables, so that it is given text in Markdown.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cli.errors import UserError
from figures.catalogue import drawable
from records.run_folder import read_record_or_run

Rows = Sequence[Mapping[str, Any]]
TAKERS = ("tensorboard", "wandb", "trackio")
"""Trackers that take pictures and tables."""
_DPI = 100


def show(trackers: Iterable[Any], folder: Path, step: int, table: Rows) -> None:
    """Hand over the pictures that belong to the run in a folder, and the rows of a table of responses."""
    taking = [tracker for tracker in trackers if tracker.name in TAKERS]
    if not taking:
        return
    pictures = run_pictures(folder)
    for tracker in taking:
        if pictures:
            show_pictures(tracker, pictures, step)
        if table:
            show_table(tracker, table, step)


def run_pictures(folder: Path) -> dict[str, np.ndarray]:
    """Return the pictures that belong to the run in a folder by name, each `[height, width, 3]` in 8 bits.

    A picture that the journal so far has nothing for is left out. A training run has none before its first step.
    """
    run, pictures = read_record_or_run(folder), {}
    if run.header["probe"] == "train" and not run.has("steps"):
        return {}
    for one in drawable(run.record["tables"]):
        if one.belongs_to(run) and not one.page:
            try:
                pictures[f"pictures/{one.name}"] = pixels(one.draw(run))
            except UserError:  # such as no answer to be judged
                continue
    return pictures


def pixels(figure: Any) -> np.ndarray:
    """Return a figure of matplotlib as `[height, width, 3]` in 8 bits."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from figures.style import styled

    with styled():
        figure.set_dpi(_DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def show_pictures(tracker: Any, pictures: Mapping[str, np.ndarray], step: int) -> None:
    """Hand pictures to a tracker, one of `TAKERS`."""
    if tracker.name == "tensorboard":
        tracker.log_images({name: one[None] for name, one in pictures.items()}, step=step, dataformats="NHWC")
    elif tracker.name == "wandb":
        tracker.log_images({name: [one] for name, one in pictures.items()}, step=step)
    else:
        import trackio

        tracker.log({name: trackio.Image(one) for name, one in pictures.items()}, step=step)


def show_table(tracker: Any, rows: Rows, step: int, name: str = "responses") -> None:
    """Hand a table to a tracker, one of `TAKERS`."""
    columns = list(rows[0])
    if tracker.name == "tensorboard":
        tracker.log({name: markdown(rows)}, step=step)
    elif tracker.name == "wandb":
        tracker.log_table(name, columns=columns, data=[list(row.values()) for row in rows], step=step)
    else:
        import pandas as pd
        import trackio

        tracker.log({name: trackio.Table(dataframe=pd.DataFrame(rows))}, step=step)


def markdown(rows: Rows) -> str:
    """Return a table in Markdown.

    >>> print(markdown([{"prompt": "what | where", "vds_nats": 0.12345}]))
    | prompt | vds_nats |
    | --- | --- |
    | what \\| where | 0.123 |
    """
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_cell(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(value: Any) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")
