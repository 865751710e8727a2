"""The five gradients of a step's batch: their lengths and angles, for the journal.

Each is that of the batch's mean loss, with the weights a token has in the step. Two forward and four backward passes
over the batch, one for each of `BACKWARD`; four gradients of the model are held, in its own precision while they are
added up.
"""

import time

import torch
from torch import Tensor, nn

from geometry import BACKWARD, IMAGE_VIEW, OBJECTIVES, GradientSum, angles_deg, attached, cotangents, norms, total
from records.lines import GeometryLine
from records.measurement import ANGLES
from train.batch import Batch
from train.learner import Learner
from train.rollouts import MicroBatch, Views, both_views, has_image
from vlm.families import scopes


def geometry_line(learner: Learner, step: int, batch: Batch) -> GeometryLine:
    """Measure the gradients of the global batch at the present weights."""
    began = time.perf_counter()
    grams = batch_grams(learner, batch)
    found = {scope: total(grams, names)[0] for scope, names in scopes(grams).items() if names}
    groups = {name: gram[0] for name, gram in grams.items()}
    return GeometryLine(
        step=step,
        norms={scope: named_norms(gram) for scope, gram in found.items()},
        angles_deg={scope: named_angles(gram) for scope, gram in found.items()},
        group_norms={name: named_norms(gram) for name, gram in groups.items()},
        group_angles_deg={name: named_angles(gram) for name, gram in groups.items()},
        seconds=round(time.perf_counter() - began, 4),
    )


def batch_grams(learner: Learner, batch: Batch) -> dict[str, Tensor]:
    """Return the Gram matrix `[1, 5, 5]` of the five gradients by parameter group."""
    trained = {
        name: [parameter for parameter in members if parameter.requires_grad]
        for name, members in learner.pair.student.groups.items()
    }
    groups = {name: members for name, members in trained.items() if members}
    sums = {parameter: parameter.new_zeros(1, len(BACKWARD), *parameter.shape) for parameter in learner.parameters}
    for micro_batch, teacher, shares in zip(batch.micro_batches, batch.teacher, batch.shares, strict=True):
        _add(learner, sums, micro_batch, teacher, shares)
    gradients = GradientSum(groups)
    gradients.add({parameter: learner.accelerator.reduce(g, "sum") for parameter, g in sums.items()})
    return gradients.grams()


def named_norms(gram: Tensor) -> dict[str, float]:
    """The lengths of a Gram matrix `[5, 5]` under the objectives' names."""
    return dict(zip(OBJECTIVES, norms(gram).tolist(), strict=True))


def named_angles(gram: Tensor) -> dict[str, float]:
    """The angles of a Gram matrix `[5, 5]` under the names that measurement records give them, in degrees."""
    detached, following = angles_deg(gram), angles_deg(attached(gram))
    found = {}
    for name in ANGLES:
        first, second, *rest = name.removeprefix("angle_").split("_")
        angles = following if rest else detached
        found[name] = float(angles[OBJECTIVES.index(first), OBJECTIVES.index(second)])
    return found


def _add(
    learner: Learner, sums: dict[nn.Parameter, Tensor], responses: MicroBatch, teacher: Views, shares: Tensor
) -> None:
    """Add the four gradients of a micro-batch; tokens without a picture have weight 0."""
    pair, parameters = learner.pair, list(sums)
    with learner.accelerator.autocast():
        image, text = both_views(pair.student, responses, pair.support)
    weights = (shares * has_image(responses, shares.device))[:, None]
    seeds = cotangents(image, text, *teacher)
    for row, objective in enumerate(BACKWARD):
        view = image if objective in IMAGE_VIEW else text
        if not view.requires_grad:  # the text view, where no prompt has a picture
            continue
        seed = (weights * getattr(seeds, objective)).to(view)
        found = torch.autograd.grad(view, parameters, seed, retain_graph=row + 1 < len(BACKWARD), allow_unused=True)
        for parameter, gradient in zip(parameters, found, strict=True):
            if gradient is not None:
                sums[parameter][0, row] += gradient
