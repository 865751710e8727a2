"""A prompt: what is asked, the pictures it shows, and the answer."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vlm.pictures.picture import Picture
from vlm.prompts.reading import Reading

IMAGE_MARKER = "<image>"


@dataclass(frozen=True)
class Prompt:
    """One prompt: chat messages whose image parts stand for `images`, in order.

    `dependency` is high, low or text where the source says so, else unknown.
    """

    prompt_id: str
    messages: tuple[Mapping[str, Any], ...]
    images: tuple[Picture, ...]
    answer: str
    task: str = "unknown"
    dependency: str = "unknown"
    template_args: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template is handed besides the messages."""

    other_answers: tuple[str, ...] = ()
    """Accepted beside `answer`."""

    def __post_init__(self) -> None:
        """Take images in memory for pictures, too."""
        object.__setattr__(self, "images", tuple(map(Picture.wrap, self.images)))

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
        return " ".join(part["text"].strip() if part["type"] == "text" else IMAGE_MARKER for part in parts)


def apply_reading(prompt: Prompt, reading: Reading) -> Prompt:
    """Return a prompt as the settings have it: its system message, its pictures' sizes, its template's arguments.

    The system prompt takes the place of the first system message, or stands before all others. Arguments of the
    settings go before those of the prompt.
    """
    if reading.min_pixels is not None or reading.max_pixels is not None:
        bounded = tuple(picture.bounded(reading.min_pixels, reading.max_pixels) for picture in prompt.images)
        prompt = replace(prompt, images=bounded)
    if reading.system_prompt is not None:
        prompt = replace(prompt, messages=_with_system(prompt.messages, reading.system_prompt))
    return replace(prompt, template_args={**prompt.template_args, **reading.template_args})


def _with_system(messages: tuple[Mapping[str, Any], ...], text: str) -> tuple[Mapping[str, Any], ...]:
    system = {"role": "system", "content": [{"type": "text", "text": text}]}
    place = next((n for n, message in enumerate(messages) if message["role"] == "system"), None)
    return (system, *messages) if place is None else (*messages[:place], system, *messages[place + 1 :])


def prompts_fingerprint(prompts: Sequence[Prompt]) -> str:
    """Return the sha256 (16 hex digits) over what the prompts say and show, and their answers."""
    digest = hashlib.sha256()
    for prompt in prompts:
        said: list[Any] = [prompt.prompt_id, list(prompt.messages), prompt.answer, prompt.task, prompt.dependency]
        said += [dict(prompt.template_args)] if prompt.template_args else []
        said += [list(prompt.other_answers)] if prompt.other_answers else []
        digest.update(json.dumps(said, sort_keys=True).encode())
        for picture in prompt.images:
            digest.update(picture.content())
    return digest.hexdigest()[:16]
