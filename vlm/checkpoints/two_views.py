"""Refuse, by name and with the reason, a checkpoint that cannot read one response with a picture and without."""

import torch
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel, ProcessorMixin

from vlm.checkpoints.picture_tokens import PictureTokens
from vlm.checkpoints.places import CheckpointError, first_line
from vlm.views.view import RefusedPromptError, ViewError, placed


def refuse_encoder(checkpoint: str, config: PreTrainedConfig) -> None:
    """Refuse a model that reads the prompt in an encoder.

    Raises:
        CheckpointError: it is one.
    """
    if config.is_encoder_decoder or config.get_text_config().is_encoder_decoder:
        raise CheckpointError(
            f"`checkpoint` {checkpoint} cannot have two views: {config.model_type} has an encoder for the prompt and a"
            " decoder for the response; give one that continues its prompt"
        )


def refuse_one_view(checkpoint: str, model: PreTrainedModel, processor: ProcessorMixin) -> None:
    """Refuse a model that lacks one of the views, or reads the same in both, or does not speak token by token.

    Raises:
        CheckpointError: the reason.
    """
    start = f"`checkpoint` {checkpoint} cannot have two views"
    try:
        PictureTokens(model.config, processor).check()
    except RefusedPromptError as error:
        raise CheckpointError(f"{start}: the processor refuses a prompt: {error.reason}") from None
    except ViewError as error:
        said = str(error).replace("`prompts`: the prompt ''", "a plain prompt")
        raise CheckpointError(f"{start}: {said}") from None
    if not isinstance(model, GenerationMixin):
        raise CheckpointError(
            f"`checkpoint` {checkpoint} must speak token by token, but {type(model).__name__} does not"
        )


@torch.no_grad()
def refuse_misfit(checkpoint: str, model: PreTrainedModel, processor: ProcessorMixin) -> None:
    """Refuse a model that fails on what its processor makes of a picture, before any work is begun.

    Raises:
        CheckpointError: what the model says.
    """
    inputs = placed(PictureTokens(model.config, processor).inputs, model.device, model.dtype)
    try:
        model(**inputs, use_cache=False)
    except torch.OutOfMemoryError:
        raise
    except (ValueError, TypeError, RuntimeError, IndexError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"`checkpoint` {checkpoint} fails on a prompt with a picture: {first_line(error)}; its config and its"
            " processor's settings must be of one model"
        ) from None
