"""A response with the two views of its prompt, and what a model makes of several."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry import HiddenViews
from vlm.checkpoints.loaded_model import LoadedModel
from vlm.prompts.prompt import Prompt
from vlm.responses.output_layer import head_of
from vlm.responses.picture_features import PictureFeatures
from vlm.responses.rollouts import Rollout
from vlm.responses.scoring import view_hidden
from vlm.views.view import View, image_view


@dataclass(frozen=True)
class Response:
    """A rollout and the two views of its prompt."""

    prompt: Prompt
    text_view: View
    rollout: Rollout

    @property
    def n_tokens(self) -> int:
        return len(self.rollout.token_ids)


def has_image(responses: Sequence[Response], device: torch.device) -> Tensor:
    """Whether each token's prompt has a picture, `[T]`."""
    flags = [response.prompt.has_image for response in responses for _ in range(response.n_tokens)]
    return torch.tensor(flags, device=device)


def both_views(
    loaded: LoadedModel,
    responses: Sequence[Response],
    n_ids: int,
    *,
    text_graph: bool = True,
    features: PictureFeatures | None = None,
) -> HiddenViews:
    """Run a model on both views; the text view of a prompt without a picture is its image view, as a constant.

    text_graph: whether the text view is differentiable, where gradients are enabled.
    features: see `view_hidden`; for the image view.
    """
    images = view_hidden(loaded, [image_view(r.prompt) for r in responses], _ids(responses), features)
    pictured = [row for row, response in enumerate(responses) if response.prompt.has_image]
    shown = [responses[row] for row in pictured]
    with torch.set_grad_enabled(text_graph and torch.is_grad_enabled()):
        hidden = view_hidden(loaded, [response.text_view for response in shown], _ids(shown))
    own = [image.detach() for image in images]
    texts = dict(enumerate(own)) | dict(zip(pictured, hidden, strict=True))
    text = torch.cat([texts[row] for row in range(len(images))])
    return HiddenViews(torch.cat(images), text, head_of(loaded, n_ids))


def _ids(responses: Sequence[Response]) -> list[tuple[int, ...]]:
    return [response.rollout.token_ids for response in responses]
