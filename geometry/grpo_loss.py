"""Group-relative policy optimisation, and its mix with distillation (arXiv:2606.00564, Eq. 22).

    maximise (1 - alpha) sum_t share_t min(ratio_t A_t, clip(ratio_t, 1 - c, 1 + c) A_t) - alpha loss

with ratio_t = p_new(tau_t) / p_old(tau_t) under the distribution that the sampler drew from, A_t the advantage of the
token's response, and `loss` a distillation loss in nats (`objective_loss`). Here it is negated, to be minimised.
There is no KL term to a reference and no eta.

What the paper leaves open:
1. Advantages are divided by the standard deviation with n - 1, as the common trainers do, and nothing is added to it:
   they do not depend on the scale of the rewards, and are 0 where all rewards of a prompt are equal.
2. The clip c is 0.2, symmetric, the best of arXiv:1707.06347, Section 6.1.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.loss import check_tokens

CLIP = 0.2


@dataclass(frozen=True)
class GRPOLoss:
    """The negated clipped surrogate of some tokens."""

    loss: Float[Tensor, ""]
    """With a graph."""
    ratios: Float[Tensor, " T"]
    """p_new / p_old of each token, without one."""
    clipped: Bool[Tensor, " T"]
    """Tokens without a gradient: the ratio is beyond the clip on the side that the advantage pushes to."""


def group_advantages(rewards: Float[Tensor, "*_groups _G"]) -> Float[Tensor, "*_groups _G"]:
    """Return (r - mean) / std over the responses of each prompt, `[..., G]`; 0 where all rewards are equal.

    std is that with n - 1: the mean square of a group's advantages is (G - 1) / G.

    Raises:
        ValueError: a prompt has fewer than two responses, or a reward is not finite.
    """
    if rewards.ndim == 0 or rewards.shape[-1] < 2:
        raise ValueError(
            f"`rewards` must hold at least 2 responses a prompt, got shape {tuple(rewards.shape)}. Sample more."
        )
    if not rewards.isfinite().all():
        bad = float(rewards[~rewards.isfinite()][0])
        raise ValueError(f"`rewards` must be finite, got {bad}. Give a response that cannot be judged 0.")
    highest, lowest = (edge(dim=-1, keepdim=True).double() for edge in (rewards.cpu().amax, rewards.cpu().amin))
    middle, half = highest / 2 + lowest / 2, highest / 2 - lowest / 2
    equal = half == 0.0
    # Near 1, so that no square is 0 or inf; in float64, for the mean of nearly equal rewards is one of them in float32.
    near_one = (rewards.cpu().double() - middle) / half.masked_fill(equal, 1.0)
    centred = near_one - near_one.mean(dim=-1, keepdim=True)
    variance = centred.square().sum(dim=-1, keepdim=True) / (rewards.shape[-1] - 1)
    return (centred / variance.sqrt().masked_fill(equal, 1.0)).masked_fill(equal, 0.0).to(rewards)


def grpo_loss(
    new: Float[Tensor, " T"],
    old: Float[Tensor, " T"],
    advantages: Float[Tensor, " T"],
    shares: Float[Tensor, " T"],
    *,
    clip: float = CLIP,
) -> GRPOLoss:
    """Return the negated clipped surrogate, differentiable in `new` alone.

    Its gradient is -share A ratio at the tokens that are not clipped, 0 at the others; at ratio 1 it is the policy
    gradient.

    Args:
        new: log-probability of each drawn token under the weights that are trained.
        old: the same under the weights that it was drawn with; both over the ids that could be drawn.
        advantages: of each token's response, see `group_advantages`.
        shares: weight of each token, see `token_shares`.
        clip: c, how far a ratio may be from 1 until its token is left alone.

    Raises:
        ValueError: lengths differ, or the clip is not in [0, 1).
    """
    check_tokens(new.shape, old=old, advantages=advantages, shares=shares)
    if not 0.0 <= clip < 1.0:
        raise ValueError(f"`clip` must lie in [0, 1), got {clip}. The usual one is {CLIP}.")
    advantages, shares, gain = advantages.to(new), shares.to(new), advantages >= 0.0
    change = new - old.to(new).detach()
    upper, lower = (torch.full_like(change, math.log1p(side)) for side in (clip, -clip))
    clipped = torch.where(gain, change > upper, change < lower)
    # A clipped change is replaced, not multiplied by 0: its exponential may be inf.
    kept = torch.where(clipped, torch.where(gain, upper, lower), change)
    return GRPOLoss(-(shares * advantages * kept.exp()).sum(), change.detach().exp(), clipped)


def mixed(surrogate: Tensor, distillation: Tensor, alpha: float) -> Tensor:
    """Return (1 - alpha) surrogate + alpha distillation, of losses or of gradients (arXiv:2606.00564, Eq. 22).

    Raises:
        ValueError: alpha is not in [0, 1].
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"`alpha` must lie in [0, 1], got {alpha}. The paper's is 0.3.")
    return (1.0 - alpha) * surrogate + alpha * distillation
