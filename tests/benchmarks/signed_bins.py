"""How far is the pooled angle of signed-bins from that of all tokens, and what does it save?

    python -m tests.benchmarks.signed_bins                                    # three kinds of responses: an hour
    python -m tests.benchmarks.signed_bins --kinds bundled --sizes 8 16 --out runs/signed
    python -m tests.benchmarks.signed_bins --draw                             # the table and picture again

The pooled angle of a bin is read from the sum of its tokens' own Gram matrices. It is computed from every token
(exact), and from one unit with random signs for each response and bin. The error is |signed - exact| in each of ten
bins, for the angle between language and visual with q* detached and attached, by the number of responses.

`bundled` are the bundled student's own responses, about 27 tokens each. None of them is long, so there are two kinds of
256 tokens. `bundled-256` are responses of the bundled student that never draw an end token: real gradients, but past
the natural end the text repeats itself. `random-256` are responses of a narrow pair with random weights.

Writes `signed_bins.csv` (one row for each draw of the signs), `signed_bins.png`, and prints the tables that
`docs/units.md` holds. Rows of kinds that are not measured stay. Seconds are the processor's, on one thread.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse.typing import PositiveInt

from cli.errors import OptionError, exit_code
from cli.options import Parser, flag, pick

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MOST = {"bundled": 64, "bundled-256": 16, "random-256": 64}
"""The kinds of responses, and up to how many of each are measured: every token of `bundled-256` costs 50 ms."""
KINDS = tuple(MOST)
TARGET_DEG = 1.0
_TICKS_DEG = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_ENDS = (0.1, 0.9)  # quantiles over draws: what is called the spread


@dataclass(frozen=True)
class SignedOptions:
    """What is measured"""

    kinds: Sequence[str] = flag(KINDS, f"responses: some of {', '.join(KINDS)}")
    sizes: Sequence[PositiveInt] = flag((8, 16, 32, 64), "numbers of responses; those of bundled-256 end at 16")
    seeds: PositiveInt = flag(10, "draws of the signs for each set of responses")
    out: Path = flag(Path("figures/gallery/benchmarks"), "folder of the table and the picture", short="FOLDER")
    draw: bool = flag(False, "measure nothing: read the table in the folder, and draw and print it again")

    def __post_init__(self) -> None:
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise OptionError(f"`kinds` must be some of {', '.join(KINDS)}, got {unknown[0]}; leave it out")
        for kind in self.kinds:
            if min(self.sizes) > MOST[kind]:
                raise OptionError(f"`sizes` must have one of at most {MOST[kind]} for {kind}, got {min(self.sizes)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, draw and print; return the exit code."""
    parser = Parser("tests.benchmarks.signed_bins", __doc__)
    parser.add_options(SignedOptions)
    parsed = parser.parse_args(argv)
    return exit_code(lambda: _run(pick(parsed, SignedOptions)))


def _run(options: SignedOptions) -> None:
    from figures.sheets import PAGE, on_sheet
    from figures.style import styled

    path = options.out / "signed_bins.csv"
    frame = _read(path) if options.draw else _measured(options, path)
    with on_sheet(PAGE), styled():
        drawn(frame).savefig(options.out / "signed_bins.png")
    print(markdown(frame), thresholds(frame), sep="\n\n")


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    if not path.is_file():
        raise OptionError(f"`draw` reads {path}, which is not there; leave it out to measure")
    return pd.read_csv(path)


def _measured(options: SignedOptions, path: Path) -> "pd.DataFrame":
    import pandas as pd
    import torch

    from tests.benchmarks.signed_bin_errors import draws
    from tests.benchmarks.signed_bin_responses import RESPONSES

    torch.set_num_threads(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = _of_others(options, path)
    for kind in options.kinds:
        sizes = sorted(size for size in options.sizes if size <= MOST[kind])
        for row in draws(RESPONSES[kind](sizes[-1]), sizes, options.seeds):
            rows.append({"kind": kind, **row})
            print(f"{kind}: {row['responses']} responses, set {row['set']}, draw {row['seed']}", file=sys.stderr)
            pd.DataFrame(rows).round(4).to_csv(path, index=False)  # what is measured so far
    return pd.read_csv(path)


def _of_others(options: SignedOptions, path: Path) -> list[dict]:
    """The rows that are there of kinds that are not measured now."""
    if not path.is_file():
        return []
    there = _read(path)
    return there[~there["kind"].isin(options.kinds)].to_dict("records")


def summary(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a row for each kind and number of responses: means over draws, and the ends of the spread of errors."""
    columns = [f"{q}_{part}_deg" for q in ("detached", "attached") for part in ("mean", "greatest")]
    groups = frame.groupby(["kind", "responses"], sort=False)
    means = groups.mean(numeric_only=True)
    for quantile, end in zip(_ENDS, ("low", "high"), strict=True):
        means = means.join(groups[columns].quantile(quantile).add_suffix(f"_{end}"))
    return means.join(groups[columns].max().add_suffix("_most")).reset_index()


def markdown(frame: "pd.DataFrame") -> str:
    """Return the table of `docs/units.md`: errors as the mean over draws and, in brackets, the middle 80 % of them."""
    titles = ["responses", "tokens", "units", "time saved"]
    for q in ("detached", "attached"):
        titles += [f"{q}, mean", f"{q}, greatest", f"{q}, over prompts"]
    lines = [["kind", *titles], ["---"] * (len(titles) + 1)]
    for row in summary(frame).to_dict("records"):
        counts = [f"{row[name]:.0f}" for name in ("responses", "tokens", "units")]
        cells = [f"`{row['kind']}`", *counts, f"{row['token_seconds'] / row['signed_seconds']:.1f}x"]
        for q in ("detached", "attached"):
            cells += [_spread(row, f"{q}_{part}_deg") for part in ("mean", "greatest")]
            cells.append(f"{row[f'{q}_half_width_deg']:.1f}")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _spread(row: dict, column: str) -> str:
    return f"{row[column]:.2f} ({row[f'{column}_low']:.2f} to {row[f'{column}_high']:.2f})"


def thresholds(frame: "pd.DataFrame") -> str:
    """Return the table of the numbers of responses from which on the mean and the greatest error are below 1 degree."""
    titles = ["kind", "q\\*", *(f"{part} error below {TARGET_DEG:g} degree" for part in ("mean", "greatest"))]
    lines = [titles, ["---"] * len(titles)]
    for kind, rows in summary(frame).groupby("kind", sort=False):
        for q in ("detached", "attached"):
            words = [_from_on(rows, f"{q}_{part}_deg") for part in ("mean", "greatest")]
            lines.append([f"`{kind}`", q, *words])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _from_on(rows: "pd.DataFrame", column: str) -> str:
    """The least number of responses from which on the mean over draws stays below the target."""
    above = rows[rows[column] >= TARGET_DEG]["responses"].max()
    below = rows["responses"] if above != above else rows["responses"][rows["responses"] > above]  # nan: none above
    return f"from {below.min()} responses on" if len(below) else f"not by {rows['responses'].max()} responses"


def drawn(frame: "pd.DataFrame") -> "Figure":
    """Return the picture: mean and greatest error over bins by number of responses, a column for each kind."""
    from matplotlib.figure import Figure

    from figures import panels
    from figures.sheets import sheet
    from figures.style import DOTTED, INK

    rows, kinds, sizes = summary(frame), list(frame["kind"].unique()), sorted(frame["responses"].unique())
    figure = Figure(figsize=(sheet().width_in, 4.6), layout="constrained")
    axes = figure.subplots(2, len(kinds), sharey=True, sharex=True, squeeze=False)
    for column, kind in enumerate(kinds):
        own = rows[rows["kind"] == kind]
        for ax, part in zip(axes[:, column], ("mean", "greatest"), strict=True):
            for series in panels.ANGLES[:2]:
                name = f"{'attached' if series.hollow else 'detached'}_{part}_deg"
                interval = (own[name], own[f"{name}_low"], own[f"{name}_high"])
                panels.line_with_bars(ax, own["responses"], interval, series)
            ax.axhline(TARGET_DEG, color=INK, linewidth=0.8, linestyle=DOTTED)
            ax.set(xscale="log", yscale="log", title=f"{kind}: {part} over bins")
            ax.set_xticks(sizes, [str(size) for size in sizes], minor=False)
            ax.set_yticks(_TICKS_DEG, [f"{tick:g}" for tick in _TICKS_DEG], minor=False)
            ax.minorticks_off()
        axes[1, column].set_xlabel("responses")
    for ax in axes[:, 0]:
        ax.set_ylabel("|signed - exact| (degrees)")
    figure.suptitle("Error of the pooled angle from signed-bins \u00b7 bars: middle 80 % of draws")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


if __name__ == "__main__":
    sys.exit(main())
