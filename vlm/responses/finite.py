"""Numbers that must be finite: logits where tokens are drawn or scored, and what is made of gradients."""

import numpy as np
import torch
from torch import Tensor

from cli.errors import UserError
from vlm.checkpoints.checkpoint import LoadedModel

_TRY = "check its weights, or try another `dtype`: float32, or bfloat16 in place of float16"


class NotFiniteError(UserError):
    """Logits or gradients that are not finite; the message names the checkpoint and says what to try."""


def whose(loaded: LoadedModel) -> str:
    """Name a model and its dtype for messages."""
    return f"`checkpoint` {loaded.name}, in {str(loaded.model.dtype).removeprefix('torch.')},"


def refuse_logits(logits: Tensor, owner: str) -> None:
    """Refuse logits `[..., V]` that are no distribution in some row; -inf stands for an id that is left out.

    owner: what `whose` returns.

    Raises:
        NotFiniteError: a row holds nan or inf, or -inf at every id.
    """
    largest = logits.detach().amax(dim=-1)  # nan where any logit is
    if largest.isfinite().all():
        return
    kinds = {"nan": largest.isnan(), "inf": largest.isposinf(), "-inf at every id": largest.isneginf()}
    kind = next(name for name, rows in kinds.items() if rows.any())
    raise NotFiniteError(f"{owner} gives logits that are not finite ({kind}): {_TRY}")


def refuse_gradients(numbers: Tensor | np.ndarray, owner: str) -> None:
    """Refuse numbers made of a model's gradients, such as their inner products, that are not all finite.

    Raises:
        NotFiniteError: one is nan or infinite.
    """
    if not torch.as_tensor(numbers).isfinite().all():
        raise NotFiniteError(f"{owner} gives gradients that are not finite: {_TRY}")
