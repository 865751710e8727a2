"""The first prompt as a model is given it, to be looked at before anything is measured."""

from collections.abc import Sequence

from transformers import ProcessorMixin

from vlm.checkpoints.checkpoint import processor_of
from vlm.prompts.prompt import Prompt
from vlm.views.view import View, render, view_pairs


def shown_prompt(checkpoint: str, prompts: Sequence[Prompt], text_view: str) -> str:
    """Return the first of `prompts` rendered in both views, by a checkpoint's processor; no weights are read.

    Args:
        prompts: with the text view `other`, one more with a picture.
        text_view: drop, blank or other.

    Raises:
        CheckpointError: there is no such checkpoint, or it has no processor or chat template.
    """
    processor, first = processor_of(checkpoint), prompts[0]
    image, text = view_pairs(prompts, text_view)[0]
    about = f"prompt {first.prompt_id}: task {first.task}, dependency {first.dependency}"
    answers = " or ".join(first.answers) or "not stated"
    return "\n".join(
        [about, f"answer: {answers}", *_lines("image view", image, processor), *_lines("text view", text, processor)]
    )


def _lines(name: str, view: View, processor: ProcessorMixin) -> list[str]:
    shown = ", ".join("{} x {} pixels".format(*picture.size) for picture in view.images) or "no picture"
    return [f"--- {name}: {shown}", render(view, processor)]
