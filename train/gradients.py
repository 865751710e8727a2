"""The five gradients of a step's batch: their lengths and angles, for the journal.

Each is that of the batch's mean loss, with the weights a token has in the step. Two forward and four backward passes
over the batch, one for each of `BASIS`; four gradients of the model are held, in its own precision while they are
added up.
"""

import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from geometry import (
    ANGLES,
    BASIS,
    OBJECTIVES,
    DenseGradients,
    FourViews,
    Gram,
    HiddenViews,
    cotangents,
    total,
)
from geometry.gramian.backward import IMAGE
from geometry.lm_head import LMHeadGradients, chunks
from geometry.memory import is_out_of_memory
from records.journal_lines import GeometryLine
from train.batch import Batch
from train.learner import Learner
from train.part import Part
from train.rollouts import both_views, has_image
from vlm.families import scopes


def geometry_line(learner: Learner, step: int, batch: Batch) -> GeometryLine:
    """Measure the gradients of the global batch at the present weights."""
    began = time.perf_counter()
    grams = batch_grams(learner, batch)
    found = {scope: total(grams, names) for scope, names in scopes(grams).items() if names}
    return GeometryLine(
        step=step,
        norms={scope: named_norms(gram) for scope, gram in found.items()},
        angles_deg={scope: named_angles(gram) for scope, gram in found.items()},
        group_norms={name: named_norms(gram) for name, gram in grams.items()},
        group_angles_deg={name: named_angles(gram) for name, gram in grams.items()},
        seconds=round(time.perf_counter() - began, 4),
    )


def batch_grams(learner: Learner, batch: Batch) -> dict[str, Gram]:
    """Return the Gram matrix of the gradients by parameter group."""
    trained = {
        name: [parameter for parameter in members if parameter.requires_grad]
        for name, members in learner.pair.student.groups.items()
    }
    groups = {name: members for name, members in trained.items() if members}
    sums = {parameter: parameter.new_zeros(1, len(BASIS), *parameter.shape) for parameter in learner.parameters}
    for part in batch.parts:
        _add(learner, sums, part)
    gradients = DenseGradients(groups)
    gradients.add({parameter: learner.accelerator.reduce(g, "sum") for parameter, g in sums.items()})
    return {name: gram[0] for name, gram in gradients.grams().items()}


def named_norms(gram: Gram) -> dict[str, float]:
    """The lengths of the gradients under the objectives' names."""
    return {name: float(gram.norm(name)) for name in OBJECTIVES}


def named_angles(gram: Gram) -> dict[str, float]:
    """The angles under the names that measurement records give them, in degrees."""
    return {name: float(gram.angle_deg(*pair)) for name, pair in ANGLES.items()}


Sums = dict[nn.Parameter, Tensor]
"""The four gradients of each parameter, `[1, 4, ...]`."""


def _add(learner: Learner, sums: Sums, part: Part, first: int = 0) -> None:
    """Add the gradients of a micro-batch, in smaller ones where memory runs out.

    first: the number of those of `BASIS` that have been added.

    Raises:
        TooLargeError: not even one response fits into memory.
    """
    passes, n = learner.passes, len(part.responses)
    if n > passes.size:
        for smaller in part.cut(passes.size):
            _add(learner, sums, smaller, first)
        return
    reached = _tried(learner, sums, part, first)
    if reached < len(BASIS):
        passes.halve(n)  # whatever the failed pass held is free again
        _add(learner, sums, part, reached)


def _tried(learner: Learner, sums: Sums, part: Part, first: int) -> int:
    """Return how many gradients of `BASIS` have been added, each whole or not: fewer than all if memory runs out."""
    row = first
    try:
        student, at_heads = _views(learner, part)
        for row in range(first, len(BASIS)):
            _add_row(sums, row, student, at_heads[BASIS[row]].sums)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return row
    return len(BASIS)


def _views(learner: Learner, part: Part) -> tuple[HiddenViews, dict[str, LMHeadGradients]]:
    """The student's views of a micro-batch and the gradients at its head; tokens without a picture have weight 0."""
    pair, responses = learner.pair, part.responses
    with learner.accelerator.autocast():
        student = both_views(pair.student, responses, pair.n_ids)
    weights = part.shares * has_image(responses, part.shares.device)
    return student, _at_heads(student, part.teacher.to(student.image.device), weights)


def _add_row(sums: Sums, row: int, student: HiddenViews, at_head: Mapping[str, Tensor]) -> None:
    """Carry one gradient from the head on to the parameters, and add it once all of it is there."""
    sources = {"image": student.image, "text": student.text, "weight": student.head.weight}
    sources |= {} if student.head.bias is None else {"bias": student.head.bias}
    known = [name for name in at_head if sources[name].requires_grad]
    if not known:  # of the text view, where no prompt has a picture, and with the head frozen
        return
    seeds, parameters = [at_head[name].to(sources[name]) for name in known], list(sums)
    gradients = torch.autograd.grad(
        [sources[name] for name in known], parameters, seeds, retain_graph=True, allow_unused=True
    )
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            sums[parameter][0, row] += gradient


def _at_heads(student: HiddenViews, teacher: HiddenViews, weights: Tensor) -> dict[str, LMHeadGradients]:
    """The gradients of each of `BASIS`, weighed, in what the student's head is applied to and in the head itself."""
    views = {objective: "image" if objective in IMAGE else "text" for objective in BASIS}
    found = {o: LMHeadGradients(student.head, **{view: getattr(student, view)}) for o, view in views.items()}
    with torch.no_grad():
        for rows in chunks(len(weights), student.head.n_ids):
            logits = FourViews(*student.logits(rows), *teacher.logits(rows))
            seeds, of_view = cotangents(logits), {"image": logits.student_image, "text": logits.student_text}
            for objective, view in views.items():
                seed = weights[rows, None] * getattr(seeds, objective)
                found[objective].add(view, rows, student.head.before_cap(seed, of_view[view]))
    return found
