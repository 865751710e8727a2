"""How do the norms of the gradients, and the angles between them, change over a series of checkpoints?

    python -m probes.norms runs/student/checkpoint-0 runs/student/checkpoint-100 --teacher runs/teacher
    python -m probes.norms runs/student/checkpoint-* --teacher runs/teacher --prompts data.parquet --limit 32

The question of arXiv:2606.00564, Figure 7. Each checkpoint answers the same prompts with the same seed, on-policy, and
is measured as `python -m probes.angles` measures one: its own tokens in VDS bins of its own, gradients at tokens drawn
from each bin. All have one teacher: `--teacher`, or the one that the first checkpoint's pair.json names. Checkpoints
are taken in the order given; one whose tokenizer differs in vocabulary is refused before anything is measured.

Units are tokens, 16 a bin, a quarter of what `probes.angles` takes: enough for a mean over all bins, at a cost that
a series can bear. The gradient of a trajectory-bin costs as much, and its norm carries the weight 1/|tau|, so that it
would change with the length of the responses alone; a token's norm does not. `--metric adam` as for `probes.angles`,
each checkpoint by its own optimizer's state, and `--sketch R`, whose error is measured at each checkpoint.

Reads the checkpoints, one at a time, and the teacher; writes a record (`record.json` and `norms`: by checkpoint, scope
and bin, and over `all` bins) with the picture `norm_dynamics` (png, svg), and prints the checkpoints over all bins. An
interrupted series continues where it stood.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse.typing import PositiveInt

from cli.options import flag
from cli.tables import aligned
from cli.visible import print_err
from probes import command, stages
from probes.probe import Plan, Probe, Tables
from probes.settings import ANALYZER_OPTIONS, UnitOptions
from probes.text import ANGLE_TITLES, angle_words, cell, errors_of, sketch_line, with_error, with_interval
from records.columns import POOLED_UNIT

if TYPE_CHECKING:
    import pandas as pd

    from probes.analyzer import Analyzer
    from probes.measurement import Measurement


@dataclass(frozen=True)
class SeriesUnitOptions(UnitOptions):
    """What is probed"""

    per_bin: PositiveInt | Literal["all"] = flag(16, "units probed in each bin, drawn at random, or all")


def refuse(analyzer: "Analyzer", *values: Any) -> None:
    """Refuse checkpoints without the optimizer's state that the metric needs, and a sketch in a metric."""
    *others, options = values
    stages.refuse_sketch(analyzer, options)
    analyzer.refuse_missing_states(analyzer.checkpoint, *others)


def plan(analyzer: "Analyzer", *values: Any) -> Plan:
    """Load every checkpoint once, so that one that does not fit is refused before any is measured."""
    *others, options = values
    first = analyzer.apart()
    joined, students, states = first.header(PROBE, options), [], []
    analyzer.asked = first.asked
    for one in _series(analyzer, others):
        with one.named("checkpoints"):
            student = one.pair.student
        students.append((student.name, student.fingerprint, student.setup))
        states.append(None if one.metric is None else one.metric.fingerprint)
    for field, of_students in zip(("pair", "weights", "setup"), zip(*students, strict=True), strict=True):
        joined[field]["student"] = list(of_students)
    if analyzer.metric_options.metric == "adam":
        joined["weights"]["optimizer_state"] = states
    return Plan(joined, partial(measure, analyzer, *values))


def measure(analyzer: "Analyzer", *values: Any) -> Tables:
    """Return the table `norms`: the weights of each checkpoint are held while it is measured."""
    *others, options = values
    shards = analyzer.shards
    for number, one in enumerate(_series(analyzer, others)):
        if not shards.has("norms", number):
            print_err(f"checkpoint {number + 1} of {len(others) + 1}: {one.checkpoint}")
            tables = _tables(one.having(shards=shards.part(number)), options)
            if shards.due(number, *tables):
                for name, rows in tables.items():
                    shards.add(name, number, rows.assign(checkpoint=number))
    return {name: shards.gather(name) for name in (*(["sketch_error"] if options.sketch else []), "norms")}


def summary(measured: "Measurement", options: UnitOptions) -> str:
    """Return the checkpoints over all bins."""
    errors = measured.sketch_error if options.sketch else None
    return norm_table(measured.norms, options.scope, options.unit, errors)


def _series(analyzer: "Analyzer", others: Sequence[str]) -> Iterator["Analyzer"]:
    """An analyzer of each checkpoint with the first one's prompts, whose weights it alone holds."""
    yield analyzer.apart()
    for checkpoint in others:
        yield analyzer.with_student(checkpoint).having(asked=analyzer.asked)


def _tables(analyzer: "Analyzer", options: UnitOptions) -> "dict[str, pd.DataFrame]":
    """The rows of one checkpoint by table, `norms` last: a checkpoint that has them has all."""
    units, groups = stages.choose_units(analyzer.tokens, options, analyzer.seed), analyzer.pair.student.groups
    rows = {"units": stages.unit_rows} | ({"grams": stages.gram_rows} if options.unit == POOLED_UNIT else {})
    measured = stages.measure_gradients(analyzer, groups, units, rows, options.sketch)
    tables = {}
    if options.sketch:
        tables["sketch_error"] = stages.sketch_errors(analyzer, groups, units, measured["units"], None)
    norms = stages.norm_rows(analyzer.tokens, measured["units"], analyzer.seed, measured.get("grams"))
    return tables | {"norms": norms.assign(name=analyzer.pair.student.name)}


def norm_table(norms: "pd.DataFrame", scope: str, unit: str = "token", errors: "pd.DataFrame | None" = None) -> str:
    """The checkpoints over all bins: mean divergences, mean norms, their ratio, angles.

    unit: the kind of unit, which says whether angles are means over units or pooled. errors: the table `sketch_error`;
    the last column has the greatest mean error of these angles at a checkpoint.
    """
    rows = norms[(norms["bin"] == "all") & (norms["scope"] == scope)]
    means = ("vds", "kl_standard", "kl_language", "kl_visual")
    objectives = ("standard", "language", "visual")
    titles = ["", "checkpoint", "VDS", *objectives, *(f"|{name}|" for name in objectives), "lang/vis"]
    lines = []
    for row in rows.to_dict("records"):
        nats = [row[f"{name}_mean_nats"] for name in means]
        lengths = [row[f"norm_{name}_mean"] for name in objectives]
        angles = [with_interval(row, angle) for angle in ANGLE_TITLES]
        if errors is not None:
            own = errors[errors["checkpoint"] == row["checkpoint"]]
            angles.append(with_error(errors_of(own, scope), *ANGLE_TITLES))
        values = (row["checkpoint"], row["name"], *nats, *lengths, row["norm_ratio_language_visual"], *angles)
        lines.append([cell(value) for value in values])
    caption = (
        "Over all bins: mean divergences in nats, mean norms, ratio of the mean norms, and"
        f" {angle_words(unit)} +- half of the 95 % interval over prompts; scope {scope}."
    )
    titles += [*ANGLE_TITLES.values(), *([] if errors is None else ["sketch"])]
    printed = f"{caption}\n{aligned([titles, *lines])}"
    return printed if errors is None else f"{printed}\n{sketch_line(errors_of(errors, scope))}"


PROBE = Probe("norms", measure, summary, ANALYZER_OPTIONS, (SeriesUnitOptions,), series=True, refuse=refuse, plan=plan)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return command.run(PROBE, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
