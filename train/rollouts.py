"""The responses of a step and their four views, cut into micro-batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry import HiddenViews
from train.config import Config
from vlm.checkpoint import LoadedModel
from vlm.prompts import Prompt
from vlm.rollouts import Rollout, Sampling, generate
from vlm.scoring import head_of, view_hidden
from vlm.views import View, image_view, text_views


@dataclass(frozen=True)
class Response:
    """A rollout and the two views of its prompt."""

    prompt: Prompt
    text_view: View
    rollout: Rollout

    @property
    def n_tokens(self) -> int:
        return len(self.rollout.token_ids)


MicroBatch = Sequence[Response]


def sample(
    speaker: LoadedModel, config: Config, prompts: Sequence[Prompt], seed: int, part: tuple[int, int] = (0, 1)
) -> list[Response]:
    """Sample the speaker's responses to `prompts`.

    part: rank and number of processes; each takes its share of the prompts. A response does not depend on it.
    """
    texts = dict(zip((prompt.prompt_id for prompt in prompts), text_views(prompts, config.text_view), strict=True))
    mine = {prompt.prompt_id: prompt for prompt in prompts[part[0] :: part[1]]}
    sampling = Sampling(config.max_response, config.group_size, seed, batch=config.generation_batch, top_p=config.top_p)
    rollouts = generate(speaker, list(mine.values()), sampling)
    return [Response(mine[r.prompt_id], texts[r.prompt_id], r) for r in rollouts]


def cut(responses: Sequence[Response], size: int) -> list[MicroBatch]:
    """Cut responses into micro-batches, in order."""
    return [responses[start : start + size] for start in range(0, len(responses), size)]


def has_image(responses: MicroBatch, device: torch.device) -> Tensor:
    """Whether each token's prompt has a picture, `[T]`."""
    flags = [response.prompt.has_image for response in responses for _ in range(response.n_tokens)]
    return torch.tensor(flags, device=device)


def both_views(loaded: LoadedModel, responses: MicroBatch, n_ids: int, *, text_graph: bool = True) -> HiddenViews:
    """Run a model on both views; the text view of a prompt without a picture is its image view, as a constant.

    text_graph: whether the text view is differentiable, where gradients are enabled.
    """
    images = view_hidden(loaded, [image_view(r.prompt) for r in responses], _ids(responses))
    pictured = [row for row, response in enumerate(responses) if response.prompt.has_image]
    shown = [responses[row] for row in pictured]
    with torch.set_grad_enabled(text_graph and torch.is_grad_enabled()):
        found = view_hidden(loaded, [response.text_view for response in shown], _ids(shown))
    own = [image.detach() for image in images]
    texts = dict(enumerate(own)) | dict(zip(pictured, found, strict=True))
    text = torch.cat([texts[row] for row in range(len(images))])
    return HiddenViews(torch.cat(images), text, head_of(loaded, n_ids))


def _ids(responses: MicroBatch) -> list[tuple[int, ...]]:
    return [response.rollout.token_ids for response in responses]
