"""From columns to the grid: means and intervals against a plain loop, and the two readings against their definition."""

import numpy as np
import pandas as pd
import pytest

from geometry import BASIS, Gram
from probes.stages import forecast
from probes.stages.forecast import HIGH, Means
from records import TABLES
from records.tables.forecast import CHANGED, DIRECTIONS, PRIORS
from stats import bootstrap_interval

N_BINS = 10


def sensitivity_frame(n_prompts=12, n_tokens=20, seed=0):
    """Random changes; the last prompt has no picture."""
    draw = np.random.default_rng(seed)
    n = n_prompts * n_tokens
    known = pd.DataFrame(
        {
            "prompt_id": np.repeat([f"p{i}" for i in range(n_prompts)], n_tokens),
            "rollout_id": np.repeat(np.arange(n_prompts), n_tokens),
            "position": np.tile(np.arange(n_tokens), n_prompts),
            "bin": np.where(np.arange(n) < n - n_tokens, draw.integers(N_BINS, size=n), -1),
        }
    )
    frames = []
    for place, name in enumerate(DIRECTIONS):
        changed = {f"d_{loss}_nats": draw.normal(0.1 * place - 0.2, 1.0, n) for loss in CHANGED}
        frames.append(known.assign(direction=name, **changed))
    return pd.concat(frames, ignore_index=True)


def gram_frame(seed=0):
    """The products of random vectors with standard = visual + prior."""
    vectors = np.random.default_rng(seed).normal(size=(len(DIRECTIONS), 40))
    by_name = dict(zip(DIRECTIONS, vectors, strict=True))
    by_name["standard"] = by_name["visual"] + by_name["prior"]
    rows = [(a, b, by_name[a] @ by_name[b]) for a in DIRECTIONS for b in DIRECTIONS]
    return pd.DataFrame(rows, columns=["direction_a", "direction_b", "product"]), by_name


@pytest.fixture(scope="module")
def frame():
    return sensitivity_frame()


@pytest.fixture(scope="module")
def means(frame):
    return forecast.resampled_means(frame, N_BINS, seed=0)


def test_the_grid_is_a_sum_of_columns(frame, means):
    rows = forecast.forecast_rows(means)
    TABLES["forecast"].check(rows)
    assert len(rows) == 2 * len(forecast.GAMMAS) * len(forecast.LAMBDAS) * (N_BINS + 3)
    for prior, gamma, lambda_, bin_ in (("detached", 2.0, 0.01, "3"), ("attached", 4.0, 1.0, "high")):
        weights = {"standard": 1.0, "visual": gamma, "gated_language": lambda_}
        if prior == "attached":
            weights["shift"] = gamma
        inside = frame[frame["bin"] >= 7] if bin_ == HIGH else frame[frame["bin"] == int(bin_)]
        by_direction = inside.groupby("direction")["d_language_nats"].mean()
        expected = sum(weight * by_direction[name] for name, weight in weights.items())
        key = (rows["prior"] == prior) & (rows["gamma"] == gamma) & (rows["lambda"] == lambda_) & (rows["bin"] == bin_)
        row = rows[key].iloc[0]
        assert row["d_language_mean_nats"] == pytest.approx(expected)
        assert row["d_language_low_nats"] < expected < row["d_language_high_nats"]
        assert row["n_tokens"] == len(inside) // len(DIRECTIONS)


def test_intervals_are_those_of_a_bootstrap_over_prompts(frame, means):
    row = forecast.forecast_rows(means).query("prior == 'detached' and gamma == 0 and `lambda` == 0 and bin == 'all'")
    inside = frame[(frame["direction"] == "standard") & (frame["bin"] >= 0)]
    twin = bootstrap_interval(inside["d_visual_nats"].to_numpy(), inside["prompt_id"].to_numpy(str), seed=5)
    width = twin.high - twin.low
    assert row["d_visual_low_nats"].item() == pytest.approx(twin.low, abs=0.08 * width)
    assert row["d_visual_high_nats"].item() == pytest.approx(twin.high, abs=0.08 * width)


def test_tokens_in_no_bin_stand_apart(frame, means):
    place = means.labels.index("text")
    text = frame[(frame["bin"] < 0) & (frame["direction"] == "shift")]
    found = means.values[0, place, DIRECTIONS.index("shift"), CHANGED.index("language")]
    assert found == pytest.approx(text["d_language_nats"].mean())
    pictured = frame[(frame["bin"] >= 0) & (frame["direction"] == "shift")]
    assert means.at("all", "language", {"shift": 1.0})[0] == pytest.approx(pictured["d_language_nats"].mean())


def test_the_order_of_rows_changes_nothing(frame, means):
    parts = [part.sample(frac=1.0, random_state=3) for _, part in frame.groupby("direction")]
    again = forecast.resampled_means(pd.concat(parts), N_BINS, seed=0)
    np.testing.assert_allclose(again.values, means.values, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("standard", "steering", "gamma"), [(-1.0, 0.5, 2.0), (0.1, 5.0, 0.0), (0.1, -5.0, 0.0), (-1.0, -0.5, np.inf)]
)
def test_the_gamma_from_which_a_loss_rises(standard, steering, gamma):
    assert forecast.gamma_rise(np.array([standard]), np.array([steering])) == [gamma]


@pytest.mark.parametrize(
    ("steered", "kept", "lambda_"), [(1.0, -4.0, 0.25), (-1.0, -4.0, 0.0), (-1.0, 4.0, 0.0), (1.0, 4.0, np.inf)]
)
def test_the_lambda_that_stops_it(steered, kept, lambda_):
    assert forecast.lambda_stop(np.array([steered]), np.array([kept])) == [lambda_]


def readings_of(standard, steering, kept, shift=0.0):
    """The readings where every resample changes the language loss of the upper bins alike."""
    values = np.zeros((1 + 50, 1, len(DIRECTIONS), len(CHANGED)))
    for name, change in (("standard", standard), ("visual", steering), ("gated_language", kept), ("shift", shift)):
        values[:, 0, DIRECTIONS.index(name), CHANGED.index("language")] = change
    gram = forecast.gram_of(gram_frame()[0])
    rows = forecast.reading_rows(Means([HIGH], [5], values), gram)
    TABLES["readings"].check(rows)
    return rows.set_index(["prior", "reading", "gamma"]).sort_index(), gram


def test_readings_follow_from_the_upper_bins():
    rows, gram = readings_of(standard=-1.0, steering=0.8, kept=-2.0, shift=-0.6)
    rise = rows.xs("gamma_rise", level="reading")
    assert rise.loc["detached", "estimate"].item() == pytest.approx(1.25)
    assert rise.loc["attached", "estimate"].item() == pytest.approx(5.0)
    stop = rows.loc[("detached", "lambda_stop", 2.0)]
    assert stop["estimate"] == stop["low"] == stop["high"] == pytest.approx(0.3)
    assert stop["times_eta"] == pytest.approx(0.3 * float(gram.eta(2.0)))
    assert rows.loc[("detached", "lambda_stop", 1.0), "estimate"] == 0.0
    never, _ = readings_of(standard=-1.0, steering=0.8, kept=2.0)
    assert np.isinf(never.loc[("detached", "lambda_stop", 2.0), ["estimate", "low", "high"]].to_numpy(float)).all()


def test_steering_is_read_off_the_gram_matrix():
    table, by_name = gram_frame()
    rows = forecast.steering_rows(forecast.gram_of(table.sample(frac=1.0, random_state=1)))
    TABLES["steering"].check(rows)
    row = rows.query("prior == 'attached' and gamma == 2 and `lambda` == 0.1").iloc[0]
    follow = by_name["visual"] + by_name["shift"]
    steered = by_name["standard"] + 2 * follow + 0.1 * by_name["gated_language"]
    assert row["norm"] == pytest.approx(np.linalg.norm(steered))
    lengths = np.linalg.norm(steered) * np.linalg.norm(follow)
    assert row["angle_visual_attached_deg"] == pytest.approx(np.degrees(np.arccos(steered @ follow / lengths)))
    without = np.linalg.norm(by_name["standard"] + 2 * follow)
    assert row["eta"] == pytest.approx(np.linalg.norm(by_name["standard"]) / without)


def eta_at(rows, gamma, prior="detached"):
    """eta in the table `steering`; the same at every lambda."""
    [eta] = rows.query("prior == @prior and gamma == @gamma")["eta"].unique()
    return eta


def test_eta_is_that_of_the_four_measured_gradients():
    """Standard stands in the directions' matrix by itself; `geometry` makes it of the visual gradient and the prior."""
    gram = forecast.gram_of(gram_frame()[0])
    places = [DIRECTIONS.index(name) for name in BASIS]
    of_four = Gram(gram.values[np.ix_(places, places)])
    rows = forecast.steering_rows(gram)
    for prior in PRIORS:
        assert eta_at(rows, 2.0, prior) == pytest.approx(float(of_four.eta(2.0, prior=prior)))


@pytest.mark.parametrize(("n_bins", "first"), [(10, 7), (3, 2), (1, 0), (5, 4)])
def test_the_upper_three_tenths(n_bins, first):
    labels = forecast.bin_labels(pd.Series([*range(n_bins), -1]), n_bins)
    assert np.flatnonzero(labels[HIGH]).tolist() == list(range(first, n_bins))


def test_without_any_gradient_there_is_no_eta():
    rows = forecast.steering_rows(Gram(np.zeros((len(DIRECTIONS), len(DIRECTIONS))), DIRECTIONS))
    assert rows["eta"].isna().all() and (rows["norm"] == 0.0).all()
