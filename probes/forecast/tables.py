"""From changes along directions to the forecast of a step: gamma and lambda only combine columns.

The step of vgs-lp (arXiv:2606.00564, Eq. 17) is standard + gamma visual + lambda gated language, and so is what it
changes to first order. From the sums of a prompt's tokens by bin, direction and loss, resampled over prompts, follow
the whole grid, its intervals, and the answers to two questions about the language loss of the upper bins:

    gamma_rise    the gamma from which it rises: 0 if it does under standard alone, inf if no gamma makes it
    lambda_stop   the least lambda that stops this at a gamma: 0 if nothing is to be stopped, inf if none does

No model is needed here, and no tensor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from records.tables.forecast import CHANGED, DIRECTIONS, ENDS, PRIORS, STEERED_ANGLES

GAMMAS = tuple(0.25 * n for n in range(17))
LAMBDAS = (0.0, 0.01, 0.1, 1.0)
N_RESAMPLES = 2000
ALL, HIGH, TEXT = "all", "high", "text"


def term_weights(prior: str, gamma: float, lambda_: float) -> dict[str, float]:
    """What each direction is weighed by in the step of vgs-lp; with q* attached the shift is part of visual."""
    weights = {"standard": 1.0, "visual": gamma, "gated_language": lambda_}
    if prior == "attached":
        weights["shift"] = gamma
    return {name: weight for name, weight in weights.items() if weight}


def high_from(n_bins: int) -> int:
    """The first of the upper three tenths of the bins."""
    return min(round(0.7 * n_bins), n_bins - 1)


def bin_labels(bins: pd.Series, n_bins: int) -> dict[str, np.ndarray]:
    """Which tokens belong to each bin by its label, those without a token left out."""
    numbers = bins.to_numpy()
    masks = {str(number): numbers == number for number in range(n_bins)}
    masks |= {HIGH: numbers >= high_from(n_bins), ALL: numbers >= 0, TEXT: numbers < 0}
    return {label: mask for label, mask in masks.items() if mask.any()}


@dataclass(frozen=True)
class Means:
    """Mean changes by bin, direction and loss `[1 + R, bins, directions, losses]`: measured, then R resampled."""

    labels: Sequence[str]
    n_tokens: Sequence[int]
    values: np.ndarray

    def along(self, weights: Mapping[str, float]) -> np.ndarray:
        """The mean changes `[1 + R, bins, losses]` of a step that is a sum of directions."""
        return np.tensordot(self.values, vector(weights), axes=(2, 0))

    def of(self, label: str, loss: str, weights: Mapping[str, float]) -> np.ndarray:
        """The same `[1 + R]` for one bin and loss."""
        chosen = self.values[:, self.labels.index(label), :, CHANGED.index(loss)]
        return chosen @ vector(weights)


def vector(weights: Mapping[str, float]) -> np.ndarray:
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


def forecast_rows(means: Means) -> pd.DataFrame:
    """The table `forecast`: the grid of gamma and lambda, for either prior."""
    frames = []
    for prior, gamma, lambda_ in _grid():
        changed = means.along(term_weights(prior, gamma, lambda_))
        bounds = np.nanquantile(changed[1:], [0.025, 0.975], axis=0, overwrite_input=True)
        ends = dict(zip(ENDS, (changed[0], *bounds), strict=True))
        columns = {
            f"d_{loss}_{end}_nats": values[:, place]
            for place, loss in enumerate(CHANGED)
            for end, values in ends.items()
        }
        known = {"prior": prior, "gamma": gamma, "lambda": lambda_, "bin": means.labels, "n_tokens": means.n_tokens}
        frames.append(pd.DataFrame(known | columns))
    return pd.concat(frames, ignore_index=True)


def gram_of(direction_products: pd.DataFrame) -> np.ndarray:
    """The Gram matrix of the directions in the order of `DIRECTIONS`, from its table."""
    table = direction_products.pivot(index="direction_a", columns="direction_b", values="product")
    return table.loc[list(DIRECTIONS), list(DIRECTIONS)].to_numpy()


def eta(gram: np.ndarray, prior: str, gamma: float) -> float:
    """|g_std| / |g_std + gamma g_vis| (arXiv:2606.00564, Eq. 15); nan where there is no steered gradient."""
    steered = _norm(gram, vector(term_weights(prior, gamma, 0.0)))
    return float(_norm(gram, vector({"standard": 1.0})) / steered) if steered else np.nan


def steering_rows(gram: np.ndarray) -> pd.DataFrame:
    """The table `steering`: where the steered direction points."""
    rows = []
    for prior, gamma, lambda_ in _grid():
        steered = vector(term_weights(prior, gamma, lambda_))
        angles = {f"angle_{name}_deg": _angle_deg(gram, steered, _objective(name)) for name in STEERED_ANGLES}
        known = {"prior": prior, "gamma": gamma, "lambda": lambda_}
        rows.append(known | {"eta": eta(gram, prior, gamma), "norm": _norm(gram, steered)} | angles)
    return pd.DataFrame(rows)


def reading_rows(means: Means, gram: np.ndarray) -> pd.DataFrame:
    """The table `readings`: the two questions about the language loss of the upper bins."""
    rows = []
    for prior in PRIORS:
        standard = means.of(HIGH, "language", {"standard": 1.0})
        steering = means.of(HIGH, "language", term_weights(prior, 1.0, 0.0)) - standard
        kept = means.of(HIGH, "language", {"gated_language": 1.0})
        rows.append(_reading("gamma_rise", prior, np.nan, gamma_rise(standard, steering)))
        for gamma in GAMMAS:
            stop = lambda_stop(standard + gamma * steering, kept)
            rows.append(_reading("lambda_stop", prior, gamma, stop, eta(gram, prior, gamma)))
    return pd.DataFrame(rows)


def gamma_rise(standard: np.ndarray, steering: np.ndarray) -> np.ndarray:
    """The least gamma >= 0 from which standard + gamma steering is not negative."""
    found = np.divide(-standard, steering, out=np.full_like(standard, np.inf), where=steering > 0)
    return np.where(standard >= 0, 0.0, found)


def lambda_stop(steered: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The least lambda >= 0 with which steered + lambda kept is not positive."""
    found = np.divide(-steered, kept, out=np.full_like(steered, np.inf), where=kept < 0)
    return np.where(steered <= 0, 0.0, found)


def _reading(name: str, prior: str, gamma: float, found: np.ndarray, eta_: float = np.nan) -> dict[str, str | float]:
    known = found[1:][~np.isnan(found[1:])]
    low, high = np.quantile(known, [0.025, 0.975], method="inverted_cdf")  # no mean of a number and inf
    estimate = float(found[0])
    row = {"reading": name, "prior": prior, "gamma": gamma, "estimate": estimate, "low": low, "high": high}
    return row | {"times_eta": estimate * eta_}


def _grid() -> list[tuple[str, float, float]]:
    return [(prior, gamma, lambda_) for prior in PRIORS for lambda_ in LAMBDAS for gamma in GAMMAS]


def _objective(name: str) -> np.ndarray:
    return vector({"visual": 1.0, "shift": 1.0} if name == "visual_attached" else {name: 1.0})


def _norm(gram: np.ndarray, a: np.ndarray) -> float:
    return float(np.sqrt(max(a @ gram @ a, 0.0)))


def _angle_deg(gram: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    length = _norm(gram, a) * _norm(gram, b)
    return float(np.degrees(np.arccos(np.clip(a @ gram @ b / length, -1.0, 1.0)))) if length else np.nan
