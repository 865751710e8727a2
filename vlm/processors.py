"""Load the processor of a checkpoint, also where torchvision is missing.

transformers builds the video processor of a vision-language model together with the rest, and that class needs
torchvision even if no video is ever read. Without torchvision the same processor class is built without its video
part: images and text go through unchanged code, on PIL.
"""

from functools import cache
from pathlib import Path

import transformers
from transformers import AutoConfig, AutoProcessor, ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.utils import is_torchvision_available


@cache
def without_video(processor_class: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """Return `processor_class` less its video processor; the name stays, so that saved files name the original."""

    def get_attributes(cls: type[ProcessorMixin]) -> list[str]:
        return [name for name in processor_class.get_attributes() if name != "video_processor"]

    return type(processor_class.__name__, (processor_class,), {"get_attributes": classmethod(get_attributes)})


def load_processor(checkpoint: str | Path) -> ProcessorMixin:
    """Load the processor of a local folder or hub id; no remote code is run."""
    if is_torchvision_available():
        return AutoProcessor.from_pretrained(checkpoint, trust_remote_code=False)
    config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    name = PROCESSOR_MAPPING_NAMES.get(config.model_type)
    if name is None:
        return AutoProcessor.from_pretrained(checkpoint, trust_remote_code=False)
    image_only = without_video(getattr(transformers, name))
    return image_only.from_pretrained(checkpoint, trust_remote_code=False)
