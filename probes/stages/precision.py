"""What the dtype of a measurement costs: a sample of its units measured again in float64, or float32 on a GPU.

Reported by bin: the share of tokens that stay in it when their VDS is computed again, and how far each angle
moves. In bfloat16 the least visual bins suffer first: there VDS is the difference of two nearly equal logarithms.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from cli.errors import OptionError
from geometry import Gramian, bin_edges
from probes.settings import Dtype, PairOptions
from probes.stages.gradients import unit_grams
from probes.stages.tables import unit_rows
from probes.stages.units import Unit
from records import ANGLES
from vlm.checkpoints.devices import device_name

if TYPE_CHECKING:
    from probes.analyzer import Analyzer


def reference_dtype(options: PairOptions) -> Dtype:
    """Return the dtype that serves as the truth.

    Raises:
        OptionError: the measurement has it already.
    """
    exact = _exact_dtype(options.device)
    if options.dtype == exact:
        raise OptionError(f"`precision_check` compares with {exact}, which `dtype` is already; leave it out")
    return exact


def _exact_dtype(device: str) -> Dtype:
    return "float64" if device_name(device) == "cpu" else "float32"


def is_exact(options: PairOptions) -> bool:
    """Whether a measurement is in the dtype that serves as the truth."""
    return options.dtype == _exact_dtype(options.device)


def check_precision(
    analyzer: "Analyzer", units: Sequence[Unit], measured: pd.DataFrame, scope: str, sketch: int | None = None
) -> pd.DataFrame:
    """Return the table `precision`: for each bin the share of tokens that keep it, and how far each angle moves.

    Args:
        units: those to measure again; all tokens of their rollouts are scored again.
        measured: the table `units` of the measurement.
        scope: of the angles.
        sketch: of the measurement; the same one is taken again.
    """
    return precision_rows(analyzer.in_dtype(reference_dtype(analyzer.settled_options)), units, measured, scope, sketch)


def precision_rows(
    exact: "Analyzer", units: Sequence[Unit], measured: pd.DataFrame, scope: str, sketch: int | None = None
) -> pd.DataFrame:
    """Return the table `precision` from an analyzer of the same responses in the dtype that serves as the truth."""
    kept = _kept_tokens(exact, {unit.rollout_id for unit in units})
    shifts = _shifts(exact, units, measured[measured["scope"] == scope], sketch)
    rows = kept.groupby("bin")["kept"].agg(n_tokens="size", same_bin_share="mean")
    by_bin = shifts.groupby("bin")
    rows["n_units"] = by_bin.size()
    for angle in ANGLES:
        rows[f"{angle}_shift_mean_deg"] = by_bin[f"{angle}_deg"].mean()
        rows[f"{angle}_shift_max_deg"] = by_bin[f"{angle}_deg"].max()
    rows["n_units"] = rows["n_units"].fillna(0).astype(int)
    return rows.reset_index()


def sample_units(units: Sequence[Unit], n: int, seed: int) -> list[Unit]:
    """Draw about `n` units, as many from each bin."""
    generator = np.random.default_rng([seed, 1])
    bins = sorted({unit.bin for unit in units})
    share = -(-n // len(bins))
    drawn: list[Unit] = []
    for bin_ in bins:
        members = [unit for unit in units if unit.bin == bin_]
        chosen = generator.choice(len(members), min(share, len(members)), replace=False)
        drawn += [members[place] for place in sorted(chosen)]
    return sorted(drawn, key=lambda unit: unit.unit_id)


def _kept_tokens(exact: "Analyzer", rollouts: set[int]) -> pd.DataFrame:
    """The tokens of some rollouts, with `kept`: whether the exact VDS falls within the edges of their bin."""
    inside = exact.tokens[exact.tokens["bin"] >= 0]
    n_bins = int(inside["bin"].max()) + 1
    edges = bin_edges(
        torch.tensor(inside["vds_nats"].to_numpy()), torch.tensor(inside["bin"].to_numpy()), n_bins
    ).contiguous()
    again = inside[inside["rollout_id"].isin(rollouts)].sort_values(["rollout_id", "position"])
    scored = exact.token_scores([exact.rollouts[number] for number in sorted(rollouts)])
    vds = torch.cat([scores.parts.vds.double().cpu() for scores in scored])
    return again.assign(kept=torch.bucketize(vds, edges, right=True).numpy() == again["bin"].to_numpy())


def _shifts(exact: "Analyzer", units: Sequence[Unit], measured: pd.DataFrame, sketch: int | None) -> pd.DataFrame:
    """Absolute differences of the angles of each unit."""
    student = exact.pair.student
    engine = Gramian(student.model, student.groups, metric=exact.metric_factors, sketch=sketch, seed=exact.seed)
    rows = pd.concat([unit_rows(members, grams) for members, grams in unit_grams(exact, engine, units)])
    scope = measured["scope"].iloc[0]
    columns = [f"{angle}_deg" for angle in ANGLES]
    first = measured.set_index("unit_id")[columns]
    second = rows[rows["scope"] == scope].set_index("unit_id")
    return (second[columns] - first.loc[second.index]).abs().assign(bin=second["bin"])


def precision_line(rows: pd.DataFrame, device: str) -> str:
    """Return the outcome in one line; the models were on `device`."""
    share = float(np.average(rows["same_bin_share"], weights=rows["n_tokens"]))
    worst: Mapping[str, float] = {angle: rows[f"{angle}_shift_mean_deg"].max() for angle in ANGLES}
    angle = max(worst, key=lambda name: worst[name])
    return (
        f"precision: against {_exact_dtype(device)}, {100 * share:.1f} % of {rows['n_tokens'].sum()} tokens keep their"
        f" bin; the largest mean shift of an angle in a bin is {worst[angle]:.2f} degrees ({angle})"
    )
