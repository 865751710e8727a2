"""Which prompts of a source a run trains on: those that both models can read, before anything is sampled."""

from collections.abc import Sequence
from dataclasses import replace

from cli.errors import OptionError
from train.config import Config
from train.prompts import PromptSource
from vlm.fitting import check_views, fitting
from vlm.pair import Pair
from vlm.prompts import Prompt
from vlm.views import text_views


def fitting_source(source: PromptSource, pair: Pair, config: Config, *, is_heard: bool = True) -> PromptSource:
    """Return a source of prompts that have room for a full response in the context of both models.

    is_heard: say how many prompts were left out.

    Raises:
        PictureError, ViewError: a prompt cannot be read; its row is named.
        OptionError: fewer prompts are left than a batch has, or prompts that are drawn do not fit.
    """
    held_out = _that_fit(source.held_out, "held-out prompts", pair, config, is_heard)
    if callable(source.pool):
        drawn = source.at(0)
        if len(_that_fit(drawn, "prompts", pair, config, is_heard)) < len(drawn):
            raise OptionError("`max_prompt` and `max_response` must leave room for all prompts that are drawn")
        return replace(source, held_out=held_out)
    pool = _that_fit(source.pool, "prompts", pair, config, is_heard)
    if len(pool) < source.batch:
        raise OptionError(f"`batch` must be at most {len(pool)}, the prompts that fit, got {source.batch}")
    return replace(source, held_out=held_out, pool=pool)


def _that_fit(prompts: Sequence[Prompt], what: str, pair: Pair, config: Config, is_heard: bool) -> list[Prompt]:
    kept = fitting(pair.models, prompts, config.max_response, config, what=what)
    if is_heard:
        kept.say()
    check_views(pair.models, text_views(kept.prompts, config.text_view))
    return list(kept.prompts)
