"""Folders of PEFT adapters: each is read as its base with the adapter merged into the weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers import PreTrainedModel

from vlm.checkpoints.places import CheckpointError, Place, first_line, locate
from vlm.checkpoints.weights import INDEX, WEIGHTS, files_fingerprint, place_fingerprint, weight_files

SETTINGS, ADAPTER = "adapter_config.json", "adapter_model.safetensors"
_PROCESSORS = ("processor_config.json", "preprocessor_config.json")


@dataclass(frozen=True)
class Source:
    """What a checkpoint is read from.

    place: what was asked for.
    base: where its config and whole weights lie; the same place unless it is an adapter.
    """

    place: Place
    base: Place

    @property
    def is_adapter(self) -> bool:
        return self.place is not self.base

    @property
    def processor_place(self) -> Place:
        """An adapter's own folder if it holds a processor, else its base."""
        has_its_own = self.place.holds("tokenizer_config.json") and self.place.holds(*_PROCESSORS)
        return self.place if has_its_own else self.base

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of a record should know of it."""
        if not self.is_adapter:
            return ()
        return (f"{self.place.name} is an adapter: merged into {self.base.name}, whose weights are measured",)


def source_of(checkpoint: str) -> Source:
    """Return what a folder, a registered name or a hub id is read from.

    Raises:
        CheckpointError: it is not there, or it is an adapter whose base is not known.
    """
    place = locate(checkpoint)
    if not place.holds(SETTINGS):
        return Source(place, place)
    settings = place.read(SETTINGS)
    if place.holds(WEIGHTS, INDEX):
        raise CheckpointError(
            f"`checkpoint` {place.asked} holds two sets of weights, an adapter and a whole model; remove one of the two"
        )
    named, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not isinstance(named, str) or not named:
        raise CheckpointError(
            f"`checkpoint` {place.asked} is an adapter that names no base; write base_model_name_or_path into"
            f" {SETTINGS}"
        )
    return Source(place, _base(place, named, revision))


def _base(place: Place, named: str, revision: object) -> Place:
    """The base's place: as it is named, or named relative to the adapter's folder."""
    beside = place.folder / named
    pinned = named if Path(named).exists() or "@" in named or not revision else f"{named}@{revision}"
    try:
        base = locate(str(beside) if not Path(named).is_dir() and beside.is_dir() else pinned)
    except CheckpointError as error:
        said = str(error).removeprefix("`checkpoint` ")
        raise CheckpointError(f"`checkpoint` {place.asked} is an adapter, and its base {said}") from None
    if base.holds(SETTINGS):
        raise CheckpointError(f"`checkpoint` {place.asked} is an adapter of an adapter, {named}; merge that one first")
    return base


def weights_fingerprint(checkpoint: str) -> str:
    """Return the sha256 (16 hex digits) over the names of a checkpoint's weight files and what they hold.

    Files that are not read do not count. For an adapter it is over its own file and the fingerprint of its base.

    Raises:
        CheckpointError: the weights cannot be found.
    """
    return source_fingerprint(source_of(checkpoint))


def source_fingerprint(source: Source) -> str:
    """Return `weights_fingerprint` of a source."""
    return _fingerprint(source, place_fingerprint)


def bytes_fingerprint(checkpoint: str) -> str:
    """Return the fingerprint over the bytes of the files, also of a hub id: what earlier versions called it by."""
    return _fingerprint(
        source_of(checkpoint), lambda place, files, start: files_fingerprint(place.folder, files, start)
    )


def was_called(checkpoint: str, fingerprint: str) -> bool:
    """Return whether an earlier version called the weights of a hub id by this fingerprint; that reads all of them.

    Folders are called as they were, and are not read.
    """
    source = source_of(checkpoint)
    on_hub = source.place.hub_id is not None or source.base.hub_id is not None
    return on_hub and bytes_fingerprint(checkpoint) == fingerprint


def _fingerprint(source: Source, over: Callable[[Place, Sequence[str], str], str]) -> str:
    whole = over(source.base, weight_files(source.base), "")
    if not source.is_adapter:
        return whole
    return over(source.place, [adapter_file(source.place), SETTINGS], whole)


def adapter_file(place: Place) -> str:
    """Return the name of an adapter's weights, those of a hub id brought here.

    Raises:
        CheckpointError: there are none as safetensors.
    """
    place.fetch([ADAPTER])
    if not place.holds(ADAPTER):
        raise CheckpointError(
            f"`checkpoint` {place.asked} is an adapter without {ADAPTER}; save it again as safetensors"
        )
    return ADAPTER


def merged(model: PreTrainedModel, place: Place) -> PreTrainedModel:
    """Return the base with the adapter merged into it.

    Raises:
        CheckpointError: peft is missing, or the adapter does not fit or cannot be merged.
    """
    start = f"`checkpoint` {place.asked} is an adapter"
    try:
        from peft import PeftConfig, PeftModel, set_peft_model_state_dict  # here, for it is an extra
    except ImportError:
        raise CheckpointError(f"{start}, which needs peft: pip install 'vgs-geometry[peft]'") from None
    try:
        settings: Any = PeftConfig.from_pretrained(str(place.folder))
        if settings.is_prompt_learning:
            raise CheckpointError(f"{start} of prompts, not of weights; it cannot be merged into {place.name}'s base")
        wrapped: Any = PeftModel(model, settings)
        met: Any = set_peft_model_state_dict(wrapped, load_file(place.folder / adapter_file(place)))
        own = {name for name in wrapped.state_dict() if ".default" in name}
        if strangers := sorted({*met.unexpected_keys, *(own & {*met.missing_keys})}):
            raise CheckpointError(f"{start} that does not fit its base: {strangers[0]} stands in one of the two alone")
        return wrapped.merge_and_unload().requires_grad_(True)
    except CheckpointError:
        raise
    except Exception as error:  # peft raises many kinds
        raise CheckpointError(f"{start} that cannot be merged into its base: {first_line(error)}") from None
