"""How a source of prompts is read, and how a prompt is rendered: settings that every command shares, without torch."""

from dataclasses import dataclass
from typing import Any

from jsonargparse.typing import PositiveInt

from cli.errors import OptionError
from cli.foreign_json import read_json
from cli.options import flag

_RENDERING = frozenset(
    {"messages", "conversation", "chat_template", "add_generation_prompt", "continue_final_message", "tokenize"}
    | {"return_dict", "return_tensors", "return_assistant_tokens_mask", "processor_kwargs", "load_audio_from_video"}
    | {"sanitize_control_tokens"}
)
"""Arguments that say how a template is rendered."""


@dataclass(frozen=True)
class Reading:
    """Reading prompts"""

    columns: str | None = flag(
        None,
        "which column is what, such as problem=question,images=image,answer=solution (default: recognised)",
        group="Reading prompts",
    )
    image_root: str | None = flag(
        None, "folder that pictures named by path lie in (default: that of the prompts' file)"
    )
    allow_remote: bool = flag(False, "read pictures from URLs")
    skip_bad: bool = flag(
        False, "leave out and count prompts whose picture cannot be read or has no place (default: an error)"
    )
    max_pixels: PositiveInt | None = flag(None, "pictures with more pixels are made smaller before the processor")
    min_pixels: PositiveInt | None = flag(None, "pictures with fewer pixels are made larger before the processor")
    system_prompt: str | None = flag(None, "text of the system message that each prompt begins with (default: its own)")
    chat_template_args: str | None = flag(
        None, 'JSON object handed to the chat template, such as {"enable_thinking": false}'
    )
    max_prompt: PositiveInt | None = flag(
        None, "longest prompt, tokens, pictures included; longer ones are left out and counted (default: any)"
    )

    def __post_init__(self) -> None:
        _ = self.template_args  # refuses what is no JSON object
        if None not in (self.min_pixels, self.max_pixels) and self.min_pixels > self.max_pixels:  # type: ignore[operator]
            raise OptionError(
                f"`min_pixels` must be at most `max_pixels`, got {self.min_pixels} and {self.max_pixels}; swap them"
            )

    @property
    def template_args(self) -> dict[str, Any]:
        """What the chat template is handed besides the messages.

        Raises:
            OptionError: `chat_template_args` is no JSON object, or has a name that rendering itself sets.
        """
        if self.chat_template_args is None:
            return {}
        return checked_template_args(self.chat_template_args, "`chat_template_args`")


def checked_template_args(value: Any, named: str) -> dict[str, Any]:
    """Return arguments of a chat template, from an object or from JSON.

    named: what gives them, for errors.

    Raises:
        OptionError: the value is no object, or has a name that rendering itself sets.
    """
    try:
        args = read_json(value) if isinstance(value, str) else value
    except ValueError:
        args = None
    if not isinstance(args, dict):
        raise OptionError(f'{named} must be a JSON object such as {{"enable_thinking": false}}, got {value!r}')
    if taken := sorted(_RENDERING.intersection(args)):
        raise OptionError(f"{named} must not set `{taken[0]}`, which rendering sets itself; leave it out")
    return args
