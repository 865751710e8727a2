"""Responses that are asked for again and again: each is run once, and held, where all fit into a bound of memory.

Held are the student's graphs of both views and the teacher's hidden states. Where these do not fit, a response is run
each time, only as far as the last token that is asked for. Which of the two is done depends on models and responses
alone: an interrupted run, or one of several processes, gets the same bits.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from geometry.gramian.backward import Forward
from vlm.checkpoints.pair import Pair
from vlm.responses.halving import Batches
from vlm.responses.scoring import ResponseLogits, ResponseView, response_views
from vlm.views.view import View

HELD_BYTES = 1 << 29
"""Of the graphs of both views of all responses that are held."""

Response = tuple[tuple[View, View], Sequence[int], Tensor]
"""The image view and the text view of a prompt, the ids of a response, and the positions that will be asked for."""


class HeldViews:
    """What makes the logits of responses, of student and teacher.

    Args:
        pair: student and teacher.
        responses: all that will be asked for, by number.
        batches: responses in a forward pass of the teacher.
    """

    def __init__(self, pair: Pair, responses: Mapping[int, Response], batches: Batches) -> None:
        self._pair, self._responses, self._batches = pair, responses, batches
        self._students: dict[int, tuple[Forward, Forward]] = {}
        self._teachers: dict[int, ResponseLogits] = {}
        self._are_held: bool | None = None

    @property
    def are_held(self) -> bool:
        """Whether all responses fit into `HELD_BYTES`, by the graphs of the longest."""
        if self._are_held is None:
            longest = max(self._responses, key=lambda number: len(self._responses[number][1]))
            self._are_held = self._graph_bytes(longest) * len(self._responses) <= HELD_BYTES
        return self._are_held

    def student(self, number: int) -> tuple[Forward, Forward]:
        """Return what runs the student on the image view and the text view of a response."""
        if number in self._students:
            return self._students[number]
        image, text = self._views(number)
        if not self.are_held:
            return image, text
        at = self._responses[number][2]
        self._students[number] = _Held(image, at), _Held(text, at)
        return self._students[number]

    def teacher(self, number: int) -> ResponseLogits | None:
        """Return what makes the teacher's logits of a response; None where they are not held.

        Raises:
            TooLargeError: a batch of one does not fit into memory.
        """
        if not self.are_held:
            return None
        if not self._teachers:
            numbers = list(self._responses)
            for part, logits in self._batches.over(len(numbers), lambda part: self.teacher_run(numbers[part])):
                self._teachers |= zip(numbers[part], logits, strict=True)
        return self._teachers[number]

    def teacher_run(self, numbers: Sequence[int]) -> list[ResponseLogits]:
        """Run the teacher on some responses as one batch; return what makes its logits of each."""
        views, ids, _ = zip(*(self._responses[number] for number in numbers), strict=True)
        return response_views(self._pair.teacher, views, ids, self._pair.n_ids)

    def _views(self, number: int) -> tuple[ResponseView, ResponseView]:
        pair, (views, ids, _) = self._pair, self._responses[number]
        image, text = (ResponseView(pair.student, view, ids, pair.n_ids) for view in views)
        return image, text

    def _graph_bytes(self, number: int) -> int:
        at, model = self._responses[number][2], self._pair.student.model
        return sum(graph_bytes(lambda view=view: view(at), model) for view in self._views(number))  # type: ignore[misc]


class _Held:
    """A view of a response, run when it is first asked for, at all positions that will be asked for."""

    def __init__(self, view: ResponseView, positions: Tensor) -> None:
        self._view, self._positions = view, positions
        self._logits: Tensor | None = None

    def __call__(self, positions: Tensor) -> Tensor:
        """Return the logits `[n, V]` at some of the positions, with their graph."""
        if self._logits is None:
            self._logits = self._view(self._positions)
        return self._logits[torch.searchsorted(self._positions, positions)]


def graph_bytes(run: Callable[[], Tensor], model: nn.Module) -> int:
    """Return the bytes that the graph of what `run` returns keeps besides the weights of a model."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(note, lambda tensor: tensor):
        logits = run()
    return sum(nbytes for place, nbytes in kept.items() if place not in weights) + logits.nbytes
