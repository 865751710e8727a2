"""Responses that are there already, from a file or from memory, as rollouts.

A file is JSON lines or parquet, as vLLM, verl or TRL leave it: one row per response.
`vlm.responses.stored_rows.COLUMNS` has the columns that are read; others are named. A row names its prompt by
`prompt_id`, or by `prompt`, its text or messages. Ids are taken as they are. Text is read with the student's tokenizer
and ended by its end token.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cli.errors import OptionError
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.prompts.prompt import Prompt
from vlm.responses.prompt_index import PromptIndex
from vlm.responses.rollouts import Rollout
from vlm.responses.stored_rows import NAMES, Row, Source, existing, log_probs_of, reward_of, rows_of, said_by, short


@dataclass(frozen=True)
class Stored:
    """A response, and what its row states of it."""

    rollout: Rollout
    log_probs: tuple[float, ...] | None = None
    """Of each token, as whoever sampled it states them; nats."""
    reward: float | None = None
    is_text: bool = False
    """Whether the ids are those of a text that was tokenized here."""
    is_cut: bool = False
    """Whether it was longer than asked for."""


@dataclass(frozen=True)
class StoredRollouts:
    """The responses of a source to some prompts, in the order of the prompts.

    left_out: number of responses to other prompts.
    first_left_out: where the first of them stands.
    ignored: columns that are not read.
    """

    responses: Sequence[Stored]
    left_out: int
    first_left_out: str
    ignored: tuple[str, ...]

    @property
    def rollouts(self) -> list[Rollout]:
        """The responses alone."""
        return [stored.rollout for stored in self.responses]

    @property
    def with_ids(self) -> list[Rollout]:
        """Those whose ids are stated, which show whether a response has ended; text is always ended here."""
        return [stored.rollout for stored in self.responses if not stored.is_text]

    def numbers(self) -> dict[str, Any]:
        """Return how the source was read, for a record."""
        rewards = [stored.reward for stored in self.responses if stored.reward is not None]
        return {
            "responses": len(self.responses),
            "tokenized_here": sum(stored.is_text for stored in self.responses),
            "left_out": self.left_out,
            "ignored_columns": list(self.ignored),
            "mean_reward": sum(rewards) / len(rewards) if rewards else None,
        }

    @property
    def notes(self) -> list[str]:
        """What a user should know of how the source was read, a line each."""
        n, lines = len(self.responses), []
        if n_text := sum(stored.is_text for stored in self.responses):
            lines.append(
                f"{n_text} of {n} responses are text, read with the student's tokenizer: the ids that were sampled may"
                " have been others"
            )
        if n_cut := sum(stored.is_cut for stored in self.responses):
            lines.append(f"{n_cut} of {n} responses are cut at `max_response`")
        if self.left_out:
            lines.append(f"{self.left_out} rows are left out, whose prompts are not used: {self.first_left_out}")
        if self.ignored:
            lines.append(f"columns that are not read: {', '.join(self.ignored)}")
        return [f"`rollouts`: {line}" for line in lines]


def read_stored(
    source: Source, prompts: Iterable[Prompt], loaded: LoadedModel, n_ids: int, longest: int | None = None
) -> StoredRollouts:
    """Return the responses to these prompts; those to one prompt are numbered in the order of their rows.

    Args:
        source: a .jsonl or .parquet file, or rows.
        loaded: the model whose tokenizer reads text.
        n_ids: token ids must lie below it.
        longest: tokens after which a response is cut.

    Raises:
        OptionError: a row cannot be read, or there is no response to any of the prompts; row and prompt are named.
    """
    reader = _Reader(list(prompts), loaded, n_ids, longest)
    by_prompt: dict[str, list[Stored]] = {prompt_id: [] for prompt_id in reader.prompt_ids}
    strangers: list[str] = []
    ignored: dict[str, None] = {}  # in their order
    for where, row in rows_of(source):
        prompt_id, stored = reader.read(where, row)
        if isinstance(row, Mapping):
            ignored |= dict.fromkeys(str(name) for name in row if name not in NAMES)
        if prompt_id is None or prompt_id not in by_prompt:
            strangers.append(where if prompt_id is None else f"{where}, prompt {prompt_id!r}")
        else:
            same = by_prompt[prompt_id]
            same.append(replace(stored, rollout=replace(stored.rollout, prompt_id=prompt_id, index=len(same))))
    kept = [stored for same in by_prompt.values() for stored in same]
    if not kept:
        first = next(iter(by_prompt), "")
        raise OptionError(
            f"`rollouts` must hold a response to one of the prompts, such as {first!r}, got {len(strangers)} to others;"
            " check `prompt_id` or `prompt`"
        )
    return StoredRollouts(kept, len(strangers), next(iter(strangers), ""), tuple(ignored))


def file_fingerprint(path: str | Path) -> str:
    """Return the name of a file and the sha256 (16 hex digits) over its bytes.

    Raises:
        OptionError: the file does not exist.
    """
    return f"{Path(path).name} {hashlib.sha256(existing(path).read_bytes()).hexdigest()[:16]}"


class _Reader:
    """Reads rows as responses to some prompts."""

    def __init__(self, prompts: Sequence[Prompt], loaded: LoadedModel, n_ids: int, longest: int | None) -> None:
        self._prompts, self._loaded, self._n_ids, self._longest = prompts, loaded, n_ids, longest
        self.prompt_ids = {prompt.prompt_id: None for prompt in prompts}  # in their order

    @cached_property
    def _index(self) -> PromptIndex:
        return PromptIndex(self._prompts, self._loaded.processor)

    def read(self, where: str, row: Row) -> tuple[str | None, Stored]:
        """Return the id of a row's prompt, None for a prompt that is not known, and the response.

        Raises:
            OptionError: the row is no response of the model.
        """
        if isinstance(row, Rollout):
            self._refuse_ids(f"{where}, prompt {row.prompt_id!r},", row.token_ids)
            return row.prompt_id, Stored(row)
        said = said_by(row, where)
        prompt_id = self._prompt_id(said, where)
        return prompt_id, self._stored(said, where if prompt_id is None else f"{where}, prompt {prompt_id!r},")

    def _prompt_id(self, said: Mapping[str, Any], where: str) -> str | None:
        """The id that a row gives, or that of the one prompt that it quotes; both must agree."""
        named, asked = said.get("prompt_id"), said.get("prompt")
        if named is None and asked is None:
            raise OptionError(
                f"{where} must be a JSON object with `prompt_id` or `prompt`: rename the column that says it"
            )
        if named is not None and (isinstance(named, bool) or not isinstance(named, (str, int))):
            raise OptionError(f"{where}: `prompt_id` must be text or a whole number, got {named!r}: mend it")
        if asked is None or (named is not None and str(named) not in self.prompt_ids):
            return str(named)
        try:
            ids = self._index.matches(asked)
        except TypeError as error:
            raise OptionError(f"{where}: `prompt` must be {error}, got {short(asked)}: mend it") from None
        if named is not None and str(named) not in ids:
            raise OptionError(
                f"{where}, prompt {str(named)!r}, quotes another `prompt`, {short(asked)}: mend one of the two columns,"
                " or leave `prompt` out"
            )
        if named is None and len(ids) > 1:
            raise OptionError(
                f"{where}: `prompt` is that of {len(ids)} prompts, such as {ids[0]!r} and {ids[1]!r}: give `prompt_id`"
            )
        return str(named) if named is not None else next(iter(ids), None)

    def _stored(self, said: Mapping[str, Any], where: str) -> Stored:
        stated_ids, text = said.get("ids"), said.get("text")
        ids = self._tokenized(text, where) if stated_ids is None else stated_ids
        if not isinstance(ids, (list, tuple)):
            raise OptionError(f"{where} must have a text `response`, or `response_ids` below {self._n_ids}: mend it")
        self._refuse_ids(where, ids)
        log_probs = log_probs_of(said.get("log_probs"), len(ids), where, is_text=stated_ids is None)
        end = self._end(ids, where)
        kept = tuple(ids[: end if self._longest is None else min(end, self._longest)])
        ended = kept[-1] in self._loaded.end_ids
        words = self._loaded.processor.tokenizer.decode(kept[: len(kept) - ended], skip_special_tokens=False)
        return Stored(
            Rollout("", 0, kept, words, truncated=not ended),
            None if log_probs is None else log_probs[: len(kept)],
            reward_of(said.get("reward"), where),
            is_text=stated_ids is None,
            is_cut=len(kept) < end,
        )

    def _tokenized(self, text: Any, where: str) -> list[int] | None:
        """The ids of a text, ended; None if it is none."""
        if isinstance(text, (list, tuple)) and len(text) == 1 and isinstance(text[0], Mapping):  # one assistant's turn
            text = text[0].get("content")
        if not isinstance(text, str):
            return None
        if re.search("[\ud800-\udfff]", text):
            raise OptionError(f"{where} has a `response` with half of a character: mend its encoding")
        if not text:
            raise OptionError(f"{where} has an empty `response`: leave it out, or give its `response_ids`")
        tokenizer = self._loaded.processor.tokenizer
        ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        unknown = getattr(tokenizer, "unk_token_id", None)
        if unknown is not None and unknown in ids and str(tokenizer.unk_token) not in text:
            raise OptionError(f"{where} has a text that the student's tokenizer cannot spell: give its `response_ids`")
        return ids if ids and ids[-1] in self._loaded.end_ids else [*ids, tokenizer.eos_token_id]

    def _end(self, ids: Sequence[int], where: str) -> int:
        """The length of a response up to its end token; nothing but padding may stand behind that."""
        ends = set(self._loaded.end_ids)
        end = next((place + 1 for place, token in enumerate(ids) if token in ends), len(ids))
        if behind := set(ids[end:]) - ends - {self._loaded.processor.tokenizer.pad_token_id}:
            token = self._loaded.processor.tokenizer.convert_ids_to_tokens(min(behind))
            raise OptionError(f"{where} goes on behind its end token, with {token!r}: cut it there")
        if end == len(ids) > 2 and {*ids[-2:]} == {self._loaded.processor.tokenizer.pad_token_id} - ends:
            raise OptionError(f"{where} ends in padding without an end token: cut the padding off")
        return end

    def _refuse_ids(self, where: str, ids: Sequence[Any]) -> None:
        """No model could have given these ids, or a view would read them as a picture."""
        if not ids or not all(type(i) is int and 0 <= i < self._n_ids for i in ids):
            wrong = next((i for i in ids if type(i) is not int or not 0 <= i < self._n_ids), "none")
            raise OptionError(
                f"{where} must have a text `response`, or `response_ids` below {self._n_ids}, got {wrong!r}: mend it"
            )
        if pictured := sorted(set(ids) & set(self._loaded.visual_ids)):
            token = self._loaded.processor.tokenizer.convert_ids_to_tokens(pictured[0])
            raise OptionError(f"{where} holds {token!r}, which stands for a picture: leave the response out")
