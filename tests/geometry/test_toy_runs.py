"""Whole runs under AdamW that start without a language gap: where docs/theory.md says so, they equal standard ones."""

import math
from dataclasses import replace
from functools import cache

import pytest

from geometry import Objective
from tests.geometry.toy_runs import ARMS, STEPS, Arm, Run, preserved, run

EQUAL = 1e-12
FROZEN = ARMS["gamma 2, prior frozen"]


@cache
def trained(name: str, seed: int = 0) -> Run:
    return run(ARMS[name], seed)


def apart(one: Run, other: Run) -> float:
    """Return the greatest difference of a weight over all steps."""
    return float((one.weights - other.weights).abs().max())


@pytest.mark.parametrize(("gamma", "seed"), [(1.0, 0), (2.0, 1), (4.0, 0)])
def test_with_the_prior_frozen_the_weights_are_the_standard_ones(gamma: float, seed: int) -> None:
    steered = run(Arm(Objective("vgs", gamma=gamma), frozen=True), seed)
    assert apart(steered, trained("standard", seed)) < EQUAL
    way = trained("standard", seed).weights
    assert float((way[-1] - way[0]).norm()) > 1.0


@pytest.mark.parametrize("seed", [0, 1])
def test_with_the_prior_moving_the_first_step_is_the_standard_one_and_the_second_is_not(seed: int) -> None:
    ways = [trained("gamma 2", seed).way_from(trained("standard", seed), step) for step in (1, 2, 10, 100)]
    assert ways[0] < EQUAL
    assert 0.01 < ways[1] < ways[2] < ways[3] and ways[3] > 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_a_target_that_follows_parts_at_once(seed: int) -> None:
    assert trained("gamma 2, q* attached", seed).way_from(trained("standard", seed), 1) > 0.5


@pytest.mark.parametrize("binding", [{"eps": 1e-3}, {"clip": 0.3}], ids=["eps", "clip"])
def test_an_eps_or_a_clip_that_binds_ends_the_equality_unless_eta_is_the_damping(binding: dict[str, float]) -> None:
    standard = run(ARMS["standard"], 0, 30, **binding)
    assert apart(run(FROZEN, 0, 30, **binding), standard) > 1e-3
    normalised = replace(FROZEN, objective=Objective("vgs", gamma=2.0, eta=1 / 3))
    assert apart(run(normalised, 0, 30, **binding), standard) < EQUAL


def test_a_clip_that_binds_in_every_step_of_both_keeps_the_equality() -> None:
    """Up to what torch adds to a length before it divides by it, 1e-6."""
    clipped = run(ARMS["standard"], 0, 30, clip=1e-3)
    assert apart(run(FROZEN, 0, 30, clip=1e-3), clipped) < 1e-4 < 1e-2 < apart(clipped, run(ARMS["standard"], 0, 30))


def test_language_is_unlearnt_with_gamma_and_kept_with_lambda() -> None:
    gammas = [trained(name).language_nats for name in ("standard", "gamma 1", "gamma 2", "gamma 4")]
    assert gammas == sorted(gammas) and gammas[2] > 3 * gammas[0]
    kept = [trained(f"gamma 2, lambda {name}").language_nats for name in ("0.01", "1/3", "1")]
    assert kept[0] > 0.9 * gammas[2] > kept[1] > kept[2] and kept[2] < 1.5 * gammas[0]
    assert math.isclose(trained("gamma 2, prior frozen").language_nats, gammas[0], rel_tol=1e-9)


def test_the_more_language_is_preserved_the_less_steering_adds_to_preservation() -> None:
    """At lambda / (1 + gamma) without steering, for the standard gradient has the weight 1 + gamma with it."""
    ways = []
    for lambda_ in (1.0, 10.0, 100.0):
        steered, unsteered = run(preserved(lambda_), 0), run(preserved(lambda_ / 3, 0.0), 0)
        ways.append(steered.way_from(unsteered, STEPS))
    assert ways[0] < 0.4 and ways[1] < 0.15 and ways[2] < 0.03
