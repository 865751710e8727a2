"""On-policy distillation split into a language and a visual objective: Eq. 3-12 of arXiv:2606.00564.

A student `p` and a teacher `q` score the same response under two views of its prompt, the image view `(I,
x)` and the text view `(x)`. Everything here is per response token `t`, in nats, and differentiable in the
student.

Where this departs from the paper or fills a gap:
1. q* follows the student's text view. Detach `student_text`, or the target, for the variant with q* held
   fixed; the paper does not say which of the two it trains.
2. `student_vds`, the student's own dependency on the picture, is not in the paper. It is what the visual
   objective becomes when the teacher is blind: then q* is the student's text view, and `visual` punishes
   looking.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from geometry._checks import View, one_support, same_shape
from geometry.divergence import kl_nats, log_probs


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


def decompose(student_image: View, student_text: View, teacher_image: View, teacher_text: View) -> Decomposition:
    """Split the distillation loss of each token into its parts.

    Args:
        student_image: logits or log-probabilities `[T, V]` of p(. | tau_<t, I, x); leading batch axes are
        allowed. student_text: the same of p(. | tau_<t, x). teacher_image: the same of q(. | tau_<t, I, x).
        teacher_text: the same of q(. | tau_<t, x).

    Raises:
        ValueError: the shapes differ, or the views mask (-inf) different ids.
    """
    views = checked_views(student_image, student_text, teacher_image, teacher_text)
    target = target_of_log_probs(views.p_text, views.q_image, views.q_text)
    return Decomposition(
        standard=kl_nats(views.p_image, views.q_image),
        language=kl_nats(views.p_text, views.q_text),
        visual=kl_nats(views.p_image, target),
        vds=kl_nats(views.q_image, views.q_text),
        student_vds=kl_nats(views.p_image, views.p_text),
    )


def visual_target(student_text: View, teacher_image: View, teacher_text: View) -> View:
    """Return log q*: the student's language with the teacher's use of the picture.

        log q* = log_softmax( log p(.|x) + log q(.|I,x) - log q(.|x) )        (arXiv:2606.00564, Eq. 9-10)

    Takes logits or log-probabilities `[T, V]` and returns log-probabilities; ids masked in all views stay
    masked.

    Raises:
        ValueError: the shapes differ, or the views mask (-inf) different ids.
    """
    views = {"student_text": student_text, "teacher_image": teacher_image, "teacher_text": teacher_text}
    same_shape(**views)
    one_support(**views)
    return target_of_log_probs(log_probs(student_text), log_probs(teacher_image), log_probs(teacher_text))


def target_of_log_probs(p_text: View, q_image: View, q_text: View) -> View:
    """Eq. 10 for checked, normalised views.

    Where the teacher's views agree in every id the target is `p_text` bit for bit, not up to the rounding
    of a second normalisation: a token without a picture then has a visual objective and gradient of zero,
    not of noise.
    """
    masked = p_text.isneginf()
    dependency = (q_image - q_text).masked_fill(masked, 0.0)  # [T, V]
    blind = (dependency == 0).all(dim=-1, keepdim=True)  # [T, 1]
    return torch.where(blind, p_text, torch.log_softmax(p_text + dependency, dim=-1))


@dataclass(frozen=True)
class Views:
    """The log-probabilities `[T, V]` of the four views, on one support."""

    p_image: Float[Tensor, "*T V"]
    p_text: Float[Tensor, "*T V"]
    q_image: Float[Tensor, "*T V"]
    q_text: Float[Tensor, "*T V"]


def checked_views(student_image: View, student_text: View, teacher_image: View, teacher_text: View) -> Views:
    """Check that the four views have one shape and one support, and normalise each."""
    views = {
        "student_image": student_image,
        "student_text": student_text,
        "teacher_image": teacher_image,
        "teacher_text": teacher_text,
    }
    same_shape(**views)
    one_support(**views)
    return Views(*map(log_probs, views.values()))
