"""The responses of a step and their views, cut into micro-batches.

Responses are sampled, or read from a file and trained on as they are: the first `rollouts_per_prompt` to each prompt,
cut at `max_response`. Whatever the objective, training on a file is off-policy (arXiv:2606.00564, Eq. 1): the prefixes
stay those of whoever sampled them while the student changes.
"""

from collections.abc import Mapping, Sequence
from functools import cache

from cli.errors import OptionError
from cli.visible import print_err
from train.config import Config
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.checkpoints.pair import Pair
from vlm.names import DrawPrompts
from vlm.prompts.prompt import Prompt
from vlm.responses.halving import Batches
from vlm.responses.on_policy import agreement
from vlm.responses.response import Response
from vlm.responses.rollouts import Rollout, Sampling, generate
from vlm.responses.stored_rollouts import Stored, read_stored
from vlm.responses.truncation import truncation
from vlm.views.view import image_view, text_views

COMPARED = 64
"""Responses of a file that are compared with what the student says of them."""


MicroBatch = Sequence[Response]


def sample(
    speaker: LoadedModel, config: Config, prompts: Sequence[Prompt], seed: int, part: tuple[int, int] = (0, 1)
) -> list[Response]:
    """Sample the speaker's responses to `prompts`.

    part: rank and number of processes; each takes its share of the prompts. A response does not depend on it.
    """
    texts = dict(zip((prompt.prompt_id for prompt in prompts), text_views(prompts, config.text_view), strict=True))
    mine = {prompt.prompt_id: prompt for prompt in prompts[part[0] :: part[1]]}
    rollouts = sampled_rollouts(speaker, config, list(mine.values()), seed)
    return [Response(mine[r.prompt_id], texts[r.prompt_id], r) for r in rollouts]


def sampled_rollouts(speaker: LoadedModel, config: Config, prompts: Sequence[Prompt], seed: int) -> list[Rollout]:
    """Sample the speaker's responses to `prompts`, without their views."""
    sampling = Sampling(
        config.longest_response, config.group_size, seed, batch=config.generation_batch, top_p=config.top_p
    )
    return generate(speaker, prompts, sampling, batches=generation_batches(config.generation_batch))


@cache
def generation_batches(size: int) -> Batches:
    """Return how many responses are sampled together; fewer, until the process ends, from where memory runs out."""
    return Batches(size, "generation_batch")


def cut(responses: Sequence[Response], size: int) -> list[MicroBatch]:
    """Cut responses into micro-batches, in order."""
    return [responses[start : start + size] for start in range(0, len(responses), size)]


def read_offline_rollouts(
    config: Config, prompts: Sequence[Prompt] | DrawPrompts, pair: Pair, *, speak: bool = True
) -> dict[str, list[Rollout]]:
    """Read the file that `config.rollouts` names: `rollouts_per_prompt` responses to each of the prompts.

    speak: whether to say on stderr how they were read, and how on-policy the first of them are for the student.

    Raises:
        OptionError: a row that cannot be read, or too few responses to a prompt; row and prompt are named.
        TruncatedError: nearly all responses have no end token.
    """
    if callable(prompts):
        raise OptionError("`rollouts` needs `prompts` that stay the same: each step draws new bundled ones")
    stored = read_stored(str(config.rollouts), prompts, pair.student, pair.n_ids, config.longest_response)
    responses: dict[str, list[Rollout]] = {}
    for rollout in stored.rollouts:
        responses.setdefault(rollout.prompt_id, []).append(rollout)
    _refuse_too_few(responses, prompts, config.group_size)
    cut_short = truncation(stored.with_ids)
    if speak or cut_short.is_refused:
        cut_short.settle(allowed=config.allow_truncated)
    for note in (*stored.notes, _comparison(config, prompts, pair, stored.responses)) if speak else ():
        print_err(f"note: {note}")
    return responses


def _comparison(config: Config, prompts: Sequence[Prompt], pair: Pair, stored: Sequence[Stored]) -> str:
    """Say how on-policy the first responses are, before the student has changed."""
    first, by_id = stored[:COMPARED], {prompt.prompt_id: prompt for prompt in prompts}
    views = [image_view(by_id[one.rollout.prompt_id]) for one in first]
    shares = agreement(pair.student, views, first, pair.n_ids, Batches(config.micro_batch, "micro_batch"))
    return f"`rollouts`: '{config.objective}' is trained off-policy; the first {len(first)} responses are {shares}"


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
