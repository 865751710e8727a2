"""The Gram matrices of units, made into tables a shard at a time, so that an interrupted run continues."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from torch import Tensor, nn

from geometry import Gramian
from probes.corpus import Corpus
from probes.progress import progress
from probes.units import Unit, grams_by_rollout, grams_of_corpus_bin
from records import Shards

Groups = Mapping[str, Sequence[nn.Parameter]]
Rows = Callable[[Sequence[Unit], Mapping[str, Tensor]], pd.DataFrame]
"""Makes rows of a table from units and their Gram matrices `[U, 5, 5]` by group."""

SHARD = 4  # rollouts a shard


def add_grams(
    corpus: Corpus, groups: Groups, units: Sequence[Unit], shards: Shards, tables: Mapping[str, Rows]
) -> None:
    """Measure the units, rollout by rollout, and add what `tables` makes of their Gram matrices to the shards."""
    engine = Gramian(corpus.pair.student.model, groups)
    with progress("gradients", len(units)) as show:
        for shard, part in enumerate(_cut(units)):
            if not all(shards.has(table, shard) for table in tables):
                measured = _measured(corpus, engine, groups, part)
                for table, rows in tables.items():
                    frames = [rows(members, grams) for members, grams in measured]
                    shards.add(table, shard, pd.concat(frames, ignore_index=True))
            show(part[-1].unit_id + 1)


def _measured(
    corpus: Corpus, engine: Gramian, groups: Groups, units: Sequence[Unit]
) -> list[tuple[list[Unit], dict[str, Tensor]]]:
    if units[0].kind != "corpus-bin":
        return list(grams_by_rollout(corpus, engine, units))
    single = [(unit, grams_of_corpus_bin(corpus, unit, groups)) for unit in units]
    return [([unit], {name: gram[None] for name, gram in grams.items()}) for unit, grams in single]


def _cut(units: Sequence[Unit]) -> list[list[Unit]]:
    """Units in order, cut between rollouts: all of a rollout's units share its forward passes."""
    rollouts = sorted({unit.rollout_id for unit in units})
    place = {rollout: number // SHARD for number, rollout in enumerate(rollouts)}
    shards: dict[int, list[Unit]] = {}
    for unit in units:
        key = place[unit.rollout_id] if unit.rollout_id >= 0 else unit.bin
        shards.setdefault(key, []).append(unit)
    return list(shards.values())
