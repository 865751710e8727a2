"""Control tokens of a chat template that stand in the words of a prompt: a tokenizer reads them as the template's own.

A problem that says `<|im_end|>` ends its message early, and may go on as another speaker.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vlm.prompts.prompt import Prompt


def control_tokens(prompts: Iterable[Prompt], tokenizers: Sequence[Any]) -> Mapping[str, int]:
    """Return how many prompts hold each special token of the tokenizers in their words; tokens of none are left out."""
    tokens = {
        added.content
        for tokenizer in tokenizers
        for added in getattr(tokenizer, "added_tokens_decoder", {}).values()
        if added.special and len(added.content) > 1
    }
    if not tokens:
        return {}
    either = re.compile("|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True)))
    return Counter(token for prompt in prompts for token in sorted(set(either.findall(_words(prompt)))))


def control_note(counts: Mapping[str, int], n_prompts: int) -> str:
    """Return a line about `control_tokens` of so many prompts; empty where there are none.

    >>> control_note({"<|im_end|>": 2}, 8)
    "note: words of prompts hold tokens that chat templates steer with, read as such: '<|im_end|>' in 2 of 8; mend them"
    """
    if not counts:
        return ""
    listed = ", ".join(f"{token!r} in {count} of {n_prompts}" for token, count in sorted(counts.items()))
    return f"note: words of prompts hold tokens that chat templates steer with, read as such: {listed}; mend them"


def _words(prompt: Prompt) -> str:
    parts = (part for message in prompt.messages for part in message["content"])
    return "\n".join(part["text"] for part in parts if part["type"] == "text")
