"""How much does each response token depend on the picture, for the teacher and for the student?

    python -m probes.vds
    python -m probes.vds runs/my-student --teacher Qwen/Qwen3-VL-8B-Instruct --prompts data.parquet --limit 200
    python -m probes.vds runs/my-student --teacher-url http://localhost:8000 --teacher-top-k 20

The visual dependency score (arXiv:2606.00564, Eq. 12) and the three divergences of every token of the student's own
rollouts; no gradient is computed. Writes a record (`record.json`, `rollouts`, `tokens`) with the picture `vds` (png,
svg), and prints the quantiles.

With `--teacher-url` the teacher is behind a server of vLLM and known at its `--teacher-top-k` most probable ids: the
divergences at a token are over the ids that both of its views report and one bucket for all others. Probes of gradients
need a teacher that is loaded here. `VGS_TEACHER_KEY` is the environment variable of a key.
"""

import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from cli.tables import aligned
from probes import command, stages
from probes.probe import Plan, Probe, Tables
from probes.served import Served, ServedOptions

if TYPE_CHECKING:
    import pandas as pd

    from probes.analyzer import Analyzer
    from probes.measurement import Measurement


_COLUMNS = {
    "VDS": "vds_nats",
    "student": "student_vds_nats",
    "standard": "kl_standard_nats",
    "language": "kl_language_nats",
    "visual": "kl_visual_nats",
}
_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.7, 0.9, 0.99, 1.0)


def plan(analyzer: "Analyzer", options: ServedOptions) -> Plan:
    """Connect to the teacher's server where there is one."""
    if options.teacher_url is None:
        return Plan(analyzer.header(PROBE))
    served = Served.connected(analyzer, options)
    return Plan(served.header(PROBE), partial(_measure_served, analyzer, served))


def measure(analyzer: "Analyzer", options: ServedOptions) -> Tables:
    """Return the tables of a record of scored tokens."""
    return {"rollouts": stages.rollout_table(analyzer), "tokens": analyzer.tokens}


def _measure_served(analyzer: "Analyzer", served: Served) -> Tables:
    tokens = served.tokens(analyzer)
    return {"rollouts": stages.rollout_table(served.alone), "tokens": tokens}


def summary(measured: "Measurement", options: ServedOptions) -> str:
    """Return the quantiles."""
    return quantile_table(measured.tokens)


def quantile_table(tokens: "pd.DataFrame") -> str:
    """Quantiles over the tokens of prompts with a picture, in nats."""
    pictured = tokens[tokens["has_image"]]
    lines = [[f"{q:g}", *(f"{pictured[column].quantile(q):.2g}" for column in _COLUMNS.values())] for q in _QUANTILES]
    means = ["mean", *(f"{pictured[column].mean():.2g}" for column in _COLUMNS.values())]
    caption = f"Nats, quantiles over {len(pictured)} tokens of responses to a prompt with a picture."
    return f"{caption}\n{aligned([['quantile', *_COLUMNS], *lines, means])}"


PROBE = Probe("vds", measure, summary, options=(ServedOptions,), plan=plan)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return command.run(PROBE, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
