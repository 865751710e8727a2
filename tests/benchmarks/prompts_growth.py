"""The time and memory of measurements by number of prompts, on the bundled pair.

    python -m tests.benchmarks.prompts_growth                                      # up to 2,000 prompts: minutes
    python -m tests.benchmarks.prompts_growth --prompts 64 128 --out runs/bench    # seconds

Each measurement runs in a process of its own: `probes.vds`, and `probes.angles` at the same number of probed tokens
whatever the number of prompts. Seconds are the processor's, as other jobs disturb these less.

Writes `prompts_growth.csv` and `prompts_growth.png` into `--out`.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse.typing import PositiveInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick
from tests.benchmarks.own_process import measured

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_LABELS: Mapping[str, str] = {"cpu_seconds": "CPU seconds", "peak_mb": "peak memory, MB"}


@dataclass(frozen=True)
class GrowthOptions:
    """What is measured"""

    prompts: Sequence[PositiveInt] = flag((250, 500, 1000, 2000), "numbers of prompts")
    per_bin: PositiveInt = flag(8, "tokens probed in each bin")
    out: Path = flag(Path("figures/gallery/benchmarks"), "folder of the table and the picture", short="FOLDER")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and draw; return the exit code."""
    parser = Parser("tests.benchmarks.prompts_growth", __doc__)
    parser.add_options(GrowthOptions)
    options = pick(parser.parse_args(argv), GrowthOptions)
    return exit_code(lambda: _run(options))


def _run(options: GrowthOptions) -> None:
    import pandas as pd

    from figures.sheets import PAGE, on_sheet
    from figures.style import styled

    flags = {"probes.vds": [], "probes.angles": ["--per-bin", str(options.per_bin)]}
    rows: list[dict[str, str | int | float]] = []
    options.out.mkdir(parents=True, exist_ok=True)
    for n, (module, own) in product(options.prompts, flags.items()):
        rows.append(_row(module, n, own))
        frame = pd.DataFrame(rows)
        frame.to_csv(options.out / "prompts_growth.csv", index=False)  # what is measured so far
    with on_sheet(PAGE), styled():
        drawn(frame).savefig(options.out / "prompts_growth.png")
    print(frame.to_string(index=False))


def _row(module: str, n_prompts: int, flags: Sequence[str]) -> dict[str, str | int | float]:
    print(f"{module}, {n_prompts} prompts", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        own = measured(module, ["--limit", str(n_prompts), "--out", folder, *flags])
    return {
        "measurement": module,
        "prompts": n_prompts,
        "cpu_seconds": round(own.cpu_seconds, 1),
        "peak_mb": round(own.peak_bytes / 1e6),
    }


def drawn(frame: "pd.DataFrame") -> "Figure":
    """Return a picture with one panel for the time and one for the memory."""
    from matplotlib.figure import Figure

    from figures.sheets import sheet
    from figures.style import COLOURS

    figure = Figure(figsize=(sheet().width_in, 2.4), layout="constrained")
    for ax, (column, label) in zip(figure.subplots(1, len(_LABELS)), _LABELS.items(), strict=True):
        for colour, (name, line) in zip(COLOURS.values(), frame.groupby("measurement"), strict=False):
            ax.plot(line["prompts"], line[column], "o-", color=colour, label=name)
        ax.set(xlabel="prompts", ylabel=label, xlim=(0, None), ylim=(0, 1.08 * frame[column].max()))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


if __name__ == "__main__":
    sys.exit(main())
