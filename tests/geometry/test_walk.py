"""Gramian by our own walk against the same by autograd: random models, units and options, in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry import Gramian
from tests.geometry.random_models import TEXTS, Case, Setup, case_of, setups, units
from tests.geometry.test_families import worst

LEFT_OUT = ["", "norm", "q_proj", "embed", "vision", "layers.0", "bias", "down_proj"]


def assert_ways_agree(case: Case, left_out: str = "", with_metric: bool = False, **options: int | None) -> None:
    """Compare the two to 1e-9 of the product of the norms, by group; the walk must not have fallen back."""
    said: list[str] = []
    groups = case.groups(left_out)
    metric = case.metric() if with_metric else None
    engine = Gramian(case.model, groups, metric=metric, say=said.append, **options)
    grams = case.grams(engine)
    assert not said and engine.way is engine.walk
    expected = case.grams(Gramian(case.model, groups, metric=metric, way="autograd"))
    errors = {name: worst(gram, expected[name]) for name, gram in grams.items()}
    assert max(errors.values()) <= 1e-9, errors


@settings(max_examples=12)
@given(
    data=st.data(),
    setup=setups(),
    left_out=st.sampled_from(LEFT_OUT),
    with_metric=st.booleans(),
    chunk=st.sampled_from([None, 1, 2]),
)
def test_random_models(data: st.DataObject, setup: Setup, left_out: str, with_metric: bool, chunk: int | None) -> None:
    weights = data.draw(units(setup.n_tokens))
    assert_ways_agree(case_of(setup, weights), left_out, with_metric, chunk=chunk)


@pytest.mark.parametrize(
    ("kind", "attention"), [(kind, "sdpa") for kind in ("qwen3_vl", "gemma3", *TEXTS)] + [("gemma3", "eager")]
)
def test_every_kind(kind: str, attention: str) -> None:
    """Tokens that are far enough from each other for several blocks."""
    setup = Setup(kind, 2, 4, 2, 8, kind != "llama", attention, 3, 1, 11)
    weights = torch.eye(11, dtype=torch.float64)[[0, 4, 9, 10, 1]]
    assert_ways_agree(case_of(setup, weights), chunk=None)


@pytest.mark.slow
@settings(max_examples=60)
@given(
    data=st.data(),
    setup=setups(),
    left_out=st.sampled_from(LEFT_OUT),
    with_metric=st.booleans(),
    chunk=st.sampled_from([None, 1, 2, 3]),
)
def test_many_random_models(
    data: st.DataObject, setup: Setup, left_out: str, with_metric: bool, chunk: int | None
) -> None:
    weights = data.draw(units(setup.n_tokens))
    assert_ways_agree(case_of(setup, weights), left_out, with_metric, chunk=chunk)
