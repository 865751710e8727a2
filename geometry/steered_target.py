"""The one target that visual steering distils toward: an identity, derived in docs/theory.md.

With q* held fixed,

    standard + gamma visual = (1 + gamma) KL(p(.|I,x) || q~) + terms without p(.|I,x),

    q~ proportional to q(.|I,x) (p(.|x) / q(.|x))^a,    a = gamma / (1 + gamma).

q~ is the teacher with its language prior damped: the log-ratio of the teacher's prior to the student's enters q~ with
weight 1 / (1 + gamma), and the teacher's use of the picture with weight 1.
"""

import math

import torch

from geometry._checks import Logits
from geometry.decomposition import target_of_log_probs
from geometry.four_views import FourViews


def steered_target(views: FourViews, gamma: float) -> Logits:
    """Return log q~ `[T, V]`, the target of standard + gamma visual (arXiv:2606.00564, Eq. 13-14).

        log q~ = log_softmax( log q(.|I,x) + a (log p(.|x) - log q(.|x)) ),    a = gamma / (1 + gamma)

    gamma 0 yields the teacher's image view, and inf yields `visual_target`. A token whose text views agree in every id
    has no language gap: its target is the teacher's image view bit for bit. Ids masked in all views stay masked.
    Differentiable in the student's text view; detach that view for q* held fixed.

    Raises:
        ValueError: gamma is negative, the shapes differ, or the views mask (-inf) different ids.
    """
    if not gamma >= 0.0:
        raise ValueError(f"`gamma` must be at least 0, got {gamma}. Give 0 for the teacher itself.")
    p = views.log_probs()
    if math.isinf(gamma):
        return target_of_log_probs(p.student_text, p.teacher_image, p.teacher_text)
    masked = p.teacher_image.isneginf()
    gap = (p.student_text - p.teacher_text).masked_fill(masked, 0.0)  # [T, V]
    weight = gamma / (1.0 + gamma)
    same = (weight * gap == 0).all(dim=-1, keepdim=True)  # [T, 1]
    return torch.where(same, p.teacher_image, torch.log_softmax(p.teacher_image + weight * gap, dim=-1))
