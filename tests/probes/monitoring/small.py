"""A monitor of the random pair that measures in about a second, and its numbers from the definitions."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geometry import Decomposition, FourViews, decompose
from probes import GeometryMonitor
from tests import models
from vlm.checkpoints.pair import Pair
from vlm.prompts.prompt import Prompt
from vlm.responses.rollouts import Rollout
from vlm.responses.scoring import view_logits
from vlm.views.view import image_view, text_view

OPTIONS = {"limit": 6, "max_response": 5, "allow_truncated": True, "batch": 4, "null_responses": 3}


def monitor_of(pair: Pair, folder: Path, **options) -> GeometryMonitor:
    """Return a monitor of a pair on six prompts, one of them without a picture."""
    student, teacher = pair.student, pair.teacher
    return GeometryMonitor(
        student.model, teacher.model, student.processor, **OPTIONS | {"folder": folder, "every": 2} | options
    )


def four_views(pair: Pair, prompt: Prompt, rollout: Rollout, text_graph: bool = True) -> FourViews:
    """Return the views of a response as whole logits."""
    ids = [rollout.token_ids]

    def logits(loaded, view) -> Tensor:
        return view_logits(loaded, [view], ids, pair.n_ids)[0]

    views = image_view(prompt), text_view(prompt)
    with torch.no_grad():
        teacher = [logits(pair.teacher, view) for view in views]
    image, text = (logits(pair.student, view) for view in views)
    return FourViews(image, text if text_graph else text.detach(), *teacher)


def gradients(pair: Pair, prompt: Prompt, rollout: Rollout, weights: Tensor) -> dict[str, Tensor]:
    """Return the gradients of a response's weighed losses, whole: four objectives, and visual with q* following."""
    parameters = [p for p in pair.student.model.parameters() if p.requires_grad]

    def gradient(of: Tensor) -> Tensor:
        made = torch.autograd.grad((weights * of).sum(), parameters, retain_graph=True, allow_unused=True)
        return models.flat(parameters, made)

    following = decompose(four_views(pair, prompt, rollout))
    fixed = decompose(four_views(pair, prompt, rollout, text_graph=False))
    whole = {name: gradient(getattr(following, name)) for name in ("standard", "language")}
    return whole | {"visual": gradient(fixed.visual), "visual_attached": gradient(following.visual)}


def losses(pair: Pair, prompt: Prompt, rollout: Rollout) -> Decomposition:
    """Return the divergences of a response's tokens."""
    with torch.no_grad():
        return decompose(four_views(pair, prompt, rollout))


def angle_deg(one: Tensor, two: Tensor) -> float:
    """Return the angle between two vectors, in degrees."""
    return float(np.degrees(np.arccos(float(one @ two / (one.norm() * two.norm())))))


def stepped(pair: Pair, loss: str, lr: float, rollouts, prompts) -> None:
    """Take a step of gradient descent on a loss of the responses of some prompts; a negative rate climbs."""
    parameters = [p for p in pair.student.model.parameters() if p.requires_grad]
    total = sum(getattr(decompose(four_views(pair, prompts[r.prompt_id], r)), loss).mean() for r in rollouts)
    made = torch.autograd.grad(total / len(rollouts), parameters, allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, made, strict=True):
            if gradient is not None:
                parameter -= lr * gradient
