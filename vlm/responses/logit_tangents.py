"""Forward mode to the logits of both views and how fast they move, a chunk of tokens at a time.

Held are the hidden states of a batch and their derivatives, and the plain attention of one layer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from geometry import LMHead, push_forward
from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.responses.output_layer import head_of
from vlm.responses.scoring import encoded_hidden, encoded_logits, encoded_views
from vlm.views.view import View

Direction = Mapping[nn.Parameter, Tensor]


@dataclass(frozen=True)
class Moving:
    """Logits `[n, V]` of some tokens under a view, and their derivatives along a direction."""

    logits: Tensor
    tangents: Tensor


Maker = Callable[[slice], Moving]


def moving_views(
    loaded: LoadedModel,
    views: Sequence[tuple[View, View]],
    responses: Sequence[Sequence[int]],
    n_ids: int,
    direction: Direction,
) -> list[tuple[Maker, Maker]]:
    """Return for each response what makes the logits of some tokens and their derivatives, for image and text view.

    For a prompt without a picture the two are the same function.

    direction: of some parameters of the model; the others stand still.
    """
    images = _makers(loaded, [image for image, _ in views], responses, n_ids, direction)
    rows = [row for row, (image, text) in enumerate(views) if image != text]
    texts = _makers(loaded, [views[row][1] for row in rows], [responses[row] for row in rows], n_ids, direction)
    by_row = dict(zip(rows, texts, strict=True))
    return [(image, by_row.get(row, image)) for row, image in enumerate(images)]


def _makers(
    loaded: LoadedModel,
    views: Sequence[View],
    responses: Sequence[Sequence[int]],
    n_ids: int,
    direction: Direction,
) -> list[Maker]:
    if not views:
        return []
    passes = encoded_views(loaded, views, responses)  # processors cannot take part in forward mode
    try:
        head = head_of(loaded, n_ids)
        states, along = push_forward(loaded.model, lambda: encoded_hidden(loaded, passes), direction)
    except CheckpointError:  # not a linear map
        return [_Whole(loaded, *both, n_ids, direction) for both in zip(views, responses, strict=True)]
    return [_OfHidden(head, direction, h, dh) for h, dh in zip(states, along, strict=True)]


@dataclass(frozen=True)
class _OfHidden:
    head: LMHead
    direction: Direction
    states: Tensor
    along: Tensor

    @torch.no_grad()
    def __call__(self, rows: slice) -> Moving:
        head, states = self.head, self.states[rows]
        logits = head.logits(states)
        moved = linear(self.along[rows], head.weight[: head.n_ids])
        if (weight := self.direction.get(head.weight)) is not None:  # type: ignore[call-overload]
            moved += linear(states, weight[: head.n_ids].to(states))
        if head.bias is not None and (bias := self.direction.get(head.bias)) is not None:  # type: ignore[call-overload]
            moved += bias[: head.n_ids].to(states)
        return Moving(logits, head.before_cap(moved, logits))  # the map is applied to each logit by itself


@dataclass(frozen=True)
class _Whole:
    """Runs the model again for each chunk of tokens."""

    loaded: LoadedModel
    view: View
    response: Sequence[int]
    n_ids: int
    direction: Direction

    def __call__(self, rows: slice) -> Moving:
        passes = encoded_views(self.loaded, [self.view], [self.response])
        at = [torch.arange(len(self.response))[rows]]
        run = lambda: encoded_logits(self.loaded, passes, self.n_ids, at)  # noqa: E731
        [logits], [tangents] = push_forward(self.loaded.model, run, self.direction)
        return Moving(logits, tangents)
