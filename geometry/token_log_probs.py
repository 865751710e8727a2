"""Log-probabilities of drawn tokens from hidden states, by chunks: for a policy gradient, where T V logits are many."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from geometry.divergence import log_probs
from geometry.lm_head import Hidden, LMHead, LMHeadGradients, chunks
from geometry.loss import check_tokens

Allowed = Bool[Tensor, " _V"] | Bool[Tensor, "_T _V"]


def token_log_probs_from_hidden(
    hidden: Hidden,
    head: LMHead,
    ids: Int[Tensor, " _T"],
    *,
    allowed: Allowed | None = None,
    chunk: int | None = None,
) -> Float[Tensor, " _T"]:
    """Return the log-probability of each token, in float32 or better, holding the logits of one chunk at a time.

    Differentiable once, in the hidden states, head weight and bias. The backward pass makes each chunk's logits again:

        dL/dz_v = dL/dlogp_t (1[v = ids_t] - p_v)

    Args:
        hidden: what the head is applied to at the position that each token was drawn from.
        head: the ids that it does not mask are those of the distribution that the tokens were drawn from.
        ids: the tokens.
        allowed: the ids that could be drawn, of every token or of each, such as those of top-p sampling; the others
            take no mass. All by default.
        chunk: tokens a chunk; by default as many as keep the logits within `lm_head.CHUNK_BYTES`.

    Returns:
        nan where a logit is nan or inf.

    Raises:
        ValueError: lengths differ, a token could not be drawn, or chunk is below 1.
    """
    check_tokens(hidden.shape[:1], ids=ids)
    _check_ids(ids, head, allowed)
    log_p = _Chosen.apply(hidden, head.weight, head.bias, _Drawn(head, ids, allowed, chunk))
    undrawable = log_p.isneginf() | _masked(ids, head, allowed)
    if undrawable.any():
        first = int(undrawable.nonzero()[0])
        raise ValueError(
            f"`ids` must be ids that could be drawn, got {int(ids[first])} at token {first}, which is masked. "
            "Give the distribution that the tokens were drawn from."
        )
    return log_p


@dataclass(frozen=True)
class _Drawn:
    """Tokens, what they were drawn from, and how many are handled at a time."""

    head: LMHead
    ids: Tensor
    allowed: Tensor | None
    chunk: int | None


class _Chosen(torch.autograd.Function):
    """The tensors of the head are arguments of their own, to be differentiated in."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, drawn: _Drawn) -> Tensor:
        head, ids, allowed = drawn.head, drawn.ids, drawn.allowed
        ctx.save_for_backward(hidden, weight, bias, ids, allowed)
        ctx.head, ctx.chunk = (head.n_ids, head.masked, head.scale, head.softcap), drawn.chunk
        cut = chunks(len(ids), head.n_ids, drawn.chunk)
        return torch.cat([_chunk(hidden, head, rows, allowed).gather(1, ids[rows, None])[:, 0] for rows in cut])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, ids, allowed = ctx.saved_tensors
        head = LMHead(weight, bias, *ctx.head)
        gradients = LMHeadGradients(head, hidden=hidden)
        for rows in chunks(len(ids), head.n_ids, ctx.chunk):
            pull = scale[rows, None]
            logits = _logits(hidden, head, rows, allowed)
            at_logits = log_probs(logits).exp_().mul_(-pull).scatter_add_(1, ids[rows, None], pull)
            gradients.add("hidden", rows, head.before_cap(at_logits, logits))
            del logits, at_logits  # before the next chunk's are made
        by_name = {name: total.to(gradients.sources[name].dtype) for name, total in gradients.sums.items()}
        return *(by_name.get(name) for name in ("hidden", "weight", "bias")), None


def _chunk(hidden: Tensor, head: LMHead, rows: slice, allowed: Tensor | None) -> Tensor:
    """The log-probabilities `[n, V]` of a chunk."""
    return log_probs(_logits(hidden, head, rows, allowed))


def _logits(hidden: Tensor, head: LMHead, rows: slice, allowed: Tensor | None) -> Tensor:
    logits = head.logits(hidden[rows])
    if allowed is not None:
        logits.masked_fill_(~(allowed if allowed.ndim == 1 else allowed[rows]), -torch.inf)
    return logits


def _masked(ids: Tensor, head: LMHead, allowed: Tensor | None) -> Tensor:
    """Which tokens are masked, those too whose every id is."""
    masked = torch.isin(ids, torch.tensor(list(head.masked), dtype=ids.dtype, device=ids.device))
    if allowed is None:
        return masked
    return masked | ~(allowed[ids] if allowed.ndim == 1 else allowed.gather(1, ids.long()[:, None])[:, 0])


def _check_ids(ids: Tensor, head: LMHead, allowed: Tensor | None) -> None:
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < head.n_ids:
        raise ValueError(
            f"`ids` must lie in 0..{head.n_ids - 1}, the ids of `head`, got {int(ids.min())}..{int(ids.max())}. "
            "Raise its `n_ids`, or leave these tokens out."
        )
    if allowed is not None and tuple(allowed.shape) not in ((head.n_ids,), (len(ids), head.n_ids)):
        raise ValueError(
            f"`allowed` must have shape {(head.n_ids,)} or {(len(ids), head.n_ids)}, got {tuple(allowed.shape)}. "
            "Slice it to the ids of `head`."
        )
