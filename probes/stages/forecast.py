"""From changes along directions to the forecast of a step: gamma and lambda only combine columns.

The step of vgs-lp (arXiv:2606.00564, Eq. 17) is standard + gamma visual + lambda gated language, and so is what it
changes to first order. From the sums of a prompt's tokens by bin, direction and loss, resampled over prompts, follow
the whole grid, its intervals, and the answers to two questions about the language loss of the upper bins:

    gamma_rise    the gamma from which it rises: 0 if it does under standard alone, inf if no gamma makes it
    lambda_stop   the least lambda that stops this at a gamma: 0 if nothing is to be stopped, inf if none does

No model is needed here, and no tensor.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from geometry import Gram, steered
from geometry.gram import Combination
from geometry.objective_settings import LAMBDA, Prior
from records.tables.forecast import CHANGED, DIRECTIONS, ENDS, PRIORS, STEERED_ANGLES
from stats import upper_bins

GAMMAS = tuple(0.25 * n for n in range(17))
LAMBDAS = (0.0, LAMBDA, 0.1, 1.0)
N_RESAMPLES = 2000
ALL, HIGH, TEXT = "all", "high", "text"


def bin_labels(bins: pd.Series, n_bins: int) -> dict[str, np.ndarray]:
    """Which tokens belong to each bin by its label, those without a token left out."""
    numbers = bins.to_numpy()
    masks = {str(number): numbers == number for number in range(n_bins)}
    masks |= {HIGH: numbers >= upper_bins(n_bins)[0], ALL: numbers >= 0, TEXT: numbers < 0}
    return {label: mask for label, mask in masks.items() if mask.any()}


@dataclass(frozen=True)
class Means:
    """Mean changes by bin, direction and loss `[1 + R, bins, directions, losses]`: measured, then R resampled."""

    labels: Sequence[str]
    n_tokens: Sequence[int]
    values: np.ndarray

    def along(self, weights: Combination) -> np.ndarray:
        """The mean changes `[1 + R, bins, losses]` of a step that is a sum of directions."""
        return np.tensordot(self.values, vector(weights), axes=(2, 0))

    def at(self, label: str, loss: str, weights: Combination) -> np.ndarray:
        """The same `[1 + R]` for one bin and loss."""
        chosen = self.values[:, self.labels.index(label), :, CHANGED.index(loss)]
        return chosen @ vector(weights)


def vector(weights: Combination) -> np.ndarray:
    """The weights in the order of `DIRECTIONS`."""
    return np.array([weights.get(name, 0.0) for name in DIRECTIONS])


def resampled_means(sensitivity: pd.DataFrame, n_bins: int, seed: int) -> Means:
    """Join prompts' sums, and resample prompts with all their tokens."""
    tables = [sensitivity[sensitivity["direction"] == name] for name in DIRECTIONS]
    values = np.stack([table[[f"d_{loss}_nats" for loss in CHANGED]].to_numpy() for table in tables], axis=1)
    prompts, member = np.unique(tables[0]["prompt_id"].to_numpy(str), return_inverse=True)
    labels = bin_labels(tables[0]["bin"], n_bins)
    n = len(prompts)
    counts = np.stack([np.bincount(member[mask], minlength=n) for mask in labels.values()], axis=1)
    sums = np.zeros((n, len(labels), *values.shape[1:]))
    for place, mask in enumerate(labels.values()):
        np.add.at(sums[:, place], member[mask], values[mask])
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=N_RESAMPLES)
    times = np.concatenate([np.ones((1, n), dtype=int), drawn])  # how often each prompt counts
    with np.errstate(invalid="ignore"):
        means = np.tensordot(times, sums, axes=1) / (times @ counts)[:, :, None, None]
    return Means(list(labels), counts.sum(axis=0).tolist(), means)


def forecast_tables(
    sensitivity: pd.DataFrame, products: pd.DataFrame, n_bins: int, seed: int
) -> dict[str, pd.DataFrame]:
    """Return the tables `forecast`, `steering` and `readings`."""
    means, gram = resampled_means(sensitivity, n_bins, seed), gram_of(products)
    with np.errstate(invalid="ignore"):
        return {
            "forecast": forecast_rows(means),
            "steering": steering_rows(gram),
            "readings": reading_rows(means, gram),
        }


def forecast_rows(means: Means) -> pd.DataFrame:
    """The table `forecast`: the grid of gamma and lambda, for either prior."""
    frames = []
    for prior, gamma, lambda_ in _grid():
        changed = means.along(steered(gamma, lambda_, prior=prior))
        bounds = np.nanquantile(changed[1:], [0.025, 0.975], axis=0, overwrite_input=True)
        ends = dict(zip(ENDS, (changed[0], *bounds), strict=True))
        columns = {
            f"d_{loss}_{end}_nats": values[:, place]
            for place, loss in enumerate(CHANGED)
            for end, values in ends.items()
        }
        row = {"prior": prior, "gamma": gamma, "lambda": lambda_, "bin": means.labels, "n_tokens": means.n_tokens}
        frames.append(pd.DataFrame(row | columns))
    return pd.concat(frames, ignore_index=True)


def gram_of(direction_products: pd.DataFrame) -> Gram:
    """Return the Gram matrix of the directions, from its table."""
    table = direction_products.pivot(index="direction_a", columns="direction_b", values="product")
    return Gram(table.loc[list(DIRECTIONS), list(DIRECTIONS)], DIRECTIONS)


def steering_rows(gram: Gram) -> pd.DataFrame:
    """Return the table `steering`: where the steered direction points."""
    rows = []
    for prior, gamma, lambda_ in _grid():
        toward = steered(gamma, lambda_, prior=prior)
        angles = {f"angle_{name}_deg": float(gram.angle_deg(toward, name)) for name in STEERED_ANGLES}
        setting = {"prior": prior, "gamma": gamma, "lambda": lambda_}
        rows.append(setting | {"eta": _eta(gram, prior, gamma), "norm": float(gram.norm(toward))} | angles)
    return pd.DataFrame(rows)


def _eta(gram: Gram, prior: Prior, gamma: float) -> float:
    """eta (arXiv:2606.00564, Eq. 15); nan where there is no steered gradient."""
    factor = float(gram.eta(gamma, prior=prior))
    return factor if np.isfinite(factor) else np.nan


def reading_rows(means: Means, gram: Gram) -> pd.DataFrame:
    """The table `readings`: the two questions about the language loss of the upper bins."""
    rows = []
    for prior in PRIORS:
        standard = means.at(HIGH, "language", {"standard": 1.0})
        steering = means.at(HIGH, "language", steered(1.0, prior=prior)) - standard
        kept = means.at(HIGH, "language", {"gated_language": 1.0})
        rows.append(_reading("gamma_rise", prior, np.nan, gamma_rise(standard, steering)))
        for gamma in GAMMAS:
            stop = lambda_stop(standard + gamma * steering, kept)
            rows.append(_reading("lambda_stop", prior, gamma, stop, _eta(gram, prior, gamma)))
    return pd.DataFrame(rows)


def gamma_rise(standard: np.ndarray, steering: np.ndarray) -> np.ndarray:
    """The least gamma >= 0 from which standard + gamma steering is not negative."""
    gammas = np.divide(-standard, steering, out=np.full_like(standard, np.inf), where=steering > 0)
    return np.where(standard >= 0, 0.0, gammas)


def lambda_stop(steered: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The least lambda >= 0 with which steered + lambda kept is not positive."""
    lambdas = np.divide(-steered, kept, out=np.full_like(steered, np.inf), where=kept < 0)
    return np.where(steered <= 0, 0.0, lambdas)


def _reading(name: str, prior: Prior, gamma: float, draws: np.ndarray, eta_: float = np.nan) -> dict[str, str | float]:
    defined = draws[1:][~np.isnan(draws[1:])]
    low, high = np.quantile(defined, [0.025, 0.975], method="inverted_cdf")  # no mean of a number and inf
    estimate = float(draws[0])
    row = {"reading": name, "prior": prior, "gamma": gamma, "estimate": estimate, "low": low, "high": high}
    return row | {"times_eta": estimate * eta_}


def _grid() -> list[tuple[Prior, float, float]]:
    return [(prior, gamma, lambda_) for prior in PRIORS for lambda_ in LAMBDAS for gamma in GAMMAS]
