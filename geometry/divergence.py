"""The reverse KL, per token and in nats, in a form that survives float32.

The plain sum of `p (log p - log q)` is exact only if both arguments sum to one exactly. In float32 the two
normalisers are off by about 1e-7, and the plain sum passes that offset on in full: a divergence of 1e-6
nats, which is ordinary for the visual dependency of a sure teacher, is lost. The Bregman form used here,

    KL(p || q) = sum_v p (e^{-r} - 1 + r),    r = log p - log q,

adds `sum q - sum p`, which is zero for distributions. Every term is non-negative, and an offset `d` of either
normaliser enters as `d KL + d^2 / 2` instead of `d`. Through a log_softmax both forms have the same gradient.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from geometry._checks import Logits, same_logits

NEAR = 0.5  # |r| up to which e^{-r} - 1 + r is taken from expm1; beyond, nothing cancels


def log_probs(logits: Float[Tensor, "*batch V"]) -> Float[Tensor, "*batch V"]:
    """Normalise logits over the last axis, in float32 or better; log-probabilities keep their values.

    An id with logit -inf is masked: it keeps log-probability -inf and takes no mass. All are nan where a logit is
    nan or inf, or every id is masked.
    """
    return torch.log_softmax(at_least_float32(logits), dim=-1)


def kl_nats(log_p: Logits, log_q: Logits) -> Float[Tensor, "..."]:
    """Return KL(p || q) = sum_v p(v) (log p(v) - log q(v)) over the last axis, `[..., V] -> [...]`.

    Never negative. Differentiable in both arguments. Where p(v) = 0 the term is q(v) (0 if q(v) = 0 too);
    where only q(v) = 0 the divergence is inf, and its gradient says nothing. nan where either argument holds one.

    Raises:
        ValueError: the shapes differ, or there is no id.
    """
    same_logits(log_p=log_p, log_q=log_q)
    log_p, log_q = at_least_float32(log_p), at_least_float32(log_q)
    p_is_zero, q_is_zero = log_p.isneginf(), log_q.isneginf()
    p, q = log_p.exp(), log_q.exp()
    r = (log_p - log_q).masked_fill(p_is_zero | q_is_zero, 0.0)
    near = r.abs() <= NEAR
    r_near = r.where(near, 0.0)  # keeps expm1, and its derivative, from overflowing where `far` is meant
    terms = torch.where(near, p * (torch.expm1(-r_near) + r_near).clamp_min(0.0), p * (r - 1.0) + q)
    terms = torch.where(p_is_zero, q, terms)
    return terms.masked_fill(q_is_zero & ~p_is_zero, torch.inf).sum(dim=-1)


def at_least_float32(x: Tensor) -> Tensor:
    """Return the numbers in float32, or in float64 if they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
