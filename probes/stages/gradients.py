"""The Gram matrices of units, made into tables a shard at a time, so that an interrupted run continues."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor, nn

from cli.progress import progress
from geometry import DenseGradients, Gram, Gramian, ProbedResponse, cotangents, unit_gradients
from probes.stages.tables import product_rows
from probes.stages.units import Unit
from vlm.responses.finite import refuse_gradients, whose
from vlm.responses.scoring import ResponseView

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

Groups = Mapping[str, Sequence[nn.Parameter]]
Rows = Callable[[Sequence[Unit], Mapping[str, Gram]], pd.DataFrame]
"""Makes rows of a table from units and their Gram matrices by parameter group."""

SHARD = 4  # rollouts per shard
HELD_BYTES = 2 << 30  # of the gradients of corpus-bins that are added up at a time


def measure_gradients(
    analyzer: "Analyzer", groups: Groups, units: Sequence[Unit], tables: Mapping[str, Rows]
) -> dict[str, pd.DataFrame]:
    """Measure the units, rollout by rollout; return what `tables` makes of their Gram matrices, by table.

    Corpus-bins also leave `bin_grams`, the products between those that are measured together. The names of parameters
    that no backward pass has reached go into the analyzer's notes, as `unreached`.
    """
    shards = analyzer.shards
    engine = Gramian(analyzer.pair.student.model, groups, metric=analyzer.metric_factors)
    with progress("gradients", len(units)) as show:
        for shard, part in enumerate(_cut(units, groups)):
            if shards.due(shard, *tables):
                measured = (
                    _bins(analyzer, groups, part) if _are_corpus_bins(part) else unit_grams(analyzer, engine, part)
                )
                rows = [(members, grams) for members, grams in measured]
                for table, make in tables.items():
                    frames = [make(members, grams) for members, grams in rows]
                    shards.add(table, shard, pd.concat(frames, ignore_index=True))
            show(part[-1].unit_id + 1)
    reached = shards.everyone(engine.unreached() if engine.reached else None)
    analyzer.notes["unreached"] = _in_all([names for names in reached if names is not None])
    return {table: _ordered(shards.gather(table)) for table in tables}


def _in_all(lists: Sequence[Sequence[str]]) -> list[str]:
    """The names that all lists have, in the order of the first."""
    return [name for name in lists[0] if all(name in names for names in lists)] if lists else []


def finite(analyzer: "Analyzer", grams: dict[str, Gram]) -> dict[str, Gram]:
    """Return Gram matrices by group as they are.

    Raises:
        NotFiniteError: an inner product is not finite.
    """
    for gram in grams.values():
        refuse_gradients(gram.values, whose(analyzer.pair.student))
    return grams


def unit_grams(
    analyzer: "Analyzer", engine: Gramian, units: Sequence[Unit]
) -> Iterator[tuple[list[Unit], dict[str, Gram]]]:
    """Yield, a rollout at a time, the units that lie in it and their Gram matrices by group."""
    by_rollout: dict[int, list[Unit]] = {}
    for unit in units:
        by_rollout.setdefault(unit.rollout_id, []).append(unit)
    probed = probe_responses(analyzer, by_rollout)
    for (number, members), response in zip(by_rollout.items(), probed, strict=True):
        weights = [unit.weights_at(number, response.positions, response.cotangents) for unit in members]
        yield members, finite(analyzer, engine.units(response, torch.stack(weights)))


def probe_responses(analyzer: "Analyzer", units: Mapping[int, Sequence[Unit]]) -> Iterator[ProbedResponse]:
    """Yield for each rollout number the response at the tokens of its units; logits are made for these tokens alone."""
    positions = [_union([unit.positions(number) for unit in members]) for number, members in units.items()]
    rollouts = [analyzer.rollouts[number] for number in units]
    pair = analyzer.pair
    scored = analyzer.score(rollouts, positions)
    for rollout, at, views in zip(rollouts, positions, scored, strict=True):
        image, text = (
            ResponseView(pair.student, view, rollout.token_ids, pair.n_ids) for view in analyzer.views(rollout)
        )
        yield ProbedResponse(image, text, cotangents(views), at)


def _union(positions: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(positions)).unique()  # ascending


def _ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Units sorted by scope; Gram matrices as they were measured."""
    return rows.sort_values(["scope", "unit_id"], ignore_index=True) if "scope" in rows else rows


def _bins(analyzer: "Analyzer", groups: Groups, units: Sequence[Unit]) -> list[tuple[list[Unit], dict[str, Gram]]]:
    """The gradients of some corpus-bins, added up over rollouts; each rollout is run once for all of them."""
    added = DenseGradients(groups, metric=analyzer.metric_factors)
    numbers = sorted({number for unit in units for number in unit.weights})
    for number, response in zip(numbers, probe_responses(analyzer, dict.fromkeys(numbers, units)), strict=True):
        weights = [unit.weights_at(number, response.positions, response.cotangents) for unit in units]
        added.add(unit_gradients(response, torch.stack(weights), groups))
    analyzer.shards.add("bin_grams", units[0].unit_id, product_rows(units, added.cross_grams()))
    return [(list(units), finite(analyzer, added.grams()))]


def _are_corpus_bins(units: Sequence[Unit]) -> bool:
    return units[0].kind == "corpus-bin"


def _cut(units: Sequence[Unit], groups: Groups) -> list[Sequence[Unit]]:
    """Units in order, cut between rollouts: all of a rollout's units share its forward passes.

    As many corpus-bins as memory holds the gradients of: four in float64 each.
    """
    if _are_corpus_bins(units):
        bytes_per_bin = 32 * sum(parameter.numel() for members in groups.values() for parameter in members)
        size = max(HELD_BYTES // bytes_per_bin, 1)
        return [units[start : start + size] for start in range(0, len(units), size)]
    rollouts = sorted({unit.rollout_id for unit in units})
    place = {rollout: number // SHARD for number, rollout in enumerate(rollouts)}
    shards: dict[int, list[Unit]] = {}
    for unit in units:
        shards.setdefault(place[unit.rollout_id], []).append(unit)
    return list(shards.values())
