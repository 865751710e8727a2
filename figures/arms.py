"""What the pictures of a study share: its arms in one order, their settings, lines of several seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from figures.style import ARM_COLOURS, INK, arm_colour, arm_line, base_arm
from records import Measurement, RecordError

INITIAL: Final = "initial"  # the arm that is not trained
STANDARD: Final = "standard"
SEED_WIDTH: Final = 0.6  # of a seed's line, in points
WINDOW: Final = 15  # steps of a running mean, where no other number is chosen
GROUPS: Final = ("high", "low", "text")
GROUP_NAMES: Final = {"high": "needs the picture", "low": "does not need it", "text": "no picture"}
MAIN: Final = tuple(ARM_COLOURS)  # those with a colour of their own: one for every objective, none for other strengths


def in_order(arms: Sequence[str]) -> list[str]:
    """Return arms without repetition in the order of the style, each followed by those named after it."""
    styled = list(ARM_COLOURS)
    base = {arm: base_arm(arm) for arm in arms}
    place = {arm: styled.index(base[arm]) if base[arm] else len(styled) for arm in base}
    return sorted(base, key=lambda arm: (place[arm], arm != base[arm], arm))


def choose(record: Measurement, table: str, wanted: Sequence[str] | None, usual: Sequence[str] = ()) -> list[str]:
    """Return the arms to draw: those wanted, else of the usual ones those that a table has, else all.

    Raises:
        RecordError: a wanted arm is not in the table, or the table has no arm at all.
    """
    there = in_order(list(record.table(table)["arm"]))
    if not there:
        raise RecordError(f"`{record.path}` has no arm in `{table}`: train one with `python -m study`")
    if absent := [arm for arm in wanted or () if arm not in there]:
        raise RecordError(f"`arms` must be of those that `{record.path}` has ({', '.join(there)}), not {absent[0]!r}")
    return in_order(list(wanted)) if wanted else [arm for arm in there if arm in usual] or there


def settings_of(record: Measurement) -> dict[str, Mapping[str, Any]]:
    """Return the flags of each arm: those of its first run in the record's header, `<arm>-<seed>`."""
    runs = record.header["settings"].get("runs", {})
    by_arm: dict[str, Mapping[str, Any]] = {}
    for name, settings in runs.items():
        by_arm.setdefault(name.rpartition("-")[0], settings)
    return by_arm


def by_seed(rows: pd.DataFrame, arm: str, column: str) -> pd.DataFrame:
    """Return a column of an arm as a table of steps by seeds; several rows of one step are averaged."""
    return rows[rows["arm"] == arm].pivot_table(index="step", columns="seed", values=column, aggfunc="mean")


def check_window(window: int) -> None:
    """Refuse a running mean that has not as many steps before as after."""
    if window < 1 or window % 2 == 0:
        raise RecordError(f"`window` must be an odd number of steps, not {window}; 1 does not smooth")


def running_mean(table: pd.DataFrame, window: int) -> pd.DataFrame:
    """Return means over `window` steps about each; steps without a whole window are left out, unless all are."""
    half = window // 2
    means = table.rolling(window, center=True, min_periods=1).mean()
    return means.iloc[half : len(means) - half] if len(means) > 2 * half else means


def draw_seeds(ax: Axes, table: pd.DataFrame, colour: str, label: str, **look: Any) -> None:
    """Draw the mean over seeds as a line, and each seed as a thin one where there are several.

    Args:
        table: steps by seeds.
        look: what `Axes.plot` takes for the line of the mean.
    """
    if table.shape[1] > 1:
        for seed in table:
            ax.plot(table.index, table[seed], color=colour, linewidth=SEED_WIDTH, alpha=0.35, zorder=2)
    ax.plot(table.index, table.mean(axis=1), color=colour, ms=3.4, label=label, zorder=4, **look)


def draw_arm(ax: Axes, table: pd.DataFrame, arm: str, marker: str = "") -> None:
    """Draw an arm's seeds and their mean in its colour."""
    draw_seeds(ax, table, arm_colour(arm), arm, linestyle=arm_line(arm), marker=marker)


def handles(arms: Sequence[str], several_seeds: bool = False) -> list[Artist]:
    """Return one handle for each arm, and one for the thin lines where there are several seeds."""
    named = [Line2D([], [], color=arm_colour(arm), linestyle=arm_line(arm), label=arm) for arm in arms]
    thin = Line2D([], [], color=INK, linewidth=SEED_WIDTH, alpha=0.5, label="single seeds")
    return [*named, *([thin] if several_seeds else [])]


def name_arms(ax: Axes, arms: Sequence[str]) -> None:
    """Name the arms beside the vertical axis, the first on top."""
    ax.set_yticks(range(len(arms)), list(arms))
    ax.set_ylim(len(arms) - 0.4, -0.6)
