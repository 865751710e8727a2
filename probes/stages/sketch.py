"""What `--sketch` costs: a sample of its units measured exactly, too, as the table `sketch_error`.

The error is that of single units. A mean over the units of a bin is off by less, as the errors of units that differ
cancel in part.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from cli.errors import OptionError
from geometry import Gramian
from probes.settings import UnitOptions
from probes.stages.gradients import Groups, unit_grams
from probes.stages.precision import sample_units
from probes.stages.room import note
from probes.stages.tables import gram_of_rows, gram_rows, measures, unit_rows
from probes.stages.units import Unit
from records import ANGLES, OBJECTIVES

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

CHECKED = 16  # units, or some more: as many of each bin
_ANGLES = [f"{angle}_deg" for angle in ANGLES]
_NORMS = [f"norm_{name}" for name in OBJECTIVES]


def refuse_sketch(analyzer: "Analyzer", options: UnitOptions) -> None:
    """Refuse a sketch in a metric.

    Raises:
        OptionError: there are both.
    """
    if options.sketch is not None and analyzer.metric_options.metric != "plain":
        raise OptionError(
            f"`sketch` forms no gradients, which the metric {analyzer.metric_options.metric} weighs entry by entry;"
            " leave one of the two out"
        )


def sketch_errors(
    analyzer: "Analyzer", groups: Groups, units: Sequence[Unit], estimated: pd.DataFrame, grams: pd.DataFrame | None
) -> pd.DataFrame:
    """Return the table `sketch_error`: how far angles and norms of a sample of the units are from their exact values.

    Args:
        units: all that were measured; about 16 are measured again.
        estimated: the table `units`, which gives a row for each scope.
        grams: the table `grams`, if a row is wanted for each parameter group, too.
    """
    drawn = sample_units(units, CHECKED, analyzer.seed)
    engine = Gramian(analyzer.pair.student.model, groups, say=note)
    exact = list(unit_grams(analyzer, engine, drawn))
    rows = pd.concat([unit_rows(members, own) for members, own in exact])
    tables = [_error_rows(rows.rename(columns={"scope": "part"}), estimated.rename(columns={"scope": "part"}))]
    if grams is not None:
        rows = pd.concat([gram_rows(members, own) for members, own in exact])
        tables.append(_error_rows(_by_group(rows), _by_group(grams)))
    return pd.concat(tables, ignore_index=True)


def _by_group(grams: pd.DataFrame) -> pd.DataFrame:
    cells = grams[["unit_id", "group"]].assign(**measures(gram_of_rows(grams)))
    return cells.rename(columns={"group": "part"})


def _error_rows(exact: pd.DataFrame, estimated: pd.DataFrame) -> pd.DataFrame:
    """A row for each part: mean and greatest error of each angle in degrees, and of each norm as a share of it."""
    keys = ["part", "unit_id"]
    one = exact.set_index(keys)
    other = estimated.set_index(keys).loc[one.index]
    apart = (other[_ANGLES] - one[_ANGLES]).abs().rename(columns=lambda name: name.removesuffix("_deg"))
    shares = (other[_NORMS] / one[_NORMS] - 1).abs()  # missing where a gradient is 0
    parts = pd.concat([apart, shares], axis=1).groupby(level="part", sort=False)
    columns = {"n_units": parts.size()}
    for name in (*apart, *shares):
        unit = "deg" if name in apart else "share"
        columns |= {f"{name}_error_{word}_{unit}": getattr(parts[name], word)() for word in ("mean", "max")}
    return pd.DataFrame(columns).rename_axis("part").reset_index()
