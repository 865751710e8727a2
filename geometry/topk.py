"""The teacher's K most probable ids and the rest in one bucket: distillation from a teacher behind a server.

    ids(t)     the K ids that q(. | tau_<t, I, x) holds most probable
    bucket k   log p(ids_k),  k < K
    bucket K   log sum of p over all other ids

The same ids under every view, so that a view becomes a distribution over K + 1 buckets, and divergences, gates and
gradients follow from `decompose`, `objective_loss` and `cotangents` as they stand. Standard, language and VDS do not
grow by it, and nothing changes if K >= V - 1. q* is made of the buckets, since within the tail the teacher's use of the
picture cannot be told; it is not q* in buckets, and the visual loss may be larger or smaller than that of all ids.

Of a server this asks for the log-probabilities of *both* teacher views at ids that the image view alone chose: the text
view's own top K are others. Servers that score given ids can do that, those that return their own top K cannot.
`with_tail` makes the buckets of what such a server sends.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from geometry._checks import Logits
from geometry.divergence import log_probs

TopIds = Int[Tensor, "*_batch _K"]


@torch.no_grad()
def top_ids(teacher_image: Logits, k: int) -> TopIds:
    """Return the `min(k, V)` ids `[T, K]` that each token's teacher holds most probable, from `[T, V]` of either kind.

    Raises:
        ValueError: `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1 id, got {k}. Give the number of ids that the teacher reports.")
    return teacher_image.topk(min(k, teacher_image.shape[-1]), dim=-1).indices


def topk_log_probs(view: Logits, ids: TopIds) -> Logits:
    """Return log-probabilities `[T, K + 1]` of a view `[T, V]`: those at `ids`, then that of all others together.

    Takes logits or log-probabilities; differentiable. Masked ids (-inf) hold nothing of the tail; where there is no
    other id the tail is -inf, as a masked id.

    Raises:
        ValueError: `ids` has other tokens than `view`, or one token has an id twice or out of range.
    """
    _check_ids(view, ids)
    log_p = log_probs(view)
    tail = _log_sum(log_p.scatter(-1, ids, -torch.inf))  # of what is small, not 1 - the rest
    return torch.cat([log_p.gather(-1, ids), tail], dim=-1)


def with_tail(kept: Logits) -> Logits:
    """Return log-probabilities `[T, K + 1]` of a teacher known only at the ids `[T, K]` of `topk_log_probs`.

    The tail is one minus the mass of the ids, and not less than the rounding of that difference.

    Raises:
        ValueError: the ids of a token have more mass than 1.
    """
    kept = kept.to(torch.promote_types(kept.dtype, torch.float32))
    mass, rounding = kept.exp().sum(dim=-1, keepdim=True), torch.finfo(kept.dtype).eps
    if (mass > 1.0 + 1e-3).any():
        raise ValueError(f"`kept` must hold a mass of at most 1, got {float(mass.max()):.4g}. Give log-probabilities.")
    return log_probs(torch.cat([kept, (1.0 - mass).clamp_min(rounding).log()], dim=-1))


def spread(gradient: Logits, view: Logits, ids: TopIds) -> Logits:
    """Return the gradient `[T, V]` at a view's logits from that at its buckets, `[T, K + 1]`, whose rows sum to 0.

        dL/dz_v = c_b(v) p_v / P_b(v)

    with P_b the mass of the bucket b(v) that holds v; `view` as `topk_log_probs` takes it.
    """
    log_p = log_probs(view).scatter_(-1, ids, -torch.inf)
    within = torch.softmax(log_p, dim=-1).nan_to_num_(0.0)  # p_v / P_tail; 0 / 0 where there is no other id
    return within.mul_(gradient[..., -1:]).scatter_(-1, ids, gradient[..., :-1])


def _log_sum(log_p: Tensor) -> Tensor:
    """`logsumexp` whose gradient is 0, not nan, where all is -inf."""
    nothing = log_p.isneginf().all(dim=-1, keepdim=True)
    if not nothing.any():
        return log_p.logsumexp(dim=-1, keepdim=True)
    return log_p.masked_fill(nothing, 0.0).logsumexp(dim=-1, keepdim=True).masked_fill(nothing, -torch.inf)


def _check_ids(view: Tensor, ids: Tensor) -> None:
    n_ids = view.shape[-1]
    if ids.shape[:-1] != view.shape[:-1]:
        raise ValueError(
            f"`ids` must have the tokens of `view`, got shapes {tuple(ids.shape)} and {tuple(view.shape)}. "
            "Take `top_ids` of the teacher's image view of the same tokens."
        )
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < n_ids:
        lowest, highest = int(ids.min()), int(ids.max())
        raise ValueError(f"`ids` must lie in 0..{n_ids - 1}, got {lowest}..{highest}. Slice both to the same ids.")
    ordered = ids.sort(dim=-1).values
    if (ordered[..., 1:] == ordered[..., :-1]).any():
        raise ValueError("`ids` must hold an id once a token, got one twice. Leave the second out.")
