"""Load the processor of a checkpoint: the same numbers whether or not torchvision is installed.

A processor's class is the one that the checkpoint's files name, or else the one that transformers has for its model
type. Its video part needs torchvision, though no video is ever read here. Without torchvision, or where a checkpoint
was saved without a video part, the same class is built without one.

Image processors come in two kinds, on PIL and on torchvision, whose pixels differ by rounding. The PIL one is taken
wherever a family has one, so that no number depends on what is installed.
"""

from functools import cache
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoImageProcessor, ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.utils import PushToHubMixin, is_torchvision_available

from cli.foreign_json import read_json

_PROCESSOR, _PREPROCESSOR = "processor_config.json", "preprocessor_config.json"
_NAMES_ITS_CLASS = (_PROCESSOR, _PREPROCESSOR, "tokenizer_config.json", "config.json")
_VIDEO_SETTINGS = ("video_preprocessor_config.json", _PREPROCESSOR)  # older layouts, in transformers' order


class UnreadVideo(PushToHubMixin):
    """Stands where a video processor would: its settings are kept, so that they are saved again, and reads nothing.

    A setting that it does not hold is None.
    """

    def __init__(self, settings: dict[str, Any] | None = None) -> None:
        self.settings = settings or {}

    def to_dict(self) -> dict[str, Any]:
        return dict(self.settings)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "settings":  # asked before `__init__`, by a copy
            raise AttributeError(name)
        return self.settings.get(name)


class _Without:
    """First of the classes of a processor without its video part: what is asked for, loaded and saved.

    whole: the processor's class as it is.
    """

    whole: type[ProcessorMixin]
    video_processor: Any = UnreadVideo()

    @classmethod
    def get_attributes(cls) -> list[str]:
        return [name for name in cls.whole.get_attributes() if name != "video_processor"]

    @classmethod
    def from_args_and_dict(cls, args: list[Any], processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Build from loaded parts, in the order of `get_attributes`; the constructor wants one for each parameter."""
        args = list(args)
        args.insert(cls.whole.get_attributes().index("video_processor"), cls.video_processor)
        settings = {name: value for name, value in processor_dict.items() if name != "video_processor"}
        return super().from_args_and_dict(args, settings, **kwargs)  # type: ignore[misc]


class _Kept(ProcessorMixin):
    """Last of these classes, before their common base: leaves out the video part that a constructor hands on."""

    whole: type[ProcessorMixin]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        parts = dict(zip(self.whole.get_attributes(), args, strict=False)) | kwargs
        parts.pop("video_processor", None)
        super().__init__(**parts)


@cache
def without_video(processor_class: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """Return `processor_class` less its video processor; the name stays, so that saved files name the original.

    A class without one is returned as it is. Where the constructor demands a video processor, give it None.
    """
    if "video_processor" not in processor_class.get_attributes():
        return processor_class
    return type(processor_class.__name__, (_Without, processor_class, _Kept), {"whole": processor_class})


def load_processor(folder: str | Path, model_type: str | None = None) -> ProcessorMixin:
    """Load the processor of a folder; no remote code is run.

    model_type: of the model, where the folder has no config of its own.

    Raises:
        OSError, ValueError: files are missing or broken, or transformers has no processor of pictures for it.
        ImportError: the processor needs torchvision, which is not installed.
    """
    try:
        return _load(Path(folder), model_type)
    except (ImportError, ValueError) as error:
        if is_torchvision_available() or "torchvision" not in str(error).lower():
            raise
        raise ImportError("its processor of pictures needs torchvision; pip install torchvision") from None


def _load(folder: Path, model_type: str | None) -> ProcessorMixin:
    whole, video = _processor_class(folder, model_type), _video_settings(folder)
    built = whole if is_torchvision_available() and video is not None else without_video(whole)
    processor: Any = built.from_pretrained(folder, trust_remote_code=False)
    if video is not None and built is not whole:
        processor.video_processor = UnreadVideo(video)
    if is_torchvision_available():
        images = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False, backend="pil")
        processor.image_processor = images
    complete(processor)
    return processor


def complete(processor: Any) -> None:
    """Give a processor its tokenizer's chat template where it has none, and its tokenizer a pad token.

    Some checkpoints hold the template with the tokenizer alone, and some classes' constructors do not take one.
    """
    tokenizer = processor.tokenizer
    processor.chat_template = processor.chat_template or getattr(tokenizer, "chat_template", None)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token


def _processor_class(folder: Path, model_type: str | None) -> Any:
    """The class that the folder's files name, if transformers has it; else that of the model type."""
    named = [_read(folder / file).get("processor_class") for file in _NAMES_ITS_CLASS]
    model_type = model_type or _read(folder / "config.json").get("model_type")
    for name in (*named, PROCESSOR_MAPPING_NAMES.get(str(model_type))):
        chosen = getattr(transformers, name, None) if isinstance(name, str) else None
        if isinstance(chosen, type) and "image_processor" in getattr(chosen, "get_attributes", list)():
            return chosen
    raise ValueError(f"transformers has no processor of pictures and text for {model_type}")


def _video_settings(folder: Path) -> dict[str, Any] | None:
    """The settings of the video part as the folder holds them; None if it was saved without one."""
    settings = _read(folder / _PROCESSOR)
    if "video_processor" in settings or "image_processor" in settings:  # all parts are in this file
        return settings.get("video_processor") or None
    return next(filter(None, (_read(folder / file) for file in _VIDEO_SETTINGS)), None)


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is no such file."""
    content = read_json(path.read_bytes()) if path.is_file() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} must hold a JSON object")
    return content
