"""Responses from a file, to be trained on as they are (arXiv:2606.00564, Eq. 1).

Each line is a JSON object: `prompt_id`, and either `token_ids` or the `response` as text. Text is read with the pair's
tokenizer and ended by its end token; ids are taken as they are. The first `rollouts_per_prompt` responses to each
prompt are used, cut at `max_response`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.errors import OptionError
from train.config import Config
from train.rollouts import Response
from vlm.checkpoint import LoadedModel
from vlm.names import DrawPrompts
from vlm.pair import Pair
from vlm.prompts import Prompt
from vlm.rollouts import Rollout
from vlm.views import text_views


def read_offline_rollouts(
    config: Config, prompts: Sequence[Prompt] | DrawPrompts, pair: Pair
) -> dict[str, list[Rollout]]:
    """Read the file that `config.rollouts` names: `rollouts_per_prompt` responses to each of the prompts.

    Raises:
        OptionError: a line that cannot be read, or too few responses to a prompt; line and prompt are named.
    """
    path = Path(str(config.rollouts))
    if callable(prompts):
        raise OptionError("`rollouts` needs `prompts` that stay the same: each step draws new bundled ones")
    if not path.is_file():
        raise OptionError(f"`rollouts` names the file {path}, which does not exist: check the path")
    responses: dict[str, list[Rollout]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            prompt_id, ids = _row(line, f"`rollouts`: {path}, line {number}", pair)
            listed = responses.setdefault(prompt_id, [])
            listed.append(_rollout(prompt_id, len(listed), ids, pair.teacher, config.max_response))
    _refuse_too_few(responses, prompts, config.group_size)
    return responses


def responses_to(
    prompts: Sequence[Prompt], offline: Mapping[str, Sequence[Rollout]], config: Config, part: tuple[int, int]
) -> list[Response]:
    """Return the responses of a file to `prompts`, as `rollouts.sample` does; part: rank and number of processes."""
    texts = text_views(prompts, config.text_view)
    mine = list(zip(prompts, texts, strict=True))[part[0] :: part[1]]
    return [Response(p, text, r) for p, text in mine for r in offline[p.prompt_id][: config.group_size]]


def _row(line: str, where: str, pair: Pair) -> tuple[str, list[int]]:
    """Return the prompt id and the token ids of a line."""
    try:
        row: Any = json.loads(line)
        prompt_id, ids, text = str(row["prompt_id"]), row.get("token_ids"), row.get("response")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OptionError(f"{where} must be a JSON object with `prompt_id`: mend it") from None
    where = f"{where}, prompt {prompt_id!r},"
    tokenizer = pair.teacher.processor.tokenizer
    if ids is None and isinstance(text, str):
        ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    if not isinstance(ids, list) or not ids or not all(type(i) is int and 0 <= i < pair.n_ids for i in ids):
        raise OptionError(f"{where} must have a text `response`, or `token_ids` below {pair.n_ids}: mend it")
    if pictured := sorted(set(ids) & set(pair.teacher.visual_ids)):
        token = tokenizer.convert_ids_to_tokens(pictured[0])
        raise OptionError(f"{where} holds {token!r}, which stands for a picture: leave the response out")
    return prompt_id, ids


def _rollout(prompt_id: str, index: int, ids: Sequence[int], teacher: LoadedModel, longest: int) -> Rollout:
    kept = tuple(ids[:longest])
    ended = kept[-1] in teacher.end_ids
    text = teacher.processor.tokenizer.decode(kept[:-1] if ended else kept, skip_special_tokens=False)
    return Rollout(prompt_id, index, kept, text, truncated=not ended)


def _refuse_too_few(responses: Mapping[str, Sequence[Rollout]], prompts: Sequence[Prompt], each: int) -> None:
    lacking = [prompt.prompt_id for prompt in prompts if len(responses.get(prompt.prompt_id, ())) < each]
    if lacking:
        raise OptionError(
            f"`rollouts` must hold {each} responses to each prompt, but has fewer for {len(lacking)} of {len(prompts)},"
            f" the first {lacking[0]!r}: leave them out of `prompts`, or lower `rollouts_per_prompt`"
        )
