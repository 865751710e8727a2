"""Which prompts have room for a full response in the context of both models."""

from collections.abc import Sequence

from vlm.pair import Pair
from vlm.prompts import Prompt
from vlm.sources import PromptError
from vlm.views import image_view, prompt_length


def fitting(pair: Pair, prompts: Sequence[Prompt], max_response: int) -> tuple[list[Prompt], dict[str, int]]:
    """Leave out prompts that, with a full response, exceed the context of either model; say how many."""
    kept = [prompt for prompt in prompts if not _too_long(pair, prompt, max_response)]
    if not kept:
        raise PromptError(
            f"`max_response` {max_response} leaves none of the {len(prompts)} prompts within the models' context;"
            " give a smaller one or shorter prompts"
        )
    return kept, {"longer than the context": len(prompts) - len(kept)}


def _too_long(pair: Pair, prompt: Prompt, max_response: int) -> bool:
    """Whether the prompt, pictures included, and a response of full length exceed either model's context."""
    members = (pair.student, pair.teacher)
    return any(prompt_length(image_view(prompt), m.processor) + max_response > m.context for m in members)
