"""The gradients of a batch's mean losses: their Gram matrices, and the lengths and angles that a journal holds.

Each gradient is that of a mean over the batch's tokens. Two forward and four backward passes over the batch, one for
each of `BASIS`; four gradients of the model are held, in its own precision while they are added up.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from geometry import ANGLES, BASIS, OBJECTIVES, DenseGradients, FourViews, Gram, HiddenViews, cotangents, total
from geometry.gramian.backward import IMAGE
from geometry.lm_head import LMHeadGradients, chunks
from geometry.memory import is_out_of_memory
from vlm.checkpoints.loaded_model import LoadedModel
from vlm.families import scopes
from vlm.responses.halving import Batches
from vlm.responses.response import both_views, has_image
from vlm.responses.scored_batch import ScoredBatch


class BatchGradients:
    """The gradients `BASIS` of a batch's mean losses, added up over parts of the batch.

    Args:
        student: its parameters `parameters` are measured.
        n_ids: ids below it are tokens of student and teacher.
        parameters: trainable ones of the student.
        passes: how many responses are in a forward pass; halved where memory runs out.
        precision: makes the context in which the student runs.
    """

    def __init__(
        self,
        student: LoadedModel,
        n_ids: int,
        parameters: Sequence[nn.Parameter],
        passes: Batches,
        precision: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self._student, self._n_ids, self._passes, self._precision = student, n_ids, passes, precision
        self.sums = {parameter: parameter.new_zeros(1, len(BASIS), *parameter.shape) for parameter in parameters}
        """The four gradients of each parameter, `[1, 4, ...]`."""

    def add(self, part: ScoredBatch, first: int = 0) -> None:
        """Add the gradients of a part, in smaller ones where memory runs out.

        first: the number of those of `BASIS` that have been added.

        Raises:
            TooLargeError: not even one response fits into memory.
        """
        n = len(part.responses)
        if n > self._passes.size:
            for smaller in part.cut(self._passes.size):
                self.add(smaller, first)
            return
        reached = self._tried(part, first)
        if reached < len(BASIS):
            self._passes.halve(n)  # whatever the failed pass held is free again
            self.add(part, reached)

    def _tried(self, part: ScoredBatch, first: int) -> int:
        """Return how many of `BASIS` have been added, each whole or not: fewer than all if memory runs out."""
        row = first
        try:
            student, at_heads = self._views(part)
            for row in range(first, len(BASIS)):
                add_row(self.sums, row, student, at_heads[BASIS[row]].sums)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return row
        return len(BASIS)

    def _views(self, part: ScoredBatch) -> tuple[HiddenViews, dict[str, LMHeadGradients]]:
        """The student's views of a part, and the gradients at its head; tokens without a picture have weight 0."""
        with self._precision():
            student = both_views(self._student, part.responses, self._n_ids)
        weights = part.shares * has_image(part.responses, part.shares.device)
        return student, _at_heads(student, part.teacher.to(student.image.device), weights)


def add_row(sums: Mapping[nn.Parameter, Tensor], row: int, student: HiddenViews, at_head: Mapping[str, Tensor]) -> None:
    """Carry one gradient from the head on to the parameters, and add it once all of it is there."""
    sources = {"image": student.image, "text": student.text, "weight": student.head.weight}
    sources |= {} if student.head.bias is None else {"bias": student.head.bias}
    reached = [name for name in at_head if sources[name].requires_grad]
    if not reached:  # of the text view, where no prompt has a picture, and with the head frozen
        return
    seeds, parameters = [at_head[name].to(sources[name]) for name in reached], list(sums)
    gradients = torch.autograd.grad(
        [sources[name] for name in reached], parameters, seeds, retain_graph=True, allow_unused=True
    )
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            sums[parameter][0, row] += gradient


def grams_of(student: LoadedModel, sums: Mapping[nn.Parameter, Tensor]) -> dict[str, Gram]:
    """Return the Gram matrices by parameter group of gradients `[1, 4, ...]`, one for each trained parameter."""
    trained = {name: [one for one in members if one.requires_grad] for name, members in student.groups.items()}
    gradients = DenseGradients({name: members for name, members in trained.items() if members})
    gradients.add(sums)
    return {name: gram[0] for name, gram in gradients.grams().items()}


def over_scopes(grams: Mapping[str, Gram]) -> dict[str, Gram]:
    """Return the Gram matrices by scope: `all`, and `language_model`."""
    return {scope: total(grams, names) for scope, names in scopes(grams).items() if names}


@dataclass(frozen=True)
class Readings:
    """Norms of `OBJECTIVES`, and `ANGLES` in degrees, by scope and by parameter group."""

    norms: Mapping[str, Mapping[str, float]]
    angles_deg: Mapping[str, Mapping[str, float]]
    group_norms: Mapping[str, Mapping[str, float]]
    group_angles_deg: Mapping[str, Mapping[str, float]]


def readings(grams: Mapping[str, Gram]) -> Readings:
    """Return what a journal's geometry line holds of Gram matrices by parameter group."""
    whole = over_scopes(grams)
    return Readings(
        norms={scope: named_norms(gram) for scope, gram in whole.items()},
        angles_deg={scope: named_angles(gram) for scope, gram in whole.items()},
        group_norms={name: named_norms(gram) for name, gram in grams.items()},
        group_angles_deg={name: named_angles(gram) for name, gram in grams.items()},
    )


def named_norms(gram: Gram) -> dict[str, float]:
    """Return the lengths of the gradients under the objectives' names."""
    return {name: float(gram.norm(name)) for name in OBJECTIVES}


def named_angles(gram: Gram) -> dict[str, float]:
    """Return the angles under the names that measurement records give them, in degrees."""
    return {name: float(gram.angle_deg(*pair)) for name, pair in ANGLES.items()}


def _at_heads(student: HiddenViews, teacher: HiddenViews, weights: Tensor) -> dict[str, LMHeadGradients]:
    """The gradients of each of `BASIS`, weighed, in what the student's head is applied to and in the head itself."""
    views = {objective: "image" if objective in IMAGE else "text" for objective in BASIS}
    at_heads = {o: LMHeadGradients(student.head, **{view: getattr(student, view)}) for o, view in views.items()}
    with torch.no_grad():
        for rows in chunks(len(weights), student.head.n_ids):
            logits = FourViews(*student.logits(rows), *teacher.logits(rows))
            seeds, of_view = cotangents(logits), {"image": logits.student_image, "text": logits.student_text}
            for objective, view in views.items():
                seed = weights[rows, None] * getattr(seeds, objective)
                at_heads[objective].add(view, rows, student.head.before_cap(seed, of_view[view]))
    return at_heads
