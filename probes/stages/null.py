"""The null distribution: angles between the gradients of unrelated units, bin by bin."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cli.progress import progress
from geometry import UnitViews, null_grams, total
from probes.stages.gradients import finite
from probes.stages.units import Unit
from stats import chain_order
from vlm.families import scopes
from vlm.responses.scoring import ResponseView, logit_pairs

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

_COLUMNS = ["bin", "scope", "detached_deg", "attached_deg"]


def measure_null(analyzer: "Analyzer", units: Sequence[Unit]) -> pd.DataFrame:
    """Return angles between one unit's language and another's visual gradient.

    Columns: `bin, scope, detached_deg, attached_deg`. The two units are of one bin and two prompts. A corpus-bin has no
    second unit to be compared with.
    """
    bins, shards = sorted({unit.bin for unit in units}), analyzer.shards
    with progress("null", len(bins)) as show:
        for done, bin_ in enumerate(bins, start=1):
            if shards.due(bin_, "null"):
                members = [unit for unit in units if unit.bin == bin_ and unit.kind != "corpus-bin"]
                rows = list(null_angles(analyzer, members, analyzer.seed + bin_))
                shards.add("null", bin_, pd.DataFrame(rows, columns=_COLUMNS))
            show(done)
    return shards.gather("null")


def null_angles(analyzer: "Analyzer", units: Sequence[Unit], seed: int) -> Iterator[dict[str, float | int | str]]:
    """Yield a row for each pair of unrelated units and each scope, the angle with q* detached and attached, degrees."""
    groups = analyzer.pair.student.groups
    bins = np.array([unit.bin for unit in units], dtype=int)
    prompts = np.array([unit.prompt_id for unit in units], dtype=str)
    pairs = chain_order(bins, prompts, np.random.default_rng(seed))
    views = _unit_views(analyzer, units)
    walk = null_grams(pairs, views.__getitem__, groups, metric=analyzer.metric_factors)
    for (first, _), grams in zip(pairs.tolist(), walk, strict=True):
        gram = finite(analyzer, grams)
        for scope, names in scopes(groups).items():
            detached, attached = total(gram, names).angle_deg("language", "visual").tolist()
            yield {"bin": int(bins[first]), "scope": scope, "detached_deg": detached, "attached_deg": attached}


def _unit_views(analyzer: "Analyzer", units: Sequence[Unit]) -> list[UnitViews]:
    """What each unit's gradients need: the teacher's logits at its tokens alone, and views that end at the last one."""
    pair, found = analyzer.pair, []
    size = analyzer.prompt_options.batch
    for start in range(0, len(units), size):
        part = units[start : start + size]
        rollouts = [analyzer.rollouts[unit.rollout_id] for unit in part]
        views, positions = [analyzer.views(rollout) for rollout in rollouts], [u.positions(u.rollout_id) for u in part]
        ids = [rollout.token_ids for rollout in rollouts]
        teacher = logit_pairs(pair.teacher, views, ids, pair.n_ids, positions)
        for unit, both, response, at, logits in zip(part, views, ids, positions, teacher, strict=True):
            image, text = (ResponseView(pair.student, view, response, pair.n_ids) for view in both)
            weights = unit.weights[unit.rollout_id][at]
            found.append(UnitViews(image, text, *logits, at, weights, unit.normalised))
    return found
