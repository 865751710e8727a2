"""The null distribution: angles between the gradients of unrelated units, bin by bin."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cli.progress import progress
from geometry import UnitViews, null_grams, total
from probes.stages.gradients import finite
from probes.stages.room import room_for
from probes.stages.units import Unit
from stats import chain_order
from vlm.families import scopes
from vlm.responses.held_views import HeldViews
from vlm.responses.scoring import ResponseLogits

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

_COLUMNS = ["bin", "scope", "detached_deg", "attached_deg"]


def measure_null(analyzer: "Analyzer", units: Sequence[Unit]) -> pd.DataFrame:
    """Return angles between one unit's language and another's visual gradient.

    Columns: `bin, scope, detached_deg, attached_deg`. The two units are of one bin and two prompts. A corpus-bin has no
    second unit to be compared with.
    """
    bins, shards = sorted({unit.bin for unit in units}), analyzer.shards
    paired = [unit for unit in units if unit.kind != "corpus-bin"]
    held = held_views(analyzer, paired)
    with progress("null", len(bins)) as show:
        for done, bin_ in enumerate(bins, start=1):
            if shards.due(bin_, "null"):
                members = [unit for unit in paired if unit.bin == bin_]
                rows = list(null_angles(analyzer, members, analyzer.seed + bin_, held))
                shards.add("null", bin_, pd.DataFrame(rows, columns=_COLUMNS))
            show(done)
    return shards.gather("null")


def held_views(analyzer: "Analyzer", units: Sequence[Unit]) -> HeldViews:
    """Return what makes the logits of the responses in which units lie, at the units' tokens."""
    positions: dict[int, list[Tensor]] = {}
    for unit in units:
        positions.setdefault(unit.rollout_id, []).append(unit.positions(unit.rollout_id))
    rollouts = {number: analyzer.rollouts[number] for number in sorted(positions)}
    responses = {
        number: (analyzer.views(rollout), rollout.token_ids, torch.cat(positions[number]).unique())
        for number, rollout in rollouts.items()
    }
    return HeldViews(analyzer.pair, responses, analyzer.batches)


def null_angles(
    analyzer: "Analyzer", units: Sequence[Unit], seed: int, held: HeldViews
) -> Iterator[dict[str, float | int | str]]:
    """Yield a row for each pair of unrelated units and each scope, the angle with q* detached and attached, degrees.

    held: the responses of these units, and of others.

    Raises:
        TooLargeError: two gradients do not fit into memory.
    """
    groups = analyzer.pair.student.groups
    bins = np.array([unit.bin for unit in units], dtype=int)
    prompts = np.array([unit.prompt_id for unit in units], dtype=str)
    pairs = chain_order(bins, prompts, np.random.default_rng(seed))
    views = _UnitViews(analyzer, units, pairs.tolist(), held)
    walk = null_grams(pairs, views, groups, metric=analyzer.metric_factors)
    for first, _ in pairs.tolist():
        with room_for("two gradients of the student"):
            gram = finite(analyzer, next(walk))
        for scope, names in scopes(groups).items():
            detached, attached = total(gram, names).angle_deg("language", "visual").tolist()
            yield {"bin": int(bins[first]), "scope": scope, "detached_deg": detached, "attached_deg": attached}


class _UnitViews:
    """What each unit's gradients need, as pairs are walked: views of the student and logits of the teacher.

    Where responses are not held, the teacher runs on as many units at a time as a batch has responses. Its hidden
    states are kept, and logits only of the unit that is asked for.
    """

    def __init__(
        self, analyzer: "Analyzer", units: Sequence[Unit], pairs: Sequence[tuple[int, int]], held: HeldViews
    ) -> None:
        self._batches, self._units, self._held = analyzer.batches, units, held
        self._order = list(dict.fromkeys([number for pair in pairs for number in pair]))
        self._batch: dict[int, ResponseLogits] = {}

    def __call__(self, number: int) -> UnitViews:
        unit = self._units[number]
        at, weights = unit.positions(unit.rollout_id), unit.weights[unit.rollout_id]
        teacher = self._held.teacher(unit.rollout_id) or self._teacher(number)
        return UnitViews(*self._held.student(unit.rollout_id), *teacher.logits(at), at, weights[at], unit.normalised)

    def _teacher(self, number: int) -> ResponseLogits:
        """Run the teacher on the units from this one on, a batch of them, unless it is among the last such batch."""
        if number not in self._batch:
            self._batch = {}
            numbers = self._order[self._order.index(number) :]
            rollouts = [self._units[one].rollout_id for one in numbers]
            run = self._batches.over(len(numbers), lambda part: self._held.teacher_run(rollouts[part]))
            part, logits = next(run)
            self._batch = dict(zip(numbers[part], logits, strict=True))
        return self._batch[number]
