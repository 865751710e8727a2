"""Which prompt a row speaks of, where it gives the prompt's text or messages in place of an id.

Two texts are the same if their words are: white space, pictures and their markers do not count, and a system message
counts only where a row has one of the prompt's own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transformers import ProcessorMixin

from vlm.prompts.prompt import IMAGE_MARKER, Prompt
from vlm.views.view import image_view, render


class PromptIndex:
    """The ids of prompts by what is asked."""

    def __init__(self, prompts: Iterable[Prompt], processor: ProcessorMixin) -> None:
        self._ids: dict[str, list[str]] = {}
        for prompt in prompts:
            rendered = render(image_view(prompt), processor)
            spelt = {
                _spelt(prompt.messages),
                _spelt(_said(prompt.messages)),
                _words(rendered),
                _words(_without_special_tokens(rendered, processor.tokenizer)),
            }
            for words in spelt:
                self._ids.setdefault(words, []).append(prompt.prompt_id)

    def matches(self, asked: Any) -> list[str]:
        """Return the ids of the prompts that ask this.

        asked: text, as a prompt states it or as the chat template renders it, special tokens left out or not; or
            messages with `role` and `content`.

        Raises:
            TypeError: it is neither.
        """
        if isinstance(asked, str):
            return self._ids.get(_words(asked), [])
        if not _are_messages(asked):
            raise TypeError("text, or messages with `role` and `content`")
        return self._ids.get(_spelt(asked)) or self._ids.get(_spelt(_said(asked)), [])


def _without_special_tokens(text: str, tokenizer: Any) -> str:
    """A rendered prompt as trainers log it."""
    return str(tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"], skip_special_tokens=True))


def _are_messages(asked: Any) -> bool:
    if not isinstance(asked, Sequence) or not asked:
        return False
    return all(
        isinstance(one, Mapping) and isinstance(one.get("role"), str) and _is_content(one.get("content"))
        for one in asked
    )


def _is_content(content: Any) -> bool:
    return isinstance(content, str) or (
        isinstance(content, Sequence) and all(isinstance(part, Mapping) and "type" in part for part in content)
    )


def _said(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [message for message in messages if message["role"] != "system"]


def _spelt(messages: Sequence[Mapping[str, Any]]) -> str:
    texts: list[str] = []
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts += [str(part.get("text") or "") for part in parts if part["type"] == "text"]
    return _words(" ".join(texts))


def _words(text: str) -> str:
    return " ".join(text.replace(IMAGE_MARKER, " ").split())
