"""The result of an update."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from vlm.responses.token_losses import Tokens


@dataclass(frozen=True)
class Outcome:
    """The result of an update."""

    loss: float
    gradient_norm: float
    eta: float
    skipped: bool
    tokens: Tokens | None
    """None where the VDS was not finite."""


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Return what came of the updates of a step: means, all tokens, and skipped if any of them was."""
    first, *others = outcomes
    if not others:
        return first

    def mean(name: str) -> float:
        return sum(getattr(outcome, name) for outcome in outcomes) / len(outcomes)

    tokens = [outcome.tokens for outcome in outcomes if outcome.tokens is not None]
    whole = len(tokens) == len(outcomes)
    every = Tokens(*(torch.cat([getattr(t, f.name) for t in tokens]) for f in fields(Tokens))) if whole else None
    skipped = any(outcome.skipped for outcome in outcomes)
    return Outcome(mean("loss"), mean("gradient_norm"), mean("eta"), skipped, every)
