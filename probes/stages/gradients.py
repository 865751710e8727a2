"""The Gram matrices of units, made into tables a shard at a time, so that an interrupted run continues."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor, nn

from cli.progress import progress
from geometry import DenseGradients, Gram, Gramian, ProbedResponse, cotangents, unit_gradients
from probes.stages.room import note, probed_at_once, room_for, tried
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
    analyzer: "Analyzer",
    groups: Groups,
    units: Sequence[Unit],
    tables: Mapping[str, Rows],
    sketch: int | None = None,
) -> dict[str, pd.DataFrame]:
    """Measure the units, rollout by rollout; return what `tables` makes of their Gram matrices, by table.

    Corpus-bins also leave `bin_grams`, the products between those that are measured together. The names of parameters
    that no backward pass has reached go into the analyzer's notes, as `unreached`. With `sketch`, products are those
    that `Gramian` estimates from so many columns.
    """
    shards = analyzer.shards
    metric, seed = analyzer.metric_factors, analyzer.seed
    engine = Gramian(analyzer.pair.student.model, groups, metric=metric, sketch=sketch, seed=seed, say=note)
    with progress("gradients", len(units)) as show:
        for shard, part in enumerate(_cut(units, groups)):
            if shards.due(shard, *tables):
                engine.forget()  # a shard is the same whichever were measured before it
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
    """Yield, a rollout or a part of it at a time, the units that lie in it and their Gram matrices by group.

    Raises:
        TooLargeError: the gradients of one unit do not fit into memory.
    """
    by_rollout: dict[int, list[Unit]] = {}
    for unit in units:
        by_rollout.setdefault(unit.rollout_id, []).append(unit)
    most = probed_at_once(analyzer.pair.n_ids)
    parts = [(number, part) for number, members in by_rollout.items() for part in parted(members, number, most)]
    places = [(number, _union([unit.positions(number) for unit in part])) for number, part in parts]
    for (number, members), response in zip(parts, probe_responses(analyzer, places), strict=True):
        weights = [unit.weights_at(number, response.positions, response.cotangents) for unit in members]
        with room_for("the gradients of one unit"):
            grams = engine.units(response, torch.stack(weights))
        yield members, finite(analyzer, grams)


def parted(units: Sequence[Unit], number: int, most: int) -> list[list[Unit]]:
    """Part the units of a rollout, in order, so that those of a part have at most so many tokens between them."""
    parts, tokens = list[list[Unit]](), set[int]()
    for unit in units:
        own = set(unit.positions(number).tolist())
        if not parts or len(tokens | own) > most:
            parts.append([])
            tokens = set()
        parts[-1].append(unit)
        tokens |= own
    return parts


def probe_responses(analyzer: "Analyzer", places: Sequence[tuple[int, Tensor]]) -> Iterator[ProbedResponse]:
    """Yield for each rollout number the response at these positions; logits are made for these tokens alone."""
    positions = [at for _, at in places]
    rollouts = [analyzer.rollouts[number] for number, _ in places]
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
    """The Gram matrices of some corpus-bins, of half of them at a time where memory does not hold all."""
    if len(units) == 1:
        with room_for("the gradients of one corpus-bin"):
            measured = _added_up(analyzer, groups, units)
    else:
        both = tried(lambda: _added_up(analyzer, groups, units))
        if both is None:
            half = len(units) // 2
            note(f"out of memory for the gradients of {len(units)} corpus-bins at a time, going on with {half}")
            return [*_bins(analyzer, groups, units[:half]), *_bins(analyzer, groups, units[half:])]
        measured = both
    products, grams = measured
    analyzer.shards.add("bin_grams", units[0].unit_id, product_rows(units, products))
    return [(list(units), finite(analyzer, grams))]


def _added_up(analyzer: "Analyzer", groups: Groups, units: Sequence[Unit]) -> tuple[dict[str, Tensor], dict[str, Gram]]:
    """The products between corpus-bins, whose gradients are added up over rollouts, each run once for all of them."""
    added = DenseGradients(groups, metric=analyzer.metric_factors)
    most = probed_at_once(analyzer.pair.n_ids, n_seeds=6 * len(units))
    numbers = sorted({number for unit in units for number in unit.weights})
    every = [(number, _union([unit.positions(number) for unit in units])) for number in numbers]
    places = [(number, part) for number, at in every for part in at.split(most)]
    for (number, _), response in zip(places, probe_responses(analyzer, places), strict=True):
        weights = [unit.weights_at(number, response.positions, response.cotangents) for unit in units]
        added.add(unit_gradients(response, torch.stack(weights), groups))
    return added.cross_grams(), added.grams()


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
