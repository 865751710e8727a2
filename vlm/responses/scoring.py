"""The four views of a response: student and teacher, with and without the picture, at the response's tokens.

A forward pass gives the hidden states of a batch, `4 d` bytes a token, view and model in float32. Logits, `4 V` bytes,
are made of these for the tokens that are asked for, and only while these are read. A model whose logits are no linear
map of its hidden states is run again, a response at a time, for each set of tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from weakref import WeakSet

import torch
from torch import Tensor, nn

from geometry import FourViews, LMHead
from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.checkpoints.pair import Pair
from vlm.responses.finite import refuse_logits, whose
from vlm.responses.halving import Batches
from vlm.responses.output_layer import head_of
from vlm.responses.passes import Positions, logits_at, response_hidden, response_logits
from vlm.responses.picture_features import PictureFeatures
from vlm.responses.rollouts import Rollout
from vlm.views.view import Encoded, View, encode, per_token, together

Rows = slice | Tensor
"""Which tokens of a response: a slice, or ascending positions."""

LEAST_ROWS = 16
"""Fewest rows of a product with a head: products of fewer are rounded otherwise, on processors."""

_WHOLE: WeakSet[nn.Module] = WeakSet()
"""Models that were seen to make logits which are no linear map of their hidden states."""


@dataclass(frozen=True)
class ResponseLogits:
    """One model's logits of a response, made for some tokens at a time.

    image, text: make the logits `[n, V]` under each view; the same function for a prompt without a picture.
    owner: whose logits these are, for messages.
    device: where they are handed to; None for where they are made.
    """

    image: Callable[[Rows], Tensor]
    text: Callable[[Rows], Tensor]
    owner: str
    device: torch.device | None = None

    @torch.no_grad()
    def logits(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the logits of some tokens under the image and the text view: one tensor where the views are the same.

        Raises:
            NotFiniteError: the logits of a token are not finite.
        """
        image = self.image(rows).to(self.device)
        refuse_logits(image, self.owner)
        if self.text is self.image:
            return image, image
        text = self.text(rows).to(self.device)
        refuse_logits(text, self.owner)
        return image, text


def score(
    pair: Pair,
    views: Sequence[tuple[View, View]],
    rollouts: Sequence[Rollout],
    *,
    batch: int | Batches = 32,
    positions: Positions | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[FourViews]:
    """Yield the four views of each rollout, in order; the logits of one response are held at a time.

    Logits `[T, V]` are over the ids both tokenizers hold; ids that stand for pictures have -inf, since sampling never
    draws them. For a prompt without a picture the text view *is* the image view: the same tensor.

    Args:
        views: the image view and the text view of each rollout's prompt.
        batch: rollouts in a forward pass, cut by order; at one number of threads the same call gives the same bits.
        positions: the tokens whose logits are made; all by default. See `token_scores` for what is read off all.

    Raises:
        NotFiniteError: the logits of a token are not finite.
        TooLargeError: a batch of one does not fit into memory.
    """

    def run(part: slice) -> list[tuple[ResponseLogits, ResponseLogits]]:
        responses = [rollout.token_ids for rollout in rollouts[part]]
        student, teacher = (response_views(loaded, views[part], responses, pair.n_ids) for loaded in pair.models)
        return list(zip(student, teacher, strict=True))

    batches = batch if isinstance(batch, Batches) else Batches(batch, "batch")
    for part, both in batches.over(len(rollouts), run):
        for row, (student, teacher) in enumerate(both, part.start):
            rows = slice(None) if positions is None else positions[row]
            yield FourViews(*student.logits(rows), *teacher.logits(rows))
        progress(part.stop)


def logit_pairs(
    loaded: LoadedModel,
    views: Sequence[tuple[View, View]],
    responses: Sequence[Sequence[int]],
    n_ids: int,
    positions: Positions | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Return one model's logits of each response under its image view and its text view, without a graph.

    Raises:
        NotFiniteError: the logits of a token are not finite.
    """
    numbered = enumerate(response_views(loaded, views, responses, n_ids))
    return [response.logits(slice(None) if positions is None else positions[row]) for row, response in numbered]


@torch.no_grad()
def response_views(
    loaded: LoadedModel, views: Sequence[tuple[View, View]], responses: Sequence[Sequence[int]], n_ids: int
) -> list[ResponseLogits]:
    """Return what makes one model's logits of each response under its image view and its text view."""
    images = logit_makers(loaded, [image for image, _ in views], responses, n_ids)
    rows = [row for row, (image, text) in enumerate(views) if image != text]
    texts = logit_makers(loaded, [views[row][1] for row in rows], [responses[row] for row in rows], n_ids)
    by_row = dict(zip(rows, texts, strict=True))
    about = whose(loaded), loaded.hands_to
    return [ResponseLogits(image, by_row.get(row, image), *about) for row, image in enumerate(images)]


@torch.no_grad()
def logit_makers(
    loaded: LoadedModel, views: Sequence[View], responses: Sequence[Sequence[int]], n_ids: int
) -> list[Callable[[Rows], Tensor]]:
    """Return for each response what makes its logits `[n, V]` at some tokens; call it without gradients."""
    if loaded.model not in _WHOLE and not loaded.is_spread:
        try:
            hidden = view_hidden(loaded, views, responses)
            head = head_of(loaded, n_ids)
        except CheckpointError:
            _WHOLE.add(loaded.model)
        else:
            return [partial(_of_hidden, head, states) for states in hidden]
    return [
        partial(_of_response, ResponseView(loaded, view, response, n_ids), len(response))
        for view, response in zip(views, responses, strict=True)
    ]


def _of_hidden(head: LMHead, hidden: Tensor, rows: Rows) -> Tensor:
    """The logits of some tokens, to the last bit those that the product with all tokens of a short response gives."""
    some = hidden[rows]
    more = some.new_zeros(max(LEAST_ROWS - len(some), 0), some.shape[1])
    return head.logits(torch.cat([some, more]) if len(more) else some)[: len(some)]


def _of_response(view: "ResponseView", n_tokens: int, rows: Rows) -> Tensor:
    return view(torch.arange(n_tokens)[rows])


def view_logits(
    loaded: LoadedModel,
    views: Sequence[View],
    responses: Sequence[Sequence[int]],
    n_ids: int,
    positions: Positions | None = None,
) -> list[Tensor]:
    """Return the logits `[T, V]` of each response under its view, differentiable where gradients are enabled.

    Ids below `n_ids` alone, -inf at those that stand for pictures: the ids that sampling draws from.

    positions: the tokens whose logits are made; all by default.
    """
    return encoded_logits(loaded, encoded_views(loaded, views, responses), n_ids, positions)


Passes = Sequence[tuple[Sequence[int], Encoded]]
"""Inputs of forward passes, and which of the views are in each."""


def encoded_views(loaded: LoadedModel, views: Sequence[View], responses: Sequence[Sequence[int]]) -> Passes:
    """Return the inputs of one forward pass, or of one for each number of pictures where these cannot be mixed."""
    batches = []
    for rows in together(views, loaded.mixes_views):
        encoded = encode([views[r] for r in rows], [responses[r] for r in rows], loaded.processor, loaded.visual_ids)
        batches.append((rows, encoded.to(loaded.device, loaded.dtype)))
    return batches


def encoded_logits(loaded: LoadedModel, passes: Passes, n_ids: int, positions: Positions | None = None) -> list[Tensor]:
    """Return what `view_logits` does, from inputs made before: no processor runs."""
    masked = _pictured(loaded, n_ids)
    by_row: dict[int, Tensor] = {}
    for rows, encoded in passes:
        at = None if positions is None else [positions[row] for row in rows]
        by_row |= zip(rows, response_logits(loaded, encoded, n_ids, at), strict=True)
    return [by_row[row].masked_fill(masked, -torch.inf) for row in sorted(by_row)]


def view_hidden(
    loaded: LoadedModel,
    views: Sequence[View],
    responses: Sequence[Sequence[int]],
    features: PictureFeatures | None = None,
) -> list[Tensor]:
    """Return the hidden states `[T, d]` of each response under its view: `head_of(...)` of them is `view_logits`.

    Differentiable where gradients are enabled. The logits of the response are never made.

    features: what the model's vision tower made of pictures before, to be used again where it can be.

    Raises:
        CheckpointError: the model's logits are not one linear map of these.
    """
    passes = encoded_views(loaded, views, responses)
    if features is not None:
        passes = [(rows, features.handed([views[row] for row in rows], encoded)) for rows, encoded in passes]
    return encoded_hidden(loaded, passes)


def encoded_hidden(loaded: LoadedModel, passes: Passes) -> list[Tensor]:
    """Return what `view_hidden` does, from inputs made before: no processor runs."""
    by_row: dict[int, Tensor] = {}
    for rows, encoded in passes:
        by_row |= zip(rows, response_hidden(loaded, encoded), strict=True)
    return [by_row[row] for row in sorted(by_row)]


class ResponseView:
    """One response under one view, encoded once and run as often and as far as asked."""

    def __init__(self, loaded: LoadedModel, view: View, response: Sequence[int], n_ids: int) -> None:
        self._loaded, self._n_ids = loaded, n_ids
        ((_, self._encoded),) = encoded_views(loaded, [view], [response])
        self._masked = _pictured(loaded, n_ids)

    def __call__(self, positions: Tensor) -> Tensor:
        """Return the logits `[n, V]` at ascending positions of the response, as `view_logits` does, float32 or better.

        Nothing is run behind the last position.
        """
        (first,) = self._encoded.first
        stop = first + int(positions[-1]) + 1
        shape = self._encoded.inputs["input_ids"].shape
        inputs = {k: v[:, :stop] if per_token(v, shape) else v for k, v in self._encoded.inputs.items()}
        logits = logits_at(self._loaded, inputs, first + positions.to(self._loaded.device))
        logits = logits[0, :, : self._n_ids].masked_fill(self._masked, -torch.inf)
        return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def _pictured(loaded: LoadedModel, n_ids: int) -> Tensor:
    """Which ids below `n_ids` stand for pictures."""
    masked = torch.zeros(n_ids, dtype=torch.bool, device=loaded.device)
    masked[[index for index in loaded.visual_ids if index < n_ids]] = True
    return masked


def training_refusal(loaded: LoadedModel, view: View, response: Sequence[int]) -> str:
    """Return why training cannot take this model's losses from hidden states; empty where it can."""
    try:
        view_hidden(loaded, [view], [response])
    except CheckpointError as error:
        return str(error)
    return ""
