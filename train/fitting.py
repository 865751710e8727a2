"""Which prompts of a source a run trains on: those that both models can read, before anything is sampled."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cli.errors import OptionError
from train.config import Config
from train.prompts import PromptSource
from vlm.checkpoints.pair import Pair
from vlm.prompts.prompt import Prompt
from vlm.responses.fitting import Fitting, check_views, fitting
from vlm.views.view import text_views


def fitting_source(source: PromptSource, pair: Pair, config: Config, *, is_heard: bool = True) -> PromptSource:
    """Return a source of prompts that have room for a full response in the context of both models.

    is_heard: say how many prompts were left out.

    Raises:
        PictureError, ViewError: a prompt cannot be read; its row is named.
        OptionError: fewer prompts are left than a batch has, or prompts that are drawn do not fit.
    """
    held_out = _that_fit(source.held_out, "held-out prompts", pair, config)
    if is_heard:
        held_out.say()
    if callable(source.pool):
        kept, n = _that_fit(source.at(0), "prompts", pair, config), source.batch
        if len(kept.prompts) < n:
            raise OptionError(f"`max_prompt` must admit all prompts that are drawn, got {len(kept.prompts)} of {n}")
        return replace(source, held_out=held_out.prompts, left_out=_sum(source.left_out, held_out.left_out))
    kept = _that_fit(source.pool, "prompts", pair, config)
    if is_heard:
        kept.say()
    if len(kept.prompts) < source.batch:
        raise OptionError(f"`batch` must be at most {len(kept.prompts)}, the prompts that fit, got {source.batch}")
    left_out = _sum(source.left_out, held_out.left_out, kept.left_out)
    return replace(source, held_out=held_out.prompts, pool=kept.prompts, left_out=left_out)


def _that_fit(prompts: Sequence[Prompt], what: str, pair: Pair, config: Config) -> Fitting:
    kept = fitting(pair.models, prompts, config.longest_response, config, what=what)
    check_views(pair.models, text_views(kept.prompts, config.text_view))
    return kept


def _sum(*counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by reason, without those that are 0."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return {reason: n for reason, n in sorted(total.items()) if n}
