"""What the time a token grows with: the response, the tokens probed, the parameters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from figures.sheets import PAGE, on_sheet, sheet
from figures.style import COLOURS, styled
from tests.benchmarks.contest import Contest, work_of
from tests.benchmarks.objects import SIZES, random
from tests.benchmarks.ways import WAYS

_START: dict[str, Any] = {"size": "4M", "length": 128, "probed": 8}
_PANELS: Mapping[str, tuple[str, Sequence[int | str]]] = {
    "length": ("tokens of the response", (32, 64, 128, 256, 512)),
    "probed": ("tokens probed", (1, 4, 16, 64)),
    "size": ("parameters", tuple(SIZES)),
}

_TICKS_MS = (50, 100, 300, 1000, 3000)


def draw_growth(ways: Sequence[str], threads: int, rounds: int, out: Path) -> None:
    """Time random models, one thing varied at a time; write `growth.csv` and `growth.png`."""
    torch.set_num_threads(threads)
    rows = [
        row
        for varied, (_, values) in _PANELS.items()
        for value in values
        for row in _point(varied, value, ways, rounds)
    ]
    frame = pd.DataFrame(rows)
    frame.to_csv(out / "growth.csv", index=False)
    with on_sheet(PAGE), styled():
        _drawn(frame, threads).savefig(out / "growth.png")
    print(frame.pivot(index=["varied", "value"], columns="way", values="best_ms").round(1).to_string())


def _point(varied: str, value: int | str, ways: Sequence[str], rounds: int) -> list[dict]:
    found = random("random", **(_START | {varied: value}))
    contest = Contest(work_of(found, ways))
    contest.run(rounds)
    at = found.n_parameters if varied == "size" else value
    return [{"varied": varied, "value": at, "way": key, "best_ms": contest.ms_a_token(key).min()} for key in ways]


def _shown(value: float) -> str:
    return f"{value:g}" if value < 1e6 else f"{value / 1e6:.0f}M"


def _drawn(frame: pd.DataFrame, threads: int) -> Figure:
    figure = Figure(figsize=(sheet().width_in, 2.4), layout="constrained")
    axes = figure.subplots(1, len(_PANELS), sharey=True)
    for ax, (varied, (label, _)) in zip(axes, _PANELS.items(), strict=True):
        rows = frame[frame["varied"] == varied]
        for colour, (key, line) in zip([*COLOURS.values(), "#222222"], rows.groupby("way"), strict=False):
            ax.plot(line["value"], line["best_ms"], "o-", color=colour, label=WAYS[str(key)].name.replace("`", ""))
        ax.set(xscale="log", yscale="log", xlabel=label)
        ax.set_xticks(at := rows["value"].unique(), [_shown(value) for value in at], minor=False)
        ax.set_yticks(_TICKS_MS, [f"{tick:,}" for tick in _TICKS_MS], minor=False)
        ax.minorticks_off()
    axes[0].set_ylabel(f"ms per token, {threads} thread{'s' if threads > 1 else ''}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
