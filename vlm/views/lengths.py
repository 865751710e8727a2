"""How long prompts are in tokens, told by the sizes of their pictures, so that none of these is processed.

Many processors say how many tokens a picture of a size becomes. Whether a processor's word holds is found out on its
first prompts, by running it; where it once does not, the processor is run on every prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import ProcessorMixin

from vlm.views.encoding import adds_special_tokens
from vlm.views.view import View, prompt_length, render

TRIED = 8
"""Prompts with pictures of different sizes on which the processor is run first, for each number of pictures."""
_NARROWEST, _LONGEST = 28, 16
"""Pixels of the shorter side, and its multiples on the longer one, beyond which the processor is run."""
_NEAR = 8
"""Tokens beside a sixteenth of a limit, within which a length is near to it."""


@dataclass
class Lengths:
    """Lengths of prompts for one processor.

    tried: by number of pictures, the sizes on which the processor has been run.
    by_marker: tokens that a picture's marker has beside what the processor says; None before the first run.
    holds: whether what the processor says has been right so far.
    """

    processor: ProcessorMixin
    tried: dict[int, set[tuple[tuple[int, int], ...]]] = field(default_factory=dict)
    by_marker: float | None = None
    holds: bool = True

    def count(self, view: View, limits: Sequence[int] = ()) -> int:
        """Return the number of tokens of a rendered view, pictures included; these need not be decoded.

        limits: near these lengths the processor itself runs, so that the count is its own.

        Raises:
            PictureError: a picture cannot be read.
            RefusedPromptError: the processor does not take the prompt.
            ViewError: the chat template does not take it.
        """
        counted = self._counted(view)
        if counted is not None and not any(abs(counted - limit) <= _NEAR + limit // 16 for limit in limits):
            return counted
        return prompt_length(view, self.processor)

    def _counted(self, view: View) -> int | None:
        """The length by what the processor says, checked at first; None where it has to be run."""
        sizes = _ordinary_sizes(view)
        said = None if not (sizes and self.holds) else self._said(sizes)
        if said is None:
            return None
        told = len(self._text_ids(view)) + said
        tried = self.tried.setdefault(len(sizes), set())
        if len(tried) >= TRIED or sizes in tried:
            return told + round((self.by_marker or 0) * len(sizes))
        tried.add(sizes)
        length = prompt_length(view, self.processor)
        rest = (length - told) / len(sizes)
        self.holds = self.by_marker in (None, rest)
        self.by_marker = rest
        return length

    def _said(self, sizes: Sequence[tuple[int, int]]) -> int | None:
        """Tokens of pictures of these sizes, as the processor says; None where it says nothing."""
        try:
            turned = [(height, width) for width, height in sizes]
            ask: Any = self.processor
            return int(sum(ask._get_num_multimodal_tokens(image_sizes=turned)["num_image_tokens"]))
        except Exception:  # it has no such method, or fails on these sizes: running it tells
            return None

    def _text_ids(self, view: View) -> Sequence[int]:
        text, tokenizer = render(view, self.processor), self.processor.tokenizer
        ids: Sequence[int] = tokenizer(text, add_special_tokens=adds_special_tokens(text, tokenizer))["input_ids"]
        return ids


def _ordinary_sizes(view: View) -> tuple[tuple[int, int], ...]:
    """The sizes of the pictures of a view; none if one is very small or narrow."""
    sizes = tuple(picture.size for picture in view.images)
    return sizes if all(min(size) >= _NARROWEST and max(size) <= _LONGEST * min(size) for size in sizes) else ()
