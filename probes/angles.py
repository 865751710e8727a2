"""At which angles do the language, visual and standard gradients stand, and how does that change with VDS?

    python -m probes.angles                                    # the bundled pair, about a minute
    python -m probes.angles runs/my-student --teacher Qwen/Qwen3-VL-8B-Instruct --prompts data.parquet
    python -m probes.angles --unit trajectory-bin --per-bin all --scope language_model
    python -m probes.angles --dtype bfloat16 --precision-check 100
    python -m probes.angles runs/train/last --metric adam
    python -m probes.angles runs/wide --teacher runs/teacher --sketch 64

The analysis of arXiv:2606.00564, Section 3.2 and Figure 3: on-policy rollouts of the student, the visual dependency of
every response token (Eq. 12), equal-frequency bins, and at tokens drawn from each bin the exact gradients of the five
objectives. Reads a student checkpoint and its teacher; writes a record (`record.json`, `rollouts`, `tokens`, `units`,
`grams` and `bins`; `bin_grams` of corpus-bins, `precision` where it is checked) with the picture `angle_bins` (png,
svg), and prints the table of the bins, with the angle from the standard to the steered gradient (docs/theory.md).

`--metric adam` measures the same gradients, and the null, in the inner product in which Adam steps: the product of
each entry over sqrt(v) + eps, with v the bias-corrected second moment in the checkpoint's `training.pt`, which `python
-m train` writes, or in another optimizer's state, `--optimizer-state FILE` (see `vlm.checkpoints.optimizer_state`).

`--sketch R` estimates the products of gradients of weights that are wider than R from R random combinations of their
columns: without bias, in less time where weights are wide, and with an error. About 16 units over all bins are measured
exactly, too. The error of each angle and norm is the table `sketch_error`, and stands below the printed angles and in
the picture. The null stays exact.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jsonargparse.typing import NonNegativeInt

from cli.errors import OptionError
from cli.options import flag
from cli.tables import aligned
from probes import command, stages
from probes.probe import Probe, Tables
from probes.settings import ANALYZER_OPTIONS, UnitOptions
from probes.text import ANGLE_TITLES, angle_words, cell, errors_of, sketch_line, with_error, with_interval
from records.columns import sentence

if TYPE_CHECKING:
    import pandas as pd

    from probes.analyzer import Analyzer
    from probes.measurement import Measurement


@dataclass(frozen=True)
class CheckOptions:
    """Checks"""

    precision_check: NonNegativeInt = flag(
        0, "units measured again in float64 (float32 on a GPU), to see what the dtype costs; 0 for none"
    )


def refuse(analyzer: "Analyzer", units: UnitOptions, checks: CheckOptions) -> None:
    """Refuse a sketch in a metric, and a check of the dtype that serves as the truth or of units over responses."""
    stages.refuse_sketch(analyzer, units)
    if checks.precision_check:
        stages.reference_dtype(analyzer.settled_options)
        if units.unit == "corpus-bin":
            raise OptionError(
                "`precision_check` measures units of one response again, got `unit` corpus-bin; leave it out"
            )


def measure(analyzer: "Analyzer", options: UnitOptions, checks: CheckOptions) -> Tables:
    """Return the tables of a record of angles."""
    units, groups = stages.choose_units(analyzer.tokens, options, analyzer.seed), analyzer.pair.student.groups
    rows = {"grams": stages.gram_rows, "units": stages.unit_rows}
    tables = stages.measure_gradients(analyzer, groups, units, rows, options.sketch)
    null = stages.measure_null(analyzer, units)
    tables["bins"] = stages.bin_rows(analyzer.tokens, tables["units"], tables["grams"], null, analyzer.seed)
    if options.unit == "corpus-bin":
        tables["bin_grams"] = analyzer.shards.gather("bin_grams")
    if checks.precision_check:
        drawn = stages.sample_units(units, checks.precision_check, analyzer.seed)
        tables["precision"] = stages.check_precision(analyzer, drawn, tables["units"], options.scope, options.sketch)
    if options.sketch:
        tables["sketch_error"] = stages.sketch_errors(analyzer, groups, units, tables["units"], None)
    return {"rollouts": stages.rollout_table(analyzer), "tokens": analyzer.tokens, **tables}


def summary(measured: "Measurement", options: UnitOptions, checks: CheckOptions) -> str:
    """Return the table of the bins, behind the outcome of a check, and how far steering turns the gradient."""
    errors = measured.sketch_error if options.sketch else None
    lines = [angle_table(measured.bins, options.scope, options.unit, errors)]
    lines.append(stages.steered_lines(stages.steered_angles(measured.units, measured.grams, options.scope)))
    if checks.precision_check:
        lines.insert(0, stages.precision_line(measured.precision, measured.header["settings"]["device"]))
    return "\n".join(lines)


def angle_table(bins: "pd.DataFrame", scope: str, unit: str = "token", errors: "pd.DataFrame | None" = None) -> str:
    """The bins of one scope: mean divergences, then each angle with the half-width of its 95 % interval.

    unit: the kind of unit, which says whether angles are means over units or pooled. errors: the table `sketch_error`;
    the last row has those of the scope.
    """
    rows = bins[bins["scope"] == scope].sort_values("bin")
    titles = [
        "bin",
        "units",
        "VDS",
        "standard",
        "language",
        "visual",
        *(t for t in ANGLE_TITLES.values()),
        "null",
        "null att.",
    ]
    lines = [[cell(row) for row in _cells(entry)] for entry in rows.to_dict("records")]
    caption = (
        f"{sentence(angle_words(unit))} +- half of the 95 % interval over prompts; divergences in nats; scope {scope}."
        "\nq* is held fixed, and follows the student in columns with att."
    )
    if errors is None:
        return f"{caption}\n{aligned([titles, *lines])}"
    row = errors_of(errors, scope)
    angles = [with_error(row, angle) for angle in ANGLE_TITLES]
    lines.append(["sketch", str(row["n_units"]), *[""] * 4, *angles, *[""] * 2])
    return f"{caption}\n{aligned([titles, *lines])}\n{sketch_line(row)}"


def _cells(row: dict) -> list[str | float | int]:
    divergences = [row[f"{name}_mean_nats"] for name in ("vds", "kl_standard", "kl_language", "kl_visual")]
    nulls = [f"{row[f'angle_language_visual{kind}_null_mean_deg']:.0f}" for kind in ("", "_attached")]
    angles = [with_interval(row, angle) for angle in ANGLE_TITLES]
    return [row["bin"], row["n_units"], *divergences, *angles, *nulls]


PROBE = Probe("angles", measure, summary, ANALYZER_OPTIONS, (UnitOptions, CheckOptions), refuse=refuse)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return command.run(PROBE, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
