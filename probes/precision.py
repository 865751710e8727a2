"""What the dtype of a measurement costs: a sample of its units measured again in float64, or float32 on a GPU.

Reported a bin at a time: the share of tokens that stay in it when their VDS is computed anew, and how far each angle
moves. In bfloat16 the least visual bins suffer first: there VDS is the difference of two nearly equal logarithms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import torch

from cli.errors import OptionError
from geometry import Gramian, bin_edges, decompose
from probes.corpus import Corpus
from probes.metric import metric_of
from probes.options import Dtype, MetricOptions, PairOptions
from probes.tables import unit_rows
from probes.units import Unit, grams_by_rollout
from records import ANGLES
from vlm.pair import load_pair


def reference_options(options: PairOptions) -> PairOptions:
    """The same pair in the dtype that serves as the truth; refused where the measurement has it already."""
    exact: Dtype = "float64" if options.device == "cpu" else "float32"
    if options.dtype == exact:
        raise OptionError(f"`precision_check` compares with {exact}, which `dtype` is already; leave it out")
    return replace(options, dtype=exact, teacher_dtype=exact)


def exact_corpus(corpus: Corpus, checkpoint: str, options: PairOptions, metric: MetricOptions) -> Corpus:
    """The same responses, with the pair loaded again in the dtype that serves as the truth."""
    pair = load_pair(checkpoint, **asdict(reference_options(options)))
    return replace(corpus, pair=pair, metric=metric_of(pair, checkpoint, metric))


def precision_rows(
    exact: Corpus, tokens: pd.DataFrame, units: Sequence[Unit], measured: pd.DataFrame, scope: str
) -> pd.DataFrame:
    """A row a bin: tokens scored again and the share that keeps the bin; units and the shift of each angle, degrees.

    Args:
        exact: see `exact_corpus`.
        tokens, measured: the tables `tokens` and `units` of the measurement.
        units: those to measure again; all tokens of their rollouts are scored again.
        scope: of the angles.
    """
    kept = _kept_tokens(exact, tokens, {unit.rollout_id for unit in units})
    shifts = _shifts(exact, units, measured[measured["scope"] == scope])
    rows = kept.groupby("bin")["kept"].agg(n_tokens="size", same_bin_share="mean")
    by_bin = shifts.groupby("bin")
    rows["n_units"] = by_bin.size()
    for angle in ANGLES:
        rows[f"{angle}_shift_mean_deg"] = by_bin[f"{angle}_deg"].mean()
        rows[f"{angle}_shift_max_deg"] = by_bin[f"{angle}_deg"].max()
    rows["n_units"] = rows["n_units"].fillna(0).astype(int)
    return rows.reset_index()


def sample(units: Sequence[Unit], n: int, seed: int) -> list[Unit]:
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


def _kept_tokens(exact: Corpus, tokens: pd.DataFrame, rollouts: set[int]) -> pd.DataFrame:
    """The tokens of some rollouts, with `kept`: whether the exact VDS falls within the edges of their bin."""
    inside = tokens[tokens["bin"] >= 0]
    n_bins = int(inside["bin"].max()) + 1
    edges = bin_edges(
        torch.tensor(inside["vds_nats"].to_numpy()), torch.tensor(inside["bin"].to_numpy()), n_bins
    ).contiguous()
    again = inside[inside["rollout_id"].isin(rollouts)].sort_values(["rollout_id", "position"])
    scored = exact.score([exact.rollouts[number] for number in sorted(rollouts)])
    views = [decompose(v.student_image, v.student_text, v.teacher_image, v.teacher_text) for v in scored]
    vds = torch.cat([parts.vds.double().cpu() for parts in views])
    return again.assign(kept=torch.bucketize(vds, edges, right=True).numpy() == again["bin"].to_numpy())


def _shifts(exact: Corpus, units: Sequence[Unit], measured: pd.DataFrame) -> pd.DataFrame:
    """Absolute differences of the angles, a row a unit."""
    student = exact.pair.student
    engine = Gramian(student.model, student.groups, metric=exact.metric_factors)
    found = pd.concat([unit_rows(members, grams) for members, grams in grams_by_rollout(exact, engine, units)])
    scope = measured["scope"].iloc[0]
    columns = [f"{angle}_deg" for angle in ANGLES]
    first = measured.set_index("unit_id")[columns]
    second = found[found["scope"] == scope].set_index("unit_id")
    return (second[columns] - first.loc[second.index]).abs().assign(bin=second["bin"])


def summary(rows: pd.DataFrame, reference: str) -> str:
    """One line for the terminal."""
    share = float(np.average(rows["same_bin_share"], weights=rows["n_tokens"]))
    worst: Mapping[str, float] = {angle: rows[f"{angle}_shift_mean_deg"].max() for angle in ANGLES}
    angle = max(worst, key=lambda name: worst[name])
    return (
        f"precision: against {reference}, {100 * share:.1f} % of {rows['n_tokens'].sum()} tokens keep their bin; "
        f"the largest mean shift of an angle in a bin is {worst[angle]:.2f} degrees ({angle})"
    )
