"""A prompt: what is asked, the pictures it shows, and the answer."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

IMAGE_MARKER = "<image>"


@dataclass(frozen=True)
class Prompt:
    """One prompt: chat messages whose image parts stand for `images`, in order.

    `dependency` is high, low or text where the source says so, else unknown.
    """

    prompt_id: str
    messages: tuple[Mapping[str, Any], ...]
    images: tuple[Image.Image, ...]
    answer: str
    task: str = "unknown"
    dependency: str = "unknown"
    other_answers: tuple[str, ...] = ()
    """Accepted beside `answer`."""

    @property
    def answers(self) -> tuple[str, ...]:
        """Every accepted answer; none where the source states none."""
        return (self.answer, *self.other_answers) if self.answer else ()

    @property
    def has_image(self) -> bool:
        return bool(self.images)

    @property
    def text(self) -> str:
        """What the messages say, pictures as `<image>`."""
        parts = [part for message in self.messages for part in message["content"]]
        return " ".join(part["text"] if part["type"] == "text" else IMAGE_MARKER for part in parts)


def prompts_fingerprint(prompts: Sequence[Prompt]) -> str:
    """Return the sha256 (16 hex digits) over what the prompts say and show, and their answers."""
    digest = hashlib.sha256()
    for prompt in prompts:
        said = [prompt.prompt_id, list(prompt.messages), prompt.answer, prompt.task, prompt.dependency]
        said += [list(prompt.other_answers)] if prompt.other_answers else []
        digest.update(json.dumps(said, sort_keys=True).encode())
        for image in prompt.images:
            digest.update(f"{image.size}".encode() + image.tobytes())
    return digest.hexdigest()[:16]
