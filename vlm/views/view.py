"""The two views of a prompt, and how a view and a response become model inputs.

The image view is the prompt as it is; the text view is the same prompt without its pictures (`drop`), or, for
comparison, with a blank picture (`blank`) or another prompt's picture (`other`). The response is appended as ids and
never tokenized again.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import ProcessorMixin

from cli.errors import UserError
from vlm.pictures.picture import Picture, PictureError
from vlm.prompts.prompt import Prompt
from vlm.views.chat_template import TemplateError, parts_of, render_messages
from vlm.views.encoding import REFUSALS, Side, Written, batch, single

TEXT_VIEWS = ("drop", "blank", "other")
_GREY = (128, 128, 128)


class ViewError(UserError):
    """A view or a response that cannot be read by the model."""


class RefusedPromptError(ViewError):
    """A prompt that a processor does not take, such as for its picture's shape.

    reason: what the processor says, in one line.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class View:
    """Chat messages and the pictures that their image parts stand for.

    template_args: what the chat template is handed besides.
    prompt_id: names the prompt in errors.
    """

    messages: tuple[Mapping[str, Any], ...]
    images: tuple[Picture, ...]
    template_args: Mapping[str, Any] = field(default_factory=dict)
    prompt_id: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Take images in memory for pictures, too."""
        object.__setattr__(self, "images", tuple(map(Picture.wrap, self.images)))


def image_view(prompt: Prompt) -> View:
    return View(prompt.messages, prompt.images, prompt.template_args, prompt.prompt_id)


def text_view(prompt: Prompt, mode: str = "drop", other: Prompt | None = None) -> View:
    """Return the text view of `prompt`; of a prompt without pictures that is its image view, whatever the mode.

    Args:
        prompt: the prompt.
        mode: `drop`, `blank` or `other`.
        other: with mode `other`, the prompt whose pictures are shown, resized to those they replace.
    """
    if mode not in TEXT_VIEWS:
        raise ViewError(f"`text_view` must be one of {', '.join(TEXT_VIEWS)}, got {mode!r}")
    if not prompt.has_image:
        return image_view(prompt)
    view = image_view(prompt)
    if mode == "blank":
        return replace(view, images=tuple(Picture.plain(_GREY, picture.size) for picture in view.images))
    if mode == "other":
        if other is None or not other.has_image:
            raise ViewError("`text_view` other needs a second prompt with a picture; give more prompts or use drop")
        donors = [other.images[i % len(other.images)] for i in range(len(prompt.images))]
        shown = [donor.resized(picture.size) for donor, picture in zip(donors, view.images, strict=True)]
        return replace(view, images=tuple(shown))
    return replace(view, messages=tuple(map(_without_images, view.messages)), images=())


def text_views(prompts: Sequence[Prompt], mode: str) -> list[View]:
    """The text views of `prompts`; with mode `other` each borrows the picture of the next prompt that has one."""
    pictured = [prompt for prompt in prompts if prompt.has_image]
    following = dict(zip((p.prompt_id for p in pictured), pictured[1:] + pictured[:1], strict=True))
    lone = mode == "other" and len(pictured) == 1
    return [text_view(p, mode, None if lone else following.get(p.prompt_id)) for p in prompts]


def view_pairs(prompts: Sequence[Prompt], mode: str) -> list[tuple[View, View]]:
    """Return the image view and the text view of each prompt."""
    return list(zip(map(image_view, prompts), text_views(prompts, mode), strict=True))


@dataclass(frozen=True)
class Encoded:
    """Model inputs of `B` rows, right-padded, and where each row's response lies.

    Row b predicts its response token t from column `first[b] + t`; `lengths[b]` is the number of response tokens.
    """

    inputs: dict[str, Tensor]
    first: tuple[int, ...]
    lengths: tuple[int, ...]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Encoded":
        """Return the same on a device, what is no whole number in the model's `dtype`."""
        return replace(self, inputs=placed(self.inputs, device, dtype))


def placed(inputs: Mapping[str, Tensor], device: torch.device | str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return model inputs on a device, pixels in the model's `dtype`: not every model casts them itself."""
    return {name: value.to(device, dtype if value.is_floating_point() else None) for name, value in inputs.items()}


def per_token(value: Tensor, shape: torch.Size) -> bool:
    """Whether an input has an entry, or a row, for each token of ids of this shape `[B, L]`; pixels have none."""
    return value.shape[:2] == shape and not value.is_floating_point()


def together(views: Sequence[View], mixed: bool) -> list[list[int]]:
    """Return which views are run together: all, or unless they can be `mixed` those with as many pictures."""
    if mixed:
        return [list(range(len(views)))] if views else []
    counts = [len(view.images) for view in views]
    return [[row for row, n in enumerate(counts) if n == count] for count in sorted(set(counts))]


def render(view: View, processor: ProcessorMixin) -> str:
    """The view as text, up to where the response begins.

    Raises:
        ViewError: the chat template does not take it; the prompt is named.
    """
    try:
        return render_messages(view.messages, len(view.images), processor, view.template_args)
    except TemplateError as error:
        raise ViewError(f"`prompts`: the prompt {view.prompt_id!r} {error}") from None


def encode_prompts(
    views: Sequence[View], processor: ProcessorMixin, *, padding_side: Side = "left"
) -> dict[str, Tensor]:
    """Render and tokenize `views` with the checkpoint's own chat template; padded on `padding_side`.

    Raises:
        PictureError: a picture cannot be read.
        RefusedPromptError: the processor does not take a prompt.
        ViewError: the chat template does not take it.
    """
    written = [Written(render(view, processor), view.images) for view in views]
    rows = []
    for view, one in zip(views, written, strict=True):
        with _naming(view):
            rows.append(single(one, processor))
    with _naming(views[0]):
        return batch(written, rows, processor, padding_side)


@contextmanager
def _naming(view: View) -> Iterator[None]:
    """Say in what a processor refuses, such as a picture that is too narrow, which prompt it is."""
    try:
        yield
    except PictureError as error:
        raise PictureError(str(error).replace("`prompts`: ", f"`prompts`: prompt {view.prompt_id!r}, ", 1)) from None
    except REFUSALS as error:
        row, way_out = (f"{view.images[0].where}, ", "mend it, or add --skip-bad") if view.images else ("", "mend it")
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"{row}the processor refuses the prompt {view.prompt_id!r} ({reason})"
        raise RefusedPromptError(f"`prompts`: {message}: {way_out}", reason) from None


def prompt_length(view: View, processor: ProcessorMixin) -> int:
    """Number of tokens of the rendered view, pictures included."""
    return int(encode_prompts([view], processor)["input_ids"].shape[1])


def encode(
    views: Sequence[View],
    responses: Sequence[Sequence[int]],
    processor: ProcessorMixin,
    visual_ids: Sequence[int],
) -> Encoded:
    """Append `responses` (token ids) to the rendered `views`.

    Raises:
        ViewError: a response holds an id that stands for a picture, or is empty; or an image token is left in a view
            that has no picture.
    """
    for number, response in enumerate(responses):
        _check_response(number, response, visual_ids)
    prompt = encode_prompts(views, processor)
    mask = prompt["attention_mask"].bool()
    _check_no_image_token(views, prompt["input_ids"], mask, visual_ids)
    starts = mask.sum(dim=1).tolist()
    inputs, pad_id = {}, processor.tokenizer.pad_token_id
    for name, value in prompt.items():
        if per_token(value, mask.shape):
            tails = [_tail(name, row, response) for row, response in zip(value, responses, strict=True)]
            value = _continued(value, mask, tails, pad_id if name == "input_ids" else 0)
        inputs[name] = value
    return Encoded(inputs, tuple(start - 1 for start in starts), tuple(len(response) for response in responses))


def _continued(value: Tensor, mask: Tensor, tails: Sequence[Tensor], fill: int) -> Tensor:
    """Append a tail to the unmasked part of each row, and fill the rows up on the right."""
    rows = [torch.cat([row[kept], tail]) for row, kept, tail in zip(value, mask, tails, strict=True)]
    return pad_sequence(rows, batch_first=True, padding_value=fill)


def _tail(name: str, row: Tensor, response: Sequence[int]) -> Tensor:
    """What an input `[L, ...]` says of a response's tokens: they count, are text, and see what the last token sees."""
    if "position" in name:
        raise ViewError(f"the processor returns `{name}`, and how it goes on over a response is not known: drop it")
    if name == "input_ids":
        return torch.tensor(response, dtype=row.dtype)
    if row.ndim > 1:
        return row[-1:].expand(len(response), *row.shape[1:])
    return torch.full((len(response),), int(name == "attention_mask"), dtype=row.dtype)


def _check_response(number: int, response: Sequence[int], visual_ids: Sequence[int]) -> None:
    if not response:
        raise ViewError(f"response {number} is empty; a response needs at least its end token")
    if banned := sorted(set(response) & set(visual_ids)):
        raise ViewError(
            f"response {number} holds the vision token ids {banned}, which stand for pictures; leave the response out"
        )


def _check_no_image_token(views: Sequence[View], ids: Tensor, mask: Tensor, visual_ids: Sequence[int]) -> None:
    for row, view in enumerate(views):
        left = set(ids[row][mask[row]].tolist()) & set(visual_ids)
        if left and not view.images:
            raise ViewError(
                f"the text view of the prompt {view.prompt_id!r} still holds the image token ids {sorted(left)}"
            )


def _without_images(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message less its pictures; one of pictures alone stays, as an empty text."""
    left = [part for part in parts_of(message) if part["type"] != "image"]
    return {**message, "content": left or [{"type": "text", "text": ""}]}
