"""What does it cost to know the teacher at K ids only?

    python -m probes.support
    python -m probes.support runs/my-student --teacher Qwen/Qwen3-VL-8B-Instruct --top-k 8 32 128

A teacher behind a server gives the log-probabilities of a few ids. Here each token of the student's own responses is
scored over all ids, and over the K that the teacher's image view holds most probable with one bucket for the rest (see
`geometry.topk`). By VDS bin: the mean of each divergence over both, the mean absolute difference, and the share of
tokens that stay in their bin where bins, and so the gates of the objectives, are made of the VDS over K.

Standard, language and VDS can only shrink; the visual loss may grow, for its target is made of the buckets. Writes a
record (`record.json`, `rollouts`, `support_tokens`, `support.csv`) and prints the table.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jsonargparse.typing import PositiveInt

from cli.options import flag
from cli.tables import aligned
from probes import command, stages
from probes.probe import Probe, Tables

if TYPE_CHECKING:
    import pandas as pd

    from probes.analyzer import Analyzer
    from probes.measurement import Measurement


_TITLES = {"vds": "VDS", "kl_standard": "standard", "kl_language": "language", "kl_visual": "visual"}


@dataclass(frozen=True)
class SupportOptions:
    """What is known of the teacher"""

    top_k: Sequence[PositiveInt] = flag((8, 32, 128), "numbers of ids that the teacher is known at")

    def __post_init__(self) -> None:
        object.__setattr__(self, "top_k", tuple(sorted({int(k) for k in self.top_k})))


def measure(analyzer: "Analyzer", options: SupportOptions) -> Tables:
    """Return the tables of a record of what K ids cost."""
    tokens = stages.score_at_top_k(analyzer, options.top_k)
    rows = stages.support_rows(tokens)
    return {"rollouts": stages.rollout_table(analyzer), "support_tokens": tokens, "support": rows}


def summary(measured: "Measurement", options: SupportOptions) -> str:
    """Return the means over all ids and over each K."""
    return support_table(measured.support)


def support_table(rows: "pd.DataFrame") -> str:
    """Means over all ids, then for each K the means and, after +-, the mean absolute differences."""
    titles = ["ids", "bin", "tokens", *_TITLES.values(), "same bin %"]
    first = rows[rows["top_k"] == rows["top_k"].min()]
    lines = [
        ["all", *_counted(row), *(f"{row[f'{n}_full_mean_nats']:.2g}" for n in _TITLES), ""] for row in _rows(first)
    ]
    for row in _rows(rows):
        cells = [f"{row[f'{n}_top_mean_nats']:.2g} +-{row[f'{n}_difference_mean_nats']:.1g}" for n in _TITLES]
        same = "" if row["bin"] == "text" else f"{100 * row['same_bin_share']:.1f}"
        lines.append([str(row["top_k"]), *_counted(row), *cells, same])
    caption = (
        "Mean divergences in nats over all ids, and over the teacher's most probable ids and their tail +- the mean"
        " absolute difference."
    )
    return f"{caption}\n{aligned([titles, *lines])}"


def _rows(rows: "pd.DataFrame") -> list[dict]:
    return rows.to_dict("records")


def _counted(row: dict) -> list[str]:
    return [row["bin"], str(row["n_tokens"])]


PROBE = Probe("support", measure, summary, options=(SupportOptions,))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return command.run(PROBE, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
