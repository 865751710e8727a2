"""Refuse, by name and with the reason, a checkpoint that cannot read one response with a picture and without."""

from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel, ProcessorMixin

from vlm.checkpoints.picture_tokens import PictureTokens
from vlm.checkpoints.places import CheckpointError
from vlm.views.view import RefusedPromptError, ViewError


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
    try:
        PictureTokens(model.config, processor).check()
    except ViewError as error:
        said = f"the processor refuses a prompt: {error.reason}" if isinstance(error, RefusedPromptError) else error
        raise CheckpointError(f"`checkpoint` {checkpoint} cannot have two views: {said}") from None
    if not isinstance(model, GenerationMixin):
        raise CheckpointError(
            f"`checkpoint` {checkpoint} must speak token by token, but {type(model).__name__} does not"
        )
