"""The head of a model, and gradients carried through it by chunks of tokens.

`T` tokens over `V` ids are `4 T V` bytes in float32 a view; what works chunk by chunk never holds them whole.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import linear

CHUNK_BYTES = 40 << 20
"""Of the logits of one view of a chunk in float32; five or six such tensors live at a time. Each chunk reads the whole
head several times: the products take twice the time a token with 8 MiB, and little less with 80. Accelerators want a
larger `chunk`."""

Hidden = Float[Tensor, "_T _d"]


@dataclass(frozen=True)
class LMHead:
    """The end of a model, from hidden states to the logits of the ids that count.

    Some models scale or cap the results of their last linear map: with x = weight h + bias, the logits are `scale x`,
    or `softcap tanh(scale x / softcap)`.

    Raises:
        ValueError: `weight`, `bias` and `n_ids` do not fit each other, or `scale` or `softcap` is not positive.
    """

    weight: Float[Tensor, "_rows _d"]
    bias: Float[Tensor, " _rows"] | None = None
    n_ids: int = 0
    """V, the number of leading ids that count, all rows by default; heads have padding rows beyond the tokenizer's."""
    masked: Sequence[int] = ()
    """Ids that take no mass, such as those banned at sampling."""
    scale: float = 1.0
    softcap: float | None = None
    """What no logit exceeds; None for no cap."""

    def __post_init__(self) -> None:
        rows = len(self.weight)
        if self.bias is not None and len(self.bias) != rows:
            raise ValueError(f"`bias` must have one number a row of `weight`, got {len(self.bias)} and {rows}.")
        object.__setattr__(self, "n_ids", self.n_ids or rows)
        if not 1 <= self.n_ids <= rows:
            raise ValueError(f"`n_ids` must lie in 1..{rows}, the rows of `weight`, got {self.n_ids}.")
        if not all(0 <= index < rows for index in self.masked):
            raise ValueError(f"`masked` must hold ids in 0..{rows - 1}, got {list(self.masked)}.")
        for name in ("scale", "softcap"):
            number = getattr(self, name)
            if number is not None and not 0 < number < math.inf:
                raise ValueError(f"`{name}` must be a positive number, got {number}. Leave it out for none.")

    def logits(self, hidden: Float[Tensor, "n _d"]) -> Float[Tensor, "n _V"]:
        """Return logits in the precision of the weight, as the model itself does; masked ids have -inf."""
        logits = linear(hidden, self.weight[: self.n_ids], None if self.bias is None else self.bias[: self.n_ids])
        logits = scaled_and_capped(logits, self.scale, self.softcap)
        masked = [index for index in self.masked if index < self.n_ids]
        return logits.index_fill_(1, torch.tensor(masked, device=logits.device), -torch.inf) if masked else logits

    def to(self, device: torch.device | str) -> "LMHead":
        """Return the same with its weights on a device; those that are there are not copied."""
        return replace(self, weight=self.weight.to(device), bias=None if self.bias is None else self.bias.to(device))

    def before_cap(self, gradient: Float[Tensor, "n _V"], logits: Float[Tensor, "n _V"]) -> Float[Tensor, "n _V"]:
        """Return the gradient at the results of the linear map from the one at these logits.

        Masked ids, whose gradient is 0, keep it.
        """
        if self.softcap is not None:
            slope = (logits / self.softcap).clamp_(-1.0, 1.0).square_().neg_().add_(1.0)
            gradient = gradient * slope
        return gradient if self.scale == 1.0 else gradient * self.scale


def scaled_and_capped(linear_map: Float[Tensor, "..."], scale: float, softcap: float | None) -> Float[Tensor, "..."]:
    """Return `scale x`, or `softcap tanh(scale x / softcap)`."""
    if softcap is not None:
        return torch.tanh(linear_map * (scale / softcap)) * softcap
    return linear_map if scale == 1.0 else linear_map * scale


@dataclass(frozen=True)
class HiddenViews:
    """What one model's head is applied to under both views, `[T, d]`, responses one after the other."""

    image: Hidden
    text: Hidden
    head: LMHead

    def logits(self, rows: slice) -> tuple[Float[Tensor, "n _V"], Float[Tensor, "n _V"]]:
        """Return the logits of some of the tokens under the image and the text view."""
        return self.head.logits(self.image[rows]), self.head.logits(self.text[rows])

    def to(self, device: torch.device | str) -> "HiddenViews":
        """Return the same with hidden states on a device; the head stays where it is."""
        return replace(self, image=self.image.to(device), text=self.text.to(device))


@dataclass(frozen=True)
class TextView:
    """What a model's head is applied to under the text view alone, `[T, d]`, responses one after the other."""

    hidden: Hidden
    head: LMHead

    def logits(self, rows: slice) -> Float[Tensor, "n _V"]:
        """Return the logits of some of the tokens."""
        return self.head.logits(self.hidden[rows])

    def __getitem__(self, rows: slice) -> "TextView":
        return replace(self, hidden=self.hidden[rows])

    def to(self, device: torch.device | str) -> "TextView":
        """Return the same with hidden states on a device; the head stays where it is."""
        return replace(self, hidden=self.hidden.to(device))


class LMHeadGradients:
    """The gradients of a loss in hidden states and their head, added up over chunks in float32 or better.

    `hidden` names the hidden states `[T, d]`, None where none is wanted; nor is one for what requires no gradient.
    """

    def __init__(self, head: LMHead, **hidden: Tensor | None) -> None:
        self._head, self._hidden = head, hidden
        sources = {**hidden, "weight": head.weight, "bias": head.bias}
        self.sources = {name: source for name, source in sources.items() if source is not None and source.requires_grad}
        self.sums = {name: _zeros_like(source) for name, source in self.sources.items()}

    def add(self, view: str, rows: slice | Int[Tensor, " n"], gradient: Float[Tensor, "n _V"]) -> None:
        """Carry the gradient of some tokens of a view, each added once, on to its hidden states and the head.

        gradient: at the results of the head's linear map, see `LMHead.before_cap`.
        """
        weight, hidden, n_ids = self._head.weight, self._hidden[view], self._head.n_ids
        gradient = gradient.to(weight.dtype)
        if view in self.sums:
            self.sums[view][rows] = (gradient @ weight[:n_ids]).to(self.sums[view])
        if "weight" in self.sums and hidden is not None:
            _add_product(self.sums["weight"][:n_ids], gradient.T, hidden[rows])
        if "bias" in self.sums:
            self.sums["bias"][:n_ids] += gradient.sum(dim=0, dtype=self.sums["bias"].dtype)


def chunks(n_tokens: int, n_ids: int, chunk: int | None = None) -> Iterator[slice]:
    """Cut the tokens into chunks, by default of `CHUNK_BYTES` of logits; no tokens are one chunk, of none.

    Raises:
        ValueError: `chunk` is below 1.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"`chunk` must be at least 1 token, got {chunk}. Leave it out for one that fits in memory.")
    return cuts(n_tokens, chunk or max(CHUNK_BYTES // (4 * n_ids), 1))


def cuts(n_rows: int, size: int) -> Iterator[slice]:
    """Cut rows into slices of at most `size`."""
    return (slice(start, min(start + size, n_rows)) for start in range(0, max(n_rows, 1), size))


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add `a @ b`; a product in half precision is made in its own, and added in that of the sum."""
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b


def _zeros_like(source: Tensor) -> Tensor:
    return torch.zeros_like(source, dtype=torch.promote_types(source.dtype, torch.float32))
