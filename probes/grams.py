"""The Gram matrices of units, made into tables a shard at a time, so that an interrupted run continues."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pandas as pd
from torch import Tensor, nn

from cli.progress import progress
from geometry import Gramian
from probes.corpus import Corpus
from probes.tables import product_rows
from probes.units import Unit, grams_by_rollout, sum_of_corpus_bins
from records import Shards

Groups = Mapping[str, Sequence[nn.Parameter]]
Rows = Callable[[Sequence[Unit], Mapping[str, Tensor]], pd.DataFrame]
"""Makes rows of a table from units and their Gram matrices `[U, 5, 5]` by group."""

SHARD = 4  # rollouts a shard
HELD_BYTES = 2 << 30  # of the gradients of corpus-bins that are added up at a time


def add_grams(
    corpus: Corpus, groups: Groups, units: Sequence[Unit], shards: Shards, tables: Mapping[str, Rows]
) -> list[str]:
    """Measure the units, rollout by rollout, and add what `tables` makes of their Gram matrices to the shards.

    Corpus-bins that are measured together also leave the products between them, `bin_grams`. Returns the names of
    the parameters that no backward pass has reached, as far as units were measured in this run.
    """
    engine = Gramian(corpus.pair.student.model, groups, metric=corpus.metric_factors)
    with progress("gradients", len(units)) as show:
        for shard, part in enumerate(_cut(units, groups)):
            if not all(shards.has(table, shard) for table in tables):
                measured = _bins_measured(corpus, groups, part, shards) if _are_corpus_bins(part) else None
                for table, frame in _frames(measured or grams_by_rollout(corpus, engine, part), tables):
                    shards.add(table, shard, frame)
            show(part[-1].unit_id + 1)
    return engine.unreached() if engine.reached else []


def _frames(
    measured: Iterable[tuple[list[Unit], dict[str, Tensor]]], tables: Mapping[str, Rows]
) -> Iterator[tuple[str, pd.DataFrame]]:
    held = list(measured)
    for table, rows in tables.items():
        yield table, pd.concat([rows(members, grams) for members, grams in held], ignore_index=True)


def _bins_measured(
    corpus: Corpus, groups: Groups, units: Sequence[Unit], shards: Shards
) -> list[tuple[list[Unit], dict[str, Tensor]]]:
    gradients = sum_of_corpus_bins(corpus, units, groups)
    shards.add("bin_grams", units[0].unit_id, product_rows(units, gradients.cross_grams()))
    return [(list(units), gradients.grams())]


def _are_corpus_bins(units: Sequence[Unit]) -> bool:
    return units[0].kind == "corpus-bin"


def _cut(units: Sequence[Unit], groups: Groups) -> list[Sequence[Unit]]:
    """Units in order, cut between rollouts: all of a rollout's units share its forward passes.

    As many corpus-bins as memory holds the gradients of: four in float64 each.
    """
    if _are_corpus_bins(units):
        a_bin = 32 * sum(parameter.numel() for members in groups.values() for parameter in members)
        size = max(HELD_BYTES // a_bin, 1)
        return [units[start : start + size] for start in range(0, len(units), size)]
    rollouts = sorted({unit.rollout_id for unit in units})
    place = {rollout: number // SHARD for number, rollout in enumerate(rollouts)}
    shards: dict[int, list[Unit]] = {}
    for unit in units:
        shards.setdefault(place[unit.rollout_id], []).append(unit)
    return list(shards.values())
