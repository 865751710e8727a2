"""How a source of prompts is read, and how a prompt is rendered: settings that every command shares, without torch."""

from dataclasses import dataclass

from jsonargparse.typing import PositiveInt

from cli.options import flag


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
    skip_bad: bool = flag(False, "leave out and count prompts whose picture cannot be read (default: an error)")
    max_pixels: PositiveInt | None = flag(None, "pictures with more pixels are made smaller before the processor")
    min_pixels: PositiveInt | None = flag(None, "pictures with fewer pixels are made larger before the processor")
    system_prompt: str | None = flag(None, "text of the system message that each prompt begins with (default: its own)")
    chat_template_args: str | None = flag(
        None, 'JSON object handed to the chat template, such as {"enable_thinking": false}'
    )
