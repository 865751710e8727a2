"""Hostile logits: what diverged, cut-off, sure or low-precision models give, and what a caller may get wrong."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geometry import FourViews
from tests.faults.distributions import Token
from tests.faults.judging import pick

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SCALES = {"ordinary": 2.0, "tiny": 1e-4, "wide": 30.0, "near 1e4": 1e4}
SPECIAL = (
    "probability 1",
    "underflow",
    "nan",
    "inf",
    "masked",
    "masked in one view",
    "all masked",
    "equal views",
    "blind teacher",
    "zero",
    "no token",
    "no id",
    "one id",
)
KINDS = (*SCALES, *SPECIAL)


@dataclass(frozen=True)
class Logits:
    """Views `[T, V]` of one kind."""

    kind: str
    views: list[Tensor]

    @property
    def four(self) -> FourViews:
        """As the functions take them."""
        return FourViews(*self.views)

    @property
    def tokens(self) -> list[Token]:
        """The twin of each token, from the numbers as they are rounded."""
        rows = [view.detach().double().tolist() for view in self.views]
        return [Token.of_logits(*each) for each in zip(*rows, strict=True)]

    @property
    def unlike_masks(self) -> bool:
        """Whether the views mask different ids."""
        masks = [view.detach().isneginf() for view in self.views]
        return any(not torch.equal(mask, masks[0]) for mask in masks)

    @property
    def n_ids(self) -> int:
        """V."""
        return self.views[0].shape[-1]

    @property
    def rounding(self) -> float:
        """Relative error of a probability: that of its logarithm, in float32 or better."""
        return rounding(self.views)


def rounding(views: list[Tensor]) -> float:
    """Return the relative error of probabilities that are made of these logits."""
    finite = [view.detach().double().nan_to_num(0.0, 0.0, 0.0) for view in views]
    widest = max((float(view.abs().max()) for view in finite if view.numel()), default=0.0)
    eps = torch.finfo(torch.promote_types(views[0].dtype, torch.float32)).eps
    return 16 * eps * (1.0 + widest)


def logits(rng: np.random.Generator, n_views: int = 4, dtypes: tuple[torch.dtype, ...] = DTYPES) -> Logits:
    """Draw views of a random kind, dtype and size."""
    kind, dtype = pick(rng, KINDS), pick(rng, dtypes)
    n_tokens = 0 if kind == "no token" else int(rng.integers(1, 4))
    n_ids = {"no id": 0, "one id": 1}.get(kind, int(rng.integers(2, 8)))
    scale = SCALES.get(kind, 2.0)
    drawn = scale * rng.standard_normal((n_views, n_tokens, n_ids))
    if kind == "near 1e4":
        drawn = scale * rng.uniform(-1.0, 1.0, drawn.shape)
    return Logits(kind, [view.to(dtype) for view in torch.from_numpy(_spoilt(kind, drawn, rng))])


def _spoilt(kind: str, drawn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make logits `[views, T, V]` what their kind says."""
    n_views, n_tokens, n_ids = drawn.shape
    view, token, place = (
        int(rng.integers(n_views)),
        int(rng.integers(max(n_tokens, 1))),
        int(rng.integers(max(n_ids, 1))),
    )
    if kind == "probability 1":
        drawn[view, token, place] = 500.0
    elif kind == "underflow":
        drawn[view, token, place] = -pick(rng, (95.0, 104.0, 800.0, 3e4))
    elif kind in ("nan", "inf"):
        drawn[view, token, place] = {"nan": np.nan, "inf": np.inf}[kind]
    elif kind == "masked":
        drawn[:, :, place] = -np.inf
    elif kind == "masked in one view":
        drawn[view, token, place] = -np.inf
    elif kind == "all masked":
        drawn[:, token] = -np.inf
    elif kind == "equal views":
        drawn[:] = drawn[:1]
    elif kind == "blind teacher" and n_views > 3:
        drawn[3] = drawn[2]
    elif kind == "zero":
        drawn[:] = 0.0
    return drawn
