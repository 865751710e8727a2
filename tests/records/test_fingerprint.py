"""Fingerprints and differences agree: the same settings, and only they, have the same name."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from records import fingerprint, first_difference
from records.fingerprint import difference, plain

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
KEYS = st.text(max_size=5)
SETTINGS = st.dictionaries(
    KEYS,
    st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)),
    max_size=4,
)


@given(SETTINGS, SETTINGS)
def test_a_difference_is_found_exactly_when_fingerprints_differ(left, right):
    assert (first_difference(left, right) is None) == (fingerprint(left) == fingerprint(right))


@given(SETTINGS)
def test_order_of_keys_does_not_matter(settings):
    turned = dict(reversed(settings.items()))
    assert fingerprint(turned) == fingerprint(settings)
    assert first_difference(turned, settings) is None


@pytest.mark.parametrize(
    ("left", "right", "field"),
    [
        ({"seed": 0}, {"seed": 1}, "seed"),
        ({"a": {"b": {"c": 0}}}, {"a": {"b": {"c": None}}}, "a.b.c"),
        ({"layers": [1, 2, 3]}, {"layers": [1, 5, 3]}, "layers.1"),
        ({"layers": [1, 2]}, {"layers": [1]}, "layers.1"),
        ({"layers": list(range(12))}, {"layers": [0, 1, 9, *range(3, 10), 7, 8]}, "layers.2"),
        ({"seed": 0}, {}, "seed"),
        ({}, {"seed": None}, "seed"),
        ({"seed": 1}, {"seed": 1.0}, "seed"),
        ({"seed": 1}, {"seed": True}, "seed"),
        ({"a": []}, {"a": {}}, "a"),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, "a"),
    ],
)
def test_the_first_differing_field_is_named(left, right, field):
    assert first_difference(left, right) == field
    assert first_difference(right, left) == field


def test_a_difference_has_both_values():
    found = difference({"seed": 0}, {})
    assert (found.left, repr(found.right)) == (0, "absent")


def test_paths_tuples_and_numpy_scalars_are_plain():
    assert plain({"a": Path("x/y"), "b": (np.int64(3), np.float64(0.5), np.bool_(True))}) == {
        "a": "x/y",
        "b": [3, 0.5, True],
    }


@dataclass
class Stranger:
    seed: int = 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float64("nan"), Stranger(), {1}, b"x"])
def test_what_json_does_not_hold_is_refused(value):
    with pytest.raises(ValueError, match="no place in JSON"):
        fingerprint({"value": value})


def test_gaps_become_null():
    assert plain({"a": [float("nan"), float("-inf"), 1.5]}, gaps=True) == {"a": [None, None, 1.5]}


def test_pinned_value():
    """A new fingerprint for old settings would orphan every record begun under them."""
    assert fingerprint({"seed": 0, "pair": "bundled"}) == "d6e8bc90478b"
