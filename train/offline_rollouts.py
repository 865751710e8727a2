"""Responses from a file, to be trained on as they are (arXiv:2606.00564, Eq. 1).

Each line is a JSON object: `prompt_id`, and either `token_ids` or the `response` as text. Text is read with the pair's
tokenizer and ended by its end token; ids are taken as they are. The first `rollouts_per_prompt` responses to each
prompt are used, cut at `max_response`.
"""

from collections.abc import Mapping, Sequence

from cli.errors import OptionError
from train.config import Config
from train.rollouts import Response
from vlm.names import DrawPrompts
from vlm.pair import Pair
from vlm.prompts import Prompt
from vlm.rollouts import Rollout
from vlm.stored_rollouts import rollouts_of
from vlm.views import text_views


def read_offline_rollouts(
    config: Config, prompts: Sequence[Prompt] | DrawPrompts, pair: Pair
) -> dict[str, list[Rollout]]:
    """Read the file that `config.rollouts` names: `rollouts_per_prompt` responses to each of the prompts.

    Raises:
        OptionError: a line that cannot be read, or too few responses to a prompt; line and prompt are named.
    """
    if callable(prompts):
        raise OptionError("`rollouts` needs `prompts` that stay the same: each step draws new bundled ones")
    responses: dict[str, list[Rollout]] = {}
    for rollout in rollouts_of(str(config.rollouts), pair.teacher, pair.n_ids, config.max_response):
        responses.setdefault(rollout.prompt_id, []).append(rollout)
    _refuse_too_few(responses, prompts, config.group_size)
    return responses


def responses_to(
    prompts: Sequence[Prompt], offline: Mapping[str, Sequence[Rollout]], config: Config, part: tuple[int, int]
) -> list[Response]:
    """Return the responses of a file to `prompts`, as `rollouts.sample` does; part: rank and number of processes."""
    texts = text_views(prompts, config.text_view)
    mine = list(zip(prompts, texts, strict=True))[part[0] :: part[1]]
    return [Response(p, text, r) for p, text in mine for r in offline[p.prompt_id][: config.group_size]]


def _refuse_too_few(responses: Mapping[str, Sequence[Rollout]], prompts: Sequence[Prompt], each: int) -> None:
    lacking = [prompt.prompt_id for prompt in prompts if len(responses.get(prompt.prompt_id, ())) < each]
    if lacking:
        raise OptionError(
            f"`rollouts` must hold {each} responses to each prompt, but has fewer for {len(lacking)} of {len(prompts)},"
            f" the first {lacking[0]!r}: leave them out of `prompts`, or lower `rollouts_per_prompt`"
        )
