"""The loss of an objective from whole logits as it is defined, differentiated by autograd: a slow twin."""

from dataclasses import fields, replace

import torch

from geometry import (
    Decomposition,
    FourViews,
    Objective,
    ObjectiveLoss,
    Thresholds,
    coefficients,
    decompose,
    kl_nats,
    log_probs,
)


def plain_objective_loss(
    views: FourViews,
    objective: Objective,
    *,
    thresholds: Thresholds | None = None,
    shares: torch.Tensor,
    has_image: torch.Tensor | None = None,
) -> ObjectiveLoss:
    """Return what `objective_loss` returns, from `decompose` and `coefficients`."""
    text = views.student_text if objective.trains_text_view else views.student_text.detach()
    views = replace(views, student_text=text)
    parts = decompose(views)
    divergences = {"standard": parts.standard, "language": parts.language, "visual": parts.visual}
    parts = Decomposition(**{field.name: getattr(parts, field.name).detach() for field in fields(parts)})
    held = text.detach() if text.requires_grad and not objective.target_follows else text
    if held is not text:
        divergences["visual"] = decompose(replace(views, student_text=held)).visual
    if "printed" in objective.terms:  # Eq. 11 with the text view in the image view's place
        divergences["printed"] = decompose(replace(views, student_image=text, student_text=held)).visual
    if "forward" in objective.terms:
        divergences["forward"] = kl_nats(log_probs(views.teacher_image), log_probs(views.student_image))
    weights = coefficients(objective, parts.vds, thresholds, has_image).times(shares)
    loss = torch.stack([(getattr(weights, term) * divergences[term]).sum() for term in objective.terms if term]).sum()
    log_p = log_probs(views.student_image.detach())
    entropy = torch.distributions.Categorical(logits=log_p).entropy()
    return ObjectiveLoss(loss, parts, weights, entropy)
