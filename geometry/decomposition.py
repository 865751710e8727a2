"""On-policy distillation split into a language and a visual objective: Eq. 3-12 of arXiv:2606.00564.

A student `p` and a teacher `q` score the same response under two views of its prompt, the image view `(I,
x)` and the text view `(x)`. Everything here is per response token `t`, in nats, and differentiable in the
student.

Where this departs from the paper or fills a gap:
1. q* follows the student's text view. Detach `student_text` for the variant with q* held fixed; the paper does not
   say which of the two it trains.
2. `student_vds`, the student's own dependency on the picture, is not in the paper. It is what the visual
   objective becomes when the teacher is blind: then q* is the student's text view, and `visual` punishes
   looking.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from geometry._checks import Logits
from geometry.divergence import kl_nats
from geometry.four_views import FourViews


@dataclass(frozen=True)
class Decomposition:
    """The divergences of each response token, `[T]`, in nats."""

    standard: Float[Tensor, "*T"]
    """KL(p(.|I,x) || q(.|I,x)), arXiv:2606.00564, Eq. 3-4."""
    language: Float[Tensor, "*T"]
    """KL(p(.|x) || q(.|x)), arXiv:2606.00564, Eq. 6-7."""
    visual: Float[Tensor, "*T"]
    """KL(p(.|I,x) || q*), arXiv:2606.00564, Eq. 11."""
    vds: Float[Tensor, "*T"]
    """Visual dependency of the teacher, KL(q(.|I,x) || q(.|x)), arXiv:2606.00564, Eq. 12."""
    student_vds: Float[Tensor, "*T"]
    """Visual dependency of the student, KL(p(.|I,x) || p(.|x))."""

    @classmethod
    def joined(cls, several: Sequence["Decomposition"]) -> "Decomposition":
        """Return the divergences of several stretches of tokens, one after the other."""
        return cls(**{f.name: torch.cat([getattr(parts, f.name) for parts in several]) for f in fields(cls)})


def decompose(views: FourViews) -> Decomposition:
    """Split the distillation loss of each token into its parts.

    Raises:
        ValueError: the shapes differ, or the views mask (-inf) different ids.
    """
    p = views.log_probs()
    target = target_of_log_probs(p.prior, p.teacher_image, p.teacher_text)
    return Decomposition(
        standard=kl_nats(p.student_image, p.teacher_image),
        language=kl_nats(p.student_text, p.teacher_text),
        visual=kl_nats(p.student_image, target),
        vds=kl_nats(p.teacher_image, p.teacher_text),
        student_vds=kl_nats(p.student_image, p.student_text),
    )


def visual_target(views: FourViews) -> Logits:
    """Return log q* `[T, V]`: the student's language with the teacher's use of the picture.

        log q* = log_softmax( log p(.|x) + log q(.|I,x) - log q(.|x) )        (arXiv:2606.00564, Eq. 9-10)

    p(.|x) is `views.prior_text` if that is given. Ids masked in all views stay masked.

    Raises:
        ValueError: the shapes differ, or the views mask (-inf) different ids.
    """
    p = views.log_probs()
    return target_of_log_probs(p.prior, p.teacher_image, p.teacher_text)


def target_of_log_probs(p_text: Logits, q_image: Logits, q_text: Logits) -> Logits:
    """Eq. 10 for checked, normalised views.

    Where the teacher's views agree in every id the target is `p_text` bit for bit, not up to the rounding
    of a second normalisation: a token without a picture then has a visual objective and gradient of zero,
    not of noise.
    """
    masked = p_text.isneginf()
    dependency = (q_image - q_text).masked_fill(masked, 0.0)  # [T, V]
    blind = (dependency == 0).all(dim=-1, keepdim=True)  # [T, 1]
    return torch.where(blind, p_text, torch.log_softmax(p_text + dependency, dim=-1))
