"""Where in the model do the gradients lie and meet: in which layers, and in attention, MLP or norms?

    python -m probes.layers                                    # the bundled pair
    python -m probes.layers runs/my-student --teacher Qwen/Qwen3-VL-8B-Instruct --prompts data.parquet
    python -m probes.layers --unit trajectory-bin --scope language_model

The gradients of `python -m probes.angles` (the same tokens for the same flags), split by depth and kind of parameter:
vision tower, merger, embedding and head, attention, MLP and norms of each language layer, final norm. Of each group and
VDS bin, and over `all` bins: mean norms, the share of an objective's squared norm that lies in the group, and mean
angles (pooled ones of signed-bins, see docs/units.md) with 95 % intervals over prompts. The language gradient is 0 in
the vision part, so it has no angle there. No null is measured: whether an angle near 90 degrees means something is for
`probes.angles` to say.

Reads a student checkpoint and its teacher; writes a record (`record.json`, `rollouts`, `tokens`, `units`, `grams` by
group and `layers`) with the picture `layers` (png, svg), and prints the groups over all bins. `--scope` chooses the
groups that are printed and drawn; shares are of the whole model either way. `--metric adam` and `--sketch R` as for
`probes.angles`; the error of a sketch is measured for each group (`sketch_error`).
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.tables import aligned
from probes import command, stages
from probes.probe import Probe, Tables
from probes.settings import ANALYZER_OPTIONS, UnitOptions
from probes.text import ANGLE_TITLES, angle_words, cell, errors_of, sketch_line, with_error, with_interval

if TYPE_CHECKING:
    import pandas as pd

    from probes.analyzer import Analyzer
    from probes.measurement import Measurement


_SHOWN = tuple(ANGLE_TITLES)[:4]


def refuse(analyzer: "Analyzer", options: UnitOptions) -> None:
    """Refuse a sketch in a metric."""
    stages.refuse_sketch(analyzer, options)


def measure(analyzer: "Analyzer", options: UnitOptions) -> Tables:
    """Return the tables of a record of gradients by depth and kind of parameter."""
    units = stages.choose_units(analyzer.tokens, options, analyzer.seed)
    rows = {"grams": stages.gram_rows, "units": stages.unit_rows}
    tables = stages.measure_gradients(analyzer, analyzer.kinds, units, rows, options.sketch)
    measured = tables["units"], tables["grams"]
    layers = stages.layer_rows(*measured, analyzer.seed)
    if options.sketch:
        tables["sketch_error"] = stages.sketch_errors(analyzer, analyzer.kinds, units, *measured)
    return {"rollouts": stages.rollout_table(analyzer), "tokens": analyzer.tokens, **tables, "layers": layers}


def summary(measured: "Measurement", options: UnitOptions) -> str:
    """Return the groups over all bins."""
    errors = measured.sketch_error if options.sketch else None
    return layer_table(measured.layers, options.scope, options.unit, errors)


def layer_table(layers: "pd.DataFrame", scope: str, unit: str = "token", errors: "pd.DataFrame | None" = None) -> str:
    """The groups of a scope over all bins: mean norms, shares of the squared norm, angles with half-widths.

    unit: the kind of unit, which says whether angles are means over units or pooled. errors: the table `sketch_error`;
    the last column has the greatest mean error of these angles in a group.
    """
    rows = layers[(layers["bin"] == "all") & (layers["in_language_model"] | (scope == "all"))]
    objectives = ("standard", "language", "visual")
    titles = ["group", "units", *(f"|{name}|" for name in objectives), *(f"{name} %" for name in objectives)]
    lines = []
    for row in rows.to_dict("records"):
        lengths = [row[f"norm_{name}_mean"] for name in objectives]
        shares = [f"{100 * row[f'share_{name}_mean']:.1f}" for name in objectives]
        angles = [with_interval(row, angle) for angle in _SHOWN]
        last = [] if errors is None else [with_error(errors_of(errors, row["group"]), *_SHOWN)]
        lines.append([cell(value) for value in (row["group"], row["n_units"], *lengths, *shares, *angles, *last)])
    caption = (
        "Over all bins: mean norms, mean shares of the whole gradient's squared norm, and"
        f" {angle_words(unit)} +- half of the 95 % interval over prompts; scope {scope}."
    )
    titles += [*(ANGLE_TITLES[angle] for angle in _SHOWN), *([] if errors is None else ["sketch"])]
    printed = f"{caption}\n{aligned([titles, *lines])}"
    return printed if errors is None else f"{printed}\n{sketch_line(errors_of(errors, scope))}"


PROBE = Probe("layers", measure, summary, ANALYZER_OPTIONS, (UnitOptions,), refuse=refuse)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return command.run(PROBE, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
