"""Real steps: what they change on held-out responses, compared with what first order predicts.

One step of SGD or AdamW at each of several rates, and the way to another checkpoint. Weights are moved, measured and
put back. A copy of them is held meanwhile, with AdamW its state too: memory must hold several copies of the model.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from geometry.gram import Combination
from probes.stages.first_order import Direction, Half, change_rows, descent
from probes.stages.forecast import bin_labels
from records.tables.forecast import AFTER
from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.checkpoints.pair import pair_of
from vlm.responses.finite import NotFiniteError

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

MEASURED = ("standard", "language", "visual", "student_vds")
SGD, ADAMW = "sgd", "adamw"
WEIGHT_DECAY = 0.01  # arXiv:2606.00564, Table 3

Steps = Iterator[tuple[str, float, pd.DataFrame, pd.DataFrame]]
"""Name, rate, and the changes of the tokens' losses, predicted and measured, a column a loss."""


def steps_taken(
    analyzer: "Analyzer",
    halves: tuple[Half, Half],
    sensitivity: pd.DataFrame,
    terms: Combination,
    rates: Mapping[str, Sequence[float]],
) -> Steps:
    """Take one step of SGD and of a fresh AdamW at each rate, along the first half's loss."""
    first, second = halves
    direction = descent(analyzer, first, terms)
    before = losses(analyzer, second)
    for lr in rates[SGD]:
        predicted = lr * joined(sensitivity, terms)
        with moved(analyzer.pair.student.model), of_rate("check_sgd_lr", lr):
            step_with(torch.optim.SGD(list(direction), lr=lr), direction)
            measured = losses(analyzer, second) - before
        yield SGD, lr, predicted, measured
    for lr in rates[ADAMW]:
        with moved(analyzer.pair.student.model) as start, of_rate("check_adamw_lr", lr):
            step_with(torch.optim.AdamW(list(direction), lr=lr, weight_decay=WEIGHT_DECAY), direction)
            measured = losses(analyzer, second) - before
            update = {p: (p.detach() - start[p]) / lr for p in direction}
        rows = change_rows(analyzer, second, update, ADAMW)
        yield ADAMW, lr, lr * _of_losses(rows), measured


def way_to(analyzer: "Analyzer", after: LoadedModel) -> Direction:
    """The difference of another checkpoint's weights and the student's.

    Raises:
        CheckpointError: they have other parameters.
    """
    theirs = dict(after.model.named_parameters())
    ours = dict(analyzer.pair.student.model.named_parameters())
    for name, parameter in ours.items():
        other = theirs.get(name)
        if other is None or other.shape != parameter.shape:
            shape = "none" if other is None else str(tuple(other.shape))
            raise CheckpointError(
                f"`after` must have the parameters of the student, got {shape} for {name}, which has"
                f" {tuple(parameter.shape)}; give a later checkpoint of the same model"
            )
    return {parameter: theirs[name].detach() - parameter.detach() for name, parameter in ours.items()}


def way_taken(analyzer: "Analyzer", half: Half, after: LoadedModel, rows: pd.DataFrame) -> Steps:
    """What the other checkpoint's losses are on the same responses, beside what its direction's rows predict."""
    pair = pair_of(after, analyzer.pair.teacher)
    other = analyzer.having(pair=replace(pair, n_ids=min(pair.n_ids, analyzer.pair.n_ids)))
    yield AFTER, np.nan, _of_losses(rows), losses(other, half) - losses(analyzer, half)


def losses(analyzer: "Analyzer", half: Half) -> pd.DataFrame:
    """The losses of the half's tokens, in their order in `tokens`."""
    by_loss: dict[str, list[Tensor]] = {loss: [] for loss in MEASURED}
    for scores in analyzer.token_scores([analyzer.rollouts[number] for number in half.numbers]):
        for loss, values in by_loss.items():
            values.append(getattr(scores.parts, loss).double())
    return pd.DataFrame({loss: torch.cat(values).cpu().numpy() for loss, values in by_loss.items()})


def joined(sensitivity: pd.DataFrame, terms: Combination) -> pd.DataFrame:
    """The changes along a sum of directions, a column a loss."""
    parts = (weight * _of_losses(sensitivity[sensitivity["direction"] == name]) for name, weight in terms.items())
    total, *others = parts
    return sum(others, total)


def step_tables(analyzer: "Analyzer", half: Half, steps: Steps) -> dict[str, pd.DataFrame]:
    """Return the tables `step_changes` and `step_fits` of steps that were measured on a half."""
    tokens = analyzer.tokens
    bins = tokens.loc[tokens["rollout_id"].isin(half.numbers), "bin"]
    by_bin, fits = step_rows(steps, bins, analyzer.bin_options.bins)
    return {"step_changes": by_bin, "step_fits": fits}


def step_rows(steps: Steps, bins: pd.Series, n_bins: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `step_changes` and `step_fits`."""
    by_bin, fits = [], []
    labels = bin_labels(bins, n_bins)
    for name, lr, predicted, measured in steps:
        for loss in MEASURED:
            step = {"step": name, "lr": lr, "loss": loss}
            pair = predicted[loss].to_numpy(), measured[loss].to_numpy()
            rows = [step | _bin(label, *(values[mask] for values in pair)) for label, mask in labels.items()]
            numbered = [row for row in rows if str(row["bin"]).isdigit()]
            means = (np.array([row[f"{kind}_nats"] for row in numbered]) for kind in ("predicted", "measured"))
            by_bin += rows
            fits.append(step | fit(*means, error=True))
    return pd.DataFrame(by_bin), pd.DataFrame(fits)


def fit(predicted: np.ndarray, measured: np.ndarray, *, error: bool = False) -> dict[str, float]:
    """Slope through the origin and correlation of measured on predicted; on request the relative error."""
    energy, varies = predicted @ predicted, min(np.ptp(predicted), np.ptp(measured)) > 0
    row = {
        "slope": float(predicted @ measured / energy) if energy else np.nan,
        "correlation": float(np.corrcoef(predicted, measured)[0, 1]) if varies else np.nan,
    }
    length = float(np.linalg.norm(measured))
    missed = float(np.linalg.norm(measured - predicted)) / length if length else np.nan
    return row | {"relative_error": missed} if error else row


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


@contextmanager
def of_rate(argument: str, lr: float) -> Iterator[None]:
    """Say of numbers that steps have made infinite at which rate they did."""
    try:
        yield
    except NotFiniteError as error:
        raise NotFiniteError(
            f"`{argument}` {lr:g} may be too large, give a smaller one: after its steps {error}"
        ) from None


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
