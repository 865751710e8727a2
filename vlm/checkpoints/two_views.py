"""Refuse, by name and with the reason, a checkpoint that cannot read one response with a picture and without."""

import torch
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel, ProcessorMixin

from vlm.checkpoints.picture_tokens import PictureTokens, pictured_rows
from vlm.checkpoints.places import CheckpointError, first_line
from vlm.views.view import RefusedPromptError, ViewError, placed

_NOISE = {torch.bfloat16: 0.05, torch.float16: 0.01}
"""How far equal rows of a batch may be apart, in shares of the largest logit; else a ten thousandth."""


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
    """Refuse a model that fails on what its processor makes of pictures, or reads rows of a batch otherwise than alone.

    Raises:
        CheckpointError: what the model says, or how far two equal rows are apart.
    """
    inputs = placed(pictured_rows(processor, 2), model.device, model.dtype)
    try:
        logits = model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1].float()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a model that its config does not fit comes upon
        raise CheckpointError(
            f"`checkpoint` {checkpoint} fails on a prompt with a picture: {first_line(error)}; its config and its"
            " processor's settings must be of one model"
        ) from None
    apart, size = float((logits[0] - logits[1]).abs().max()), float(logits.abs().max())
    if apart > _NOISE.get(model.dtype, 1e-4) * size:
        raise CheckpointError(
            f"`checkpoint` {checkpoint} must read a row of a batch as it would alone, but logits of two equal prompts"
            f" are {apart:.2g} apart; {type(model).__name__} lets rows with pictures change each other, choose another"
        )
