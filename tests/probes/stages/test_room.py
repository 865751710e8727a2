"""Stages where memory runs out: they go on with less at a time, with the same numbers, or name what to change."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from cli.errors import UserError
from geometry import Gramian
from probes import stages
from probes.settings import UnitOptions
from probes.stages import gradients, null, room
from probes.stages.units import Unit
from records import Shards
from vlm.responses import held_views
from vlm.responses.halving import Batches

FULL = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 100 bytes"


def choose(tokens, kind, per_bin="all"):
    return stages.choose_units(tokens, UnitOptions(kind, per_bin), 0)


def gram_table(analyzer, units):
    """The products of all units, and what was kept of those between corpus-bins."""
    apart = analyzer.having(shards=Shards())
    tables = stages.measure_gradients(apart, apart.pair.student.groups, units, {"grams": stages.gram_rows})
    return tables["grams"], apart.shards


def numbers(table):
    keys = [column for column in table if column not in table.select_dtypes(float)]
    return table.sort_values(keys).select_dtypes(float).to_numpy()


@pytest.mark.parametrize("kind", ["token", "trajectory-bin", "corpus-bin"])
def test_a_response_probed_in_parts_gives_the_same(analyzer, tokens, monkeypatch, kind):
    units = choose(tokens, kind, 3)
    whole, _ = gram_table(analyzer, units)
    sizes = []
    plain = gradients.probe_responses

    def noted(analyzer, places):
        sizes.extend(len(at) for _, at in places)
        return plain(analyzer, places)

    monkeypatch.setattr(gradients, "probe_responses", noted)
    monkeypatch.setattr(gradients, "probed_at_once", lambda n_ids, n_seeds=0: 2)
    parts, _ = gram_table(analyzer, units)
    assert sizes and max(sizes) <= max([2, *(unit.n_tokens for unit in units if kind == "trajectory-bin")])
    keys = [column for column in whole if column not in whole.select_dtypes(float)]
    whole, parts = (table.sort_values(keys, ignore_index=True) for table in (whole, parts))
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-5, atol=1e-9)


def test_units_are_parted_by_their_tokens():
    def unit(*positions):
        weights = torch.zeros(9)
        weights[list(positions)] = 1.0
        return Unit(0, "trajectory-bin", 0, "", 7, -1, {7: weights})

    units = [unit(0, 1), unit(1, 2), unit(3), unit(4, 5, 6, 7, 8), unit(4)]
    assert [len(part) for part in gradients.parted(units, 7, 3)] == [2, 1, 1, 1]
    assert [len(part) for part in gradients.parted(units, 7, 9)] == [5]


def test_tokens_that_are_probed_at_once():
    assert room.probed_at_once(151_936) == room.LOGITS_BYTES // (4 * 151_936 * 13)
    assert room.probed_at_once(151_936, 13) == room.LOGITS_BYTES // (4 * 151_936 * 26)
    assert room.probed_at_once(1 << 40) == 1


def test_corpus_bins_go_on_by_halves(analyzer, tokens, monkeypatch, capsys):
    units = choose(tokens, "corpus-bin")
    expected, together = gram_table(analyzer, units)
    plain = gradients._added_up

    def full(analyzer, groups, units):
        if len(units) > 1:
            raise RuntimeError(FULL)
        return plain(analyzer, groups, units)

    monkeypatch.setattr(gradients, "_added_up", full)
    halved, apart = gram_table(analyzer, units)
    np.testing.assert_allclose(numbers(halved), numbers(expected), rtol=1e-5, atol=1e-9)
    assert (
        "note: out of memory for the gradients of 3 corpus-bins at a time, going on with 1" in capsys.readouterr().err
    )
    assert len(apart.gather("bin_grams")) < len(together.gather("bin_grams"))


def test_one_corpus_bin_that_does_not_fit_names_what_to_change(analyzer, tokens, monkeypatch):
    def full(*args):
        raise RuntimeError(FULL)

    monkeypatch.setattr(gradients, "_added_up", full)
    with pytest.raises(
        UserError, match=r"`max_response` must leave room for the gradients of one corpus-bin, .*`dtype`"
    ):
        gram_table(analyzer, choose(tokens, "corpus-bin"))


def test_one_unit_that_does_not_fit_names_what_to_change(analyzer, tokens, monkeypatch, capsys):
    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Gramian, "_chunk", full)
    with pytest.raises(UserError, match=r"room for the gradients of one unit, .* fewer `parameters`, a lower `dtype`"):
        gram_table(analyzer, choose(tokens, "token"))
    assert "note: out of memory for the gradients of" in capsys.readouterr().err


def test_another_error_stays_what_it_is(analyzer, tokens, monkeypatch):
    def broken(*args):
        raise RuntimeError("another fault")

    monkeypatch.setattr(gradients, "_added_up", broken)
    with pytest.raises(RuntimeError, match="another fault"):
        gram_table(analyzer, choose(tokens, "corpus-bin"))


def null_table(analyzer, units):
    rows = list(stages.null_angles(analyzer, units, 0, null.held_views(analyzer, units)))
    return pd.DataFrame(rows)


@pytest.fixture
def paired(tokens):
    """Units of one bin, several of them of one response."""
    return [replace(unit, bin=0) for unit in choose(tokens, "token", 4)]


def test_the_null_of_small_batches_is_that_of_large_ones(analyzer, paired, monkeypatch):
    """The teacher's logits are made for one unit at a time, its hidden states for a batch of units."""
    runs, plain = [], held_views.response_views

    def noted(loaded, views, *others):
        runs.append(len(views))
        return plain(loaded, views, *others)

    monkeypatch.setattr(held_views, "response_views", noted)
    monkeypatch.setattr(held_views, "HELD_BYTES", 0)
    large, small = (null_table(analyzer.having(batches=Batches(size, "batch")), paired) for size in (64, 2))
    assert len(large) >= len(paired)
    pd.testing.assert_frame_equal(small, large, rtol=0, atol=1e-6)
    assert runs[0] == len(paired) and max(runs[1:]) == 2


def test_the_null_from_held_responses_is_that_from_fresh_ones(analyzer, paired, monkeypatch):
    runs, plain = [], held_views.ResponseView.__call__

    def noted(view, positions):
        runs.append(len(positions))
        return plain(view, positions)

    monkeypatch.setattr(held_views.ResponseView, "__call__", noted)
    held = null_table(analyzer, paired)
    n_responses, n_held = len({unit.rollout_id for unit in paired}), len(runs)
    assert n_held == 2 * n_responses + 2  # both views of each, and of one to see what its graphs keep
    assert sum(runs[2:]) == 2 * len({(unit.rollout_id, unit.position) for unit in paired})
    monkeypatch.setattr(held_views, "HELD_BYTES", 0)
    fresh = null_table(analyzer, paired)
    assert len(runs) - n_held >= 2 * len(paired) > n_held
    pd.testing.assert_frame_equal(held, fresh, rtol=0, atol=1e-6)


def test_a_null_that_does_not_fit_names_what_to_change(analyzer, paired, monkeypatch):
    def full(*args):
        raise MemoryError

    monkeypatch.setattr("geometry.null_distribution.gradient", full)
    with pytest.raises(UserError, match="room for two gradients of the student"):
        null_table(analyzer, paired)
