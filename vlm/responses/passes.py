"""One forward pass of a model on a batch of responses, and the rows of its result that belong to each."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.responses.output_layer import handed, output_layer
from vlm.views.view import Encoded

Positions = Sequence[Tensor]
"""For each response ascending positions of its tokens."""


def response_logits(
    loaded: LoadedModel, encoded: Encoded, n_ids: int, positions: Positions | None = None
) -> list[Tensor]:
    """Return each response's logits from one forward pass; the head runs on the columns that are kept alone."""
    if positions is None:
        return [logits[:, :n_ids] for logits in _spans(_kept_logits(loaded, encoded), encoded)]
    columns = [first + at.to(loaded.device) for first, at in zip(encoded.first, positions, strict=True)]
    kept = torch.cat(columns).unique()  # ascending
    logits = logits_at(loaded, encoded.inputs, kept)
    return [logits[row, torch.searchsorted(kept, at), :n_ids] for row, at in enumerate(columns)]


def response_hidden(loaded: LoadedModel, encoded: Encoded) -> list[Tensor]:
    """Return what the head is handed, in its precision; it runs on a few probes, to see that it is all there is.

    Raises:
        CheckpointError: as `head_of`.
    """
    columns = _columns(encoded)
    output = handed(loaded, lambda: _forward(loaded, encoded.inputs, columns))
    hidden = _cut(loaded, output, encoded.inputs, columns)
    return _spans(hidden.to(output_layer(loaded).weight.dtype), encoded)


def _kept_logits(loaded: LoadedModel, encoded: Encoded) -> Tensor:
    """The model's logits from the first response column on."""
    return logits_at(loaded, encoded.inputs, _columns(encoded))


def _columns(encoded: Encoded) -> Tensor:
    """The columns from the first response's on; the last predicts nothing."""
    ids = encoded.inputs["input_ids"]
    return torch.arange(min(encoded.first), ids.shape[1] - 1, device=ids.device)


def logits_at(loaded: LoadedModel, inputs: Mapping[str, Tensor], columns: Tensor) -> Tensor:
    """The model's logits `[B, n, rows]` at ascending columns."""
    return _cut(loaded, _forward(loaded, inputs, columns), inputs, columns)


def _forward(loaded: LoadedModel, inputs: Mapping[str, Tensor], columns: Tensor) -> Tensor:
    """What one pass returns, asked for some columns: a model that cannot leave columns out returns all."""
    return loaded.model(**inputs, logits_to_keep=columns, use_cache=False).logits


def _cut(loaded: LoadedModel, rows: Tensor, inputs: Mapping[str, Tensor], columns: Tensor) -> Tensor:
    """Return these columns of what a model made of them, or of all.

    Raises:
        CheckpointError: there are neither these columns nor all.
    """
    every = inputs["input_ids"].shape[1]
    if rows.shape[1] == len(columns):
        return rows
    if rows.shape[1] == every:
        return rows[:, columns]
    raise CheckpointError(
        f"`checkpoint` {loaded.name} must make a row of logits for each token, got {rows.shape[1]} for {every};"
        " what predicts which token is not known, choose another model"
    )


def _spans(rows: Tensor, encoded: Encoded) -> list[Tensor]:
    """Cut `[B, columns, ...]` from the first response column on into each response's own rows."""
    begin, spans = min(encoded.first), zip(encoded.first, encoded.lengths, strict=True)
    return [rows[row, first - begin : first - begin + n] for row, (first, n) in enumerate(spans)]
