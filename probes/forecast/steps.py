"""Steps that are taken, or were: what they change on held-out responses, beside what first order predicts.

The weights are moved, measured and put back; a copy of them and, with AdamW, its state are held meanwhile, so that this
is for models of which memory holds several.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from geometry import decompose
from probes.corpus import Corpus
from probes.forecast.directions import Direction, Half, change_rows, descent
from probes.forecast.tables import bin_labels
from records.tables.forecast import AFTER
from vlm.checkpoint import CheckpointError, LoadedModel
from vlm.pair import pair_of

MEASURED = ("standard", "language", "visual", "student_vds")
SGD, ADAMW = "sgd", "adamw"
WEIGHT_DECAY = 0.01  # arXiv:2606.00564, Table 3

Steps = Iterator[tuple[str, float, pd.DataFrame, pd.DataFrame]]
"""Name, rate, and the changes of the tokens' losses, predicted and measured, a column a loss."""


def steps_taken(
    corpus: Corpus,
    halves: tuple[Half, Half],
    tokens: pd.DataFrame,
    sensitivity: pd.DataFrame,
    terms: Mapping[str, float],
    rates: Mapping[str, Sequence[float]],
) -> Steps:
    """Take one step of SGD and of a fresh AdamW at each rate, along the first half's loss."""
    first, second = halves
    direction = descent(corpus, first, terms)
    before = losses(corpus, second)
    for lr in rates[SGD]:
        predicted = lr * joined(sensitivity, terms)
        with moved(corpus.pair.student.model):
            step_with(torch.optim.SGD(list(direction), lr=lr), direction)
            measured = losses(corpus, second) - before
        yield SGD, lr, predicted, measured
    for lr in rates[ADAMW]:
        with moved(corpus.pair.student.model) as start:
            step_with(torch.optim.AdamW(list(direction), lr=lr, weight_decay=WEIGHT_DECAY), direction)
            measured = losses(corpus, second) - before
            update = {p: (p.detach() - start[p]) / lr for p in direction}
        rows = change_rows(corpus, tokens, second, update, ADAMW)
        yield ADAMW, lr, lr * _of_losses(rows), measured


def way_to(corpus: Corpus, after: LoadedModel) -> Direction:
    """The difference of another checkpoint's weights and the student's.

    Raises:
        CheckpointError: they have other parameters.
    """
    theirs = dict(after.model.named_parameters())
    ours = dict(corpus.pair.student.model.named_parameters())
    for name, parameter in ours.items():
        found = theirs.get(name)
        if found is None or found.shape != parameter.shape:
            shape = "none" if found is None else str(tuple(found.shape))
            raise CheckpointError(
                f"`after` must have the parameters of the student, got {shape} for {name}, which has"
                f" {tuple(parameter.shape)}; give a later checkpoint of the same model"
            )
    return {parameter: theirs[name].detach() - parameter.detach() for name, parameter in ours.items()}


def way_taken(corpus: Corpus, half: Half, after: LoadedModel, rows: pd.DataFrame) -> Steps:
    """What the other checkpoint's losses are on the same responses, beside what its direction's rows predict."""
    pair = pair_of(after, corpus.pair.teacher)
    other = replace(corpus, pair=replace(pair, support=min(pair.support, corpus.pair.support)))
    yield AFTER, np.nan, _of_losses(rows), losses(other, half) - losses(corpus, half)


def losses(corpus: Corpus, half: Half) -> pd.DataFrame:
    """The losses of the half's tokens, in their order in `tokens`."""
    found: dict[str, list[Tensor]] = {loss: [] for loss in MEASURED}
    for views in corpus.score([corpus.rollouts[number] for number in half.numbers]):
        parts = decompose(views.student_image, views.student_text, views.teacher_image, views.teacher_text)
        for loss, values in found.items():
            values.append(getattr(parts, loss).double())
    return pd.DataFrame({loss: torch.cat(values).cpu().numpy() for loss, values in found.items()})


def joined(sensitivity: pd.DataFrame, terms: Mapping[str, float]) -> pd.DataFrame:
    """The changes along a sum of directions, a column a loss."""
    parts = (weight * _of_losses(sensitivity[sensitivity["direction"] == name]) for name, weight in terms.items())
    total, *others = parts
    return sum(others, total)


def step_rows(steps: Steps, bins: pd.Series, n_bins: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `step_changes` and `step_fits`."""
    by_bin, fits = [], []
    labels = bin_labels(bins, n_bins)
    for name, lr, predicted, measured in steps:
        for loss in MEASURED:
            known = {"step": name, "lr": lr, "loss": loss}
            pair = predicted[loss].to_numpy(), measured[loss].to_numpy()
            rows = [known | _bin(label, *(values[mask] for values in pair)) for label, mask in labels.items()]
            numbered = [row for row in rows if str(row["bin"]).isdigit()]
            means = (np.array([row[f"{kind}_nats"] for row in numbered]) for kind in ("predicted", "measured"))
            by_bin += rows
            fits.append(known | fit(*means, error=True))
    return pd.DataFrame(by_bin), pd.DataFrame(fits)


def fit(predicted: np.ndarray, measured: np.ndarray, *, error: bool = False) -> dict[str, float]:
    """Slope through the origin and correlation of measured on predicted; on request the relative error."""
    energy, varies = predicted @ predicted, min(np.ptp(predicted), np.ptp(measured)) > 0
    found = {
        "slope": float(predicted @ measured / energy) if energy else np.nan,
        "correlation": float(np.corrcoef(predicted, measured)[0, 1]) if varies else np.nan,
    }
    length = float(np.linalg.norm(measured))
    missed = float(np.linalg.norm(measured - predicted)) / length if length else np.nan
    return found | {"relative_error": missed} if error else found


@contextmanager
def moved(model: nn.Module) -> Iterator[Direction]:
    """Put the weights back at the end; yields what they were."""
    start = {parameter: parameter.detach().clone() for parameter in model.parameters()}
    try:
        yield start
    finally:
        with torch.no_grad():
            for parameter, value in start.items():
                parameter.copy_(value)


def step_with(optimizer: torch.optim.Optimizer, direction: Direction, clip_norm: float | None = None) -> None:
    """Take one step of an optimizer of the direction's parameters, of a length of at most `clip_norm` before it."""
    for parameter, vector in direction.items():
        parameter.grad = -vector.to(parameter)
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(list(direction), clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _of_losses(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({loss: rows[f"d_{loss}_nats"].to_numpy() for loss in MEASURED})


def _bin(label: str, predicted: np.ndarray, measured: np.ndarray) -> dict[str, str | int | float]:
    means = {"predicted_nats": predicted.mean(), "measured_nats": measured.mean()}
    return {"bin": label, "n_tokens": len(predicted), **means, **fit(predicted, measured)}
