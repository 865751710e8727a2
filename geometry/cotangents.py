"""Gradients of the objectives at the logits, in closed form.

With these, one forward pass a view serves every objective and every set of tokens: a parameter gradient is
the backward pass of a weighted sum of cotangents. For `r_v` a log-ratio, the gradient of a reverse KL at
the logits is

    c = p (r - E_p[r]),

and five cotangents cover both readings of the visual objective of arXiv:2606.00564, Eq. 11:

    standard   p_I (r - E[r]) at z_I,  r = log p_I - log q_I         the gradient of Eq. 4
    language   p_x (r - E[r]) at z_x,  r = log p_x - log q_x         the gradient of Eq. 7
    visual     p_I (r - E[r]) at z_I,  r = log p_I - log q*          the gradient of Eq. 11 with q* held fixed
    prior      p_I (r - E[r]) at z_I,  r = log p_x - log q_x         standard - visual
    shift      q* - p_I       at z_x                                 what Eq. 11 adds when q* follows the
    student

Hence standard = visual + prior, and the attached visual gradient is visual + shift. Where `views.prior_text` is given,
it takes the place of p_x in visual and prior, and q* follows nothing: shift is 0.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry.decomposition import target_of_log_probs
from geometry.four_views import FourViews


@dataclass(frozen=True)
class Cotangents:
    """The gradient of each token's objective at that token's logits, `[T, V]`, constants without a graph."""

    standard: Float[Tensor, "*T V"]
    language: Float[Tensor, "*T V"]
    visual: Float[Tensor, "*T V"]
    prior: Float[Tensor, "*T V"]
    shift: Float[Tensor, "*T V"]

    def at(self, tokens: Int[Tensor, " n"]) -> "Cotangents":
        """Return those of some of the tokens."""
        return Cotangents(**{field.name: getattr(self, field.name)[tokens] for field in fields(self)})


@torch.no_grad()
def cotangents(views: FourViews) -> Cotangents:
    """Return the five cotangents of each token.

    A masked id (logit -inf in all views) has cotangent 0, and each row sums to 0.

    Raises:
        ValueError: the shapes differ, or the views mask (-inf) different ids.
    """
    p = views.log_probs()
    target = target_of_log_probs(p.prior, p.teacher_image, p.teacher_text)
    shift = target.exp() - p.student_image.exp()
    return Cotangents(
        standard=_centred(p.student_image, _log_ratio(p.student_image, p.teacher_image)),
        language=_centred(p.student_text, _log_ratio(p.student_text, p.teacher_text)),
        visual=_centred(p.student_image, _log_ratio(p.student_image, target)),
        prior=_centred(p.student_image, _log_ratio(p.prior, p.teacher_text)),
        shift=shift if p.prior_text is None else torch.zeros_like(shift),
    )


def _log_ratio(log_a: Tensor, log_b: Tensor) -> Tensor:
    return (log_a - log_b).masked_fill(log_a.isneginf(), 0.0)


def _centred(log_p: Tensor, ratio: Tensor) -> Tensor:
    # The mean is the plain sum, not `kl_nats`: an offset of `ratio` (a normaliser's rounding) then cancels.
    p = log_p.exp()
    return p * (ratio - (p * ratio).sum(dim=-1, keepdim=True))


def token_lengths(cotangents: Cotangents) -> Float[Tensor, "*T"]:
    """Return the length of each token's standard cotangent; where it is 0, the least positive number.

    Weights divided by it make the tokens of a sum count alike at the logits, whatever their losses.
    """
    lengths = cotangents.standard.norm(dim=-1)
    return lengths.clamp_min(torch.finfo(lengths.dtype).tiny)
