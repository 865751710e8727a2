"""Fused attention whole: batches, other lengths of keys, and every kind of mask."""

import pytest
import torch
from torch.nn import functional as F

from tests.geometry.problems import normal
from tests.geometry.sweep.walked import assert_whole, leaf, nodes_behind

B, H, S, T, D = 2, 4, 3, 5, 6
SEEN = normal(S, T, seed=65) > -0.5
SEEN[:, 0] = True
PADDING = torch.tensor([[True] * 5, [True, True, True, False, False]])
CASES = {
    "plain": {},
    "scale": {"scale": 0.9},
    "causal": {"is_causal": True},
    "bool-two-axes": {"attn_mask": SEEN},
    "bool-three-axes": {"attn_mask": SEEN[None].expand(H, S, T)},
    "bool-four-axes": {"attn_mask": SEEN[None, None]},
    "padding": {"attn_mask": PADDING[:, None, None, :]},
    "padding-expanded": {"attn_mask": PADDING[:, None, None, :].expand(B, 1, S, T)},
    "float-two-axes": {"attn_mask": normal(S, T, seed=66)},
    "float-of-heads": {"attn_mask": normal(1, H, S, T, seed=67)},
    "float-whole": {"attn_mask": normal(B, H, S, T, seed=68), "scale": 1.1},
    "float-minus-infinity": {"attn_mask": torch.zeros(S, T).double().masked_fill(~SEEN, -torch.inf)[None, None]},
    "float-lowest": {"attn_mask": torch.zeros(S, T).double().masked_fill(~SEEN, torch.finfo(torch.float64).min)},
}


@pytest.mark.parametrize("n_keys", [H, 2, 1])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_equals_torch(options: dict, n_keys: int) -> None:
    query = leaf(B, H, S, D)
    key, value = leaf(B, n_keys, T, D, seed=1), leaf(B, n_keys, T, D, seed=2)
    result = F.scaled_dot_product_attention(query, key, value, enable_gqa=n_keys < H, **options)
    is_fused = any("ScaledDotProduct" in node.name() for node in nodes_behind(result))
    assert is_fused or options["attn_mask"].ndim == 3  # which torch makes of plain operations
    assert_whole([query, key, value], result)


@pytest.mark.parametrize("trained", [0, 1, 2])
def test_one_input_that_trains(trained: int) -> None:
    inputs = [leaf(B, H, S, D, seed=place) for place in range(3)]
    given = [each if place == trained else each.detach() for place, each in enumerate(inputs)]
    assert_whole([inputs[trained]], F.scaled_dot_product_attention(*given))


def test_queries_keys_and_values_from_one_tensor() -> None:
    one = leaf(B, H, S, D)
    assert_whole([one], F.scaled_dot_product_attention(one, one, one, is_causal=True))


def test_a_query_that_sees_nothing() -> None:
    """Its result is 0, and no gradient passes it; a softmax of its scores would be no number."""
    mask = SEEN.clone()
    mask[1] = False
    query, key, value = leaf(1, 2, S, D), leaf(1, 2, T, D, seed=1), leaf(1, 2, T, D, seed=2)
    result = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[None, None])
    assert result.isfinite().all()
    assert_whole([query, key, value], result)


def test_a_mask_that_trains() -> None:
    query, key, value, bias = leaf(1, 2, S, D), leaf(1, 2, T, D), leaf(1, 2, T, D), leaf(1, 2, S, T)
    assert_whole([query, key, value, bias], F.scaled_dot_product_attention(query, key, value, attn_mask=bias))


def test_values_of_another_width() -> None:
    query, key, value = leaf(B, H, S, D), leaf(B, H, T, D, seed=1), leaf(B, H, T, 4, seed=2)
    assert_whole([query, key, value], F.scaled_dot_product_attention(query, key, value))
