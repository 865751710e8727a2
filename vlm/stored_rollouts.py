"""Responses that are there already, from a file or from memory, as rollouts.

A row has `prompt_id`, and either `token_ids` or the `response` as text. Text is read with the model's tokenizer and
ended by its end token; ids are taken as they are. A file has one row as a JSON object per line.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli.errors import OptionError
from vlm.checkpoint import LoadedModel
from vlm.rollouts import Rollout

Row = Rollout | Mapping[str, Any]


def read_rollouts(
    source: str | Path | Sequence[Row], prompt_ids: Collection[str], loaded: LoadedModel, n_ids: int
) -> list[Rollout]:
    """Return the responses to the prompts of these ids, in the order of the prompts; others are left out.

    Args:
        source: a .jsonl file, or rows.
        loaded: the model whose tokenizer reads text.
        n_ids: token ids must lie below it.

    Raises:
        OptionError: a row cannot be read, or there is no response to any of the prompts; row and prompt are named.
    """
    stored: dict[str, list[Rollout]] = {}
    for rollout in rollouts_of(source, loaded, n_ids):
        stored.setdefault(rollout.prompt_id, []).append(rollout)
    kept = [rollout for prompt_id in prompt_ids for rollout in stored.get(prompt_id, ())]
    if not kept:
        first = next(iter(prompt_ids), "")
        raise OptionError(
            f"`rollouts` must hold a response to one of the prompts, such as {first!r}; check `prompt_id`"
        )
    return kept


def rollouts_of(
    source: str | Path | Sequence[Row], loaded: LoadedModel, n_ids: int, longest: int | None = None
) -> Iterator[Rollout]:
    """Yield each response; one to a prompt is numbered by its place among those to it.

    longest: tokens after which a response is cut.

    Raises:
        OptionError: the file does not exist, or a row cannot be read.
    """
    counts: dict[str, int] = {}
    for where, row in _rows(source):
        rollout = row if isinstance(row, Rollout) else _rollout(row, where, loaded, longest)
        _refuse_ids(rollout, where, loaded, n_ids)
        index = counts[rollout.prompt_id] = counts.get(rollout.prompt_id, -1) + 1
        yield replace(rollout, index=index)


def _rows(source: str | Path | Sequence[Row]) -> Iterable[tuple[str, Row]]:
    if not isinstance(source, (str, Path, Sequence)):
        raise OptionError(f"`rollouts` must be a .jsonl file or a list of rows, got {type(source).__name__}")
    if not isinstance(source, (str, Path)):
        return ((f"`rollouts`, row {number}", row) for number, row in enumerate(source))
    path = Path(source)
    if not path.is_file():
        raise OptionError(f"`rollouts` names the file {path}, which does not exist: check the path")
    return _lines(path)


def _lines(path: Path) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        where = f"`rollouts`: {path}, line {number}"
        if line.strip():
            try:
                yield where, json.loads(line)
            except ValueError:
                raise OptionError(f"{where} must be a JSON object with `prompt_id`: mend it") from None


def _rollout(row: Mapping[str, Any], where: str, loaded: LoadedModel, longest: int | None) -> Rollout:
    """Return what a row says, cut at `longest` tokens."""
    try:
        prompt_id, ids, text = str(row["prompt_id"]), row.get("token_ids"), row.get("response")
    except (KeyError, TypeError, AttributeError):
        raise OptionError(f"{where} must be a JSON object with `prompt_id`: mend it") from None
    tokenizer = loaded.processor.tokenizer
    if ids is None and isinstance(text, str):
        ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    kept = tuple(ids[:longest]) if isinstance(ids, (list, tuple)) else ()
    ended = bool(kept) and kept[-1] in loaded.end_ids
    words = tokenizer.decode([i for i in kept[: len(kept) - ended] if type(i) is int], skip_special_tokens=False)
    return Rollout(prompt_id, 0, kept, words, truncated=not ended)


def _refuse_ids(rollout: Rollout, where: str, loaded: LoadedModel, n_ids: int) -> None:
    """No model could have given these ids, or a view would read them as a picture."""
    where, ids = f"{where}, prompt {rollout.prompt_id!r},", rollout.token_ids
    if not ids or not all(type(i) is int and 0 <= i < n_ids for i in ids):
        raise OptionError(f"{where} must have a text `response`, or `token_ids` below {n_ids}: mend it")
    if pictured := sorted(set(ids) & set(loaded.visual_ids)):
        token = loaded.processor.tokenizer.convert_ids_to_tokens(pictured[0])
        raise OptionError(f"{where} holds {token!r}, which stands for a picture: leave the response out")
