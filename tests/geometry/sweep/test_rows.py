"""Cotangents that are held by rows: a token's, up to its own place, through causal layers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry.gramian.sweep.layout import block_bounds
from tests.geometry.sweep.layers import ATTENTION, LAYERS
from tests.geometry.sweep.walked import assert_by_rows

LENGTH = 29
AT = torch.tensor([1, 2, 8, 9, 10, 20, 27, 28])  # far enough from each other for several blocks
OWN = {
    "tokens": torch.arange(8)[:, None],
    "one-token": torch.tensor([[4]]),
    "first-token": torch.tensor([[0]]),
    "several": torch.tensor([[0, 1, 2], [3, 0, 2], [1, 6, 4], [7, 6, 5]]),
}


def made(names: list[str]) -> tuple[list, list]:
    built = [LAYERS[name](10 * place + 1) for place, name in enumerate(names)]
    return [each.apply for each in built], [parameter for each in built for parameter in each.parameters]


def assert_layers(names: list[str], own: torch.Tensor, at: torch.Tensor = AT, length: int = LENGTH) -> None:
    layers, parameters = made(names)
    assert_by_rows(layers, parameters, length, own, at)


def test_these_units_make_several_blocks() -> None:
    assert len(block_bounds([int(AT[place]) + 1 for place in range(8)])) > 3


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_above_and_below_attention(name: str) -> None:
    assert_layers([name, "causal", name], OWN["tokens"])


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_alone(name: str) -> None:
    assert_layers([name], OWN["several"])


@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_twice(name: str, own: torch.Tensor) -> None:
    assert_layers([name, "rms", name], own)


@pytest.mark.parametrize("at", [[0], [0, 1], [28], [0, 28]], ids=str)
def test_ends_of_a_sequence(at: list[int]) -> None:
    assert_layers(["rms", "grouped", "silu-gate", "rotary"], torch.arange(len(at))[:, None], torch.tensor(at))


def test_a_sequence_of_one_place() -> None:
    assert_layers(["causal", "rms", "eager", "linear"], torch.tensor([[0]]), torch.tensor([0]), 1)


def test_a_sequence_as_long_as_it_is_wide() -> None:
    assert_layers(["rms", "grouped", "silu-gate", "permuted"], torch.arange(8)[:, None], torch.arange(8), 8)
    assert_layers(["linear-four-axes", "causal", "unbound"], torch.arange(4)[:, None], torch.arange(4), 4)
    assert_layers(["linear-four-axes", "causal", "unbound"], torch.arange(2)[:, None], torch.arange(2), 2)


@settings(max_examples=20)
@given(
    names=st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=4),
    length=st.integers(4, 24),
    data=st.data(),
)
def test_layers_in_any_order(names: list[str], length: int, data: st.DataObject) -> None:
    at = sorted(data.draw(st.sets(st.integers(0, length - 1), min_size=2, max_size=6)))
    size = data.draw(st.integers(1, len(at)))
    units = st.lists(st.integers(0, len(at) - 1), min_size=size, max_size=size, unique=True)
    own = sorted(data.draw(st.lists(units, min_size=1, max_size=4)), key=max)
    assert_layers(names, torch.tensor(own), torch.tensor(at), length)
