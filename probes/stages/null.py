"""The null distribution: angles between the gradients of unrelated units, bin by bin."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cli.progress import progress
from geometry import UnitViews, null_grams, total
from probes.stages.gradients import finite
from probes.stages.room import room_for
from probes.stages.units import Unit
from stats import chain_order
from vlm.families import scopes
from vlm.responses.scoring import ResponseLogits, ResponseView, response_views

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
    """Yield a row for each pair of unrelated units and each scope, the angle with q* detached and attached, degrees.

    Raises:
        TooLargeError: two gradients do not fit into memory.
    """
    groups = analyzer.pair.student.groups
    bins = np.array([unit.bin for unit in units], dtype=int)
    prompts = np.array([unit.prompt_id for unit in units], dtype=str)
    pairs = chain_order(bins, prompts, np.random.default_rng(seed))
    views = _UnitViews(analyzer, units, pairs.tolist())
    walk = null_grams(pairs, views, groups, metric=analyzer.metric_factors)
    for first, _ in pairs.tolist():
        with room_for("two gradients of the student"):
            gram = finite(analyzer, next(walk))
        for scope, names in scopes(groups).items():
            detached, attached = total(gram, names).angle_deg("language", "visual").tolist()
            yield {"bin": int(bins[first]), "scope": scope, "detached_deg": detached, "attached_deg": attached}


class _UnitViews:
    """What each unit's gradients need, as pairs are walked: views of the student and logits of the teacher.

    The teacher runs on as many units at a time as a batch has responses. Its hidden states are held, and logits only
    of the unit that is asked for.
    """

    def __init__(self, analyzer: "Analyzer", units: Sequence[Unit], pairs: Sequence[tuple[int, int]]) -> None:
        self._analyzer, self._units, self._batches = analyzer, units, analyzer.batches
        self._order = list(dict.fromkeys([number for pair in pairs for number in pair]))
        self._held: dict[int, ResponseLogits] = {}

    def __call__(self, number: int) -> UnitViews:
        if number not in self._held:
            self._held = {}
            self._held = self._run(self._order[self._order.index(number) :])
        pair, unit = self._analyzer.pair, self._units[number]
        rollout, at = self._analyzer.rollouts[unit.rollout_id], unit.positions(unit.rollout_id)
        both = self._analyzer.views(rollout)
        image, text = (ResponseView(pair.student, view, rollout.token_ids, pair.n_ids) for view in both)
        weights = unit.weights[unit.rollout_id][at]
        return UnitViews(image, text, *self._held[number].logits(at), at, weights, unit.normalised)

    def _run(self, numbers: Sequence[int]) -> dict[int, ResponseLogits]:
        """Run the teacher on the first batch of units."""
        analyzer = self._analyzer
        rollouts = [analyzer.rollouts[self._units[number].rollout_id] for number in numbers]

        def run(part: slice) -> list[ResponseLogits]:
            views = [analyzer.views(rollout) for rollout in rollouts[part]]
            ids = [rollout.token_ids for rollout in rollouts[part]]
            return response_views(analyzer.pair.teacher, views, ids, analyzer.pair.n_ids)

        part, logits = next(self._batches.over(len(numbers), run))
        return dict(zip(numbers[part], logits, strict=True))
