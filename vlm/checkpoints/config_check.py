"""Numbers of a config that no model can have, refused before a class builds what they say.

Classes build what a config says: a size as text fails deep inside, a huge one takes all memory.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vlm.checkpoints.places import CheckpointError

MOST_PARTS, MOST = 2048, 2**31 - 1
"""Layers, experts and stages of a model; any other size."""
_PARTS = re.compile(r"(?:^|_)(?:layers|depth|depths|blocks|experts|stages)$")
_SIZES = re.compile(
    r"(?:^|_)(?:size|dim|dims|heads|groups|channels|width|height|embeddings|positions|factor_size|rank)$|^num_|^n_"
)
_STATED = frozenset({"hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size"})
_NEVER_ZERO = _STATED | {
    "patch_size", "num_heads", "depth", "intermediate_size", "spatial_merge_size", "temporal_patch_size",
    "max_position_embeddings",
}  # fmt: skip
_PLACES = re.compile(r"_ind(?:exes|ices)$")
_IDS = re.compile(r"(?:^|_)token_(?:id|index)$")
_TEXTS = frozenset({"model_type", "hidden_act", "hidden_activation", "activation_function"})
_FRACTIONS = re.compile(r"(?:^|_)(?:factor|scale|eps|std|dropout|prob|range|theta|coef|rate|decay)$")


def refuse_impossible(asked: str, written: Mapping[str, Any]) -> None:
    """Refuse a config with a number, or a name, that no model can have.

    asked: the checkpoint, for the message. written: what config.json holds.

    Raises:
        CheckpointError: the field is named, with what it must be and what it is.
    """
    for field, rule, value in _impossible(written, ""):
        raise CheckpointError(
            f"`checkpoint` {asked} must have {rule} as {field} in its config.json, got {value!r:.80}: give the config"
            " that it was saved with"
        )


def _impossible(written: Mapping[str, Any], within: str) -> Iterator[tuple[str, str, Any]]:
    """Each field that cannot be, with the rule and its value."""
    for name, value in written.items():
        field = f"{within}{name}"
        if isinstance(value, Mapping) and name != "quantization_config":
            yield from _impossible(value, f"{field}.")
        elif rule := _rule(name, value) or _rule_of_places(name, value, written):
            yield field, rule, value


def _rule(name: str, value: Any) -> str | None:
    """What a field must be; None if it is that, or if nothing is stated of fields of its name."""
    if name.endswith("_config") and value is not None:
        return "an object"  # a mapping was followed
    if name in _TEXTS:
        return None if isinstance(value, str) or (value is None and name != "model_type") else "text"
    if _IDS.search(name):
        entries = value if isinstance(value, list) else [value]
        fits = all(entry is None or (_is_whole(entry) and -1 <= entry <= MOST) for entry in entries)
        return None if fits else f"a whole number of at most {MOST}"
    if _FRACTIONS.search(name):
        return "a number" if isinstance(value, str) or (isinstance(value, float) and not _is_number(value)) else None
    is_part = bool(_PARTS.search(name))
    if not is_part and not _SIZES.search(name):
        return None
    least, most = (
        int(name in _NEVER_ZERO or name.endswith(("hidden_size", "in_channels"))),
        MOST_PARTS if is_part else MOST,
    )
    fits = all(_is_number(entry) and least <= entry <= most for entry in _flat(value) if not _is_open(name, entry))
    return None if fits else f"a whole number from {least} to {most}"


def _rule_of_places(name: str, value: Any, beside: Mapping[str, Any]) -> str | None:
    """What a list of layers must be, if the same part of the config says how many there are."""
    depth = beside.get("depth", beside.get("num_hidden_layers"))
    if not _PLACES.search(name) or not _is_whole(depth) or not isinstance(value, list):
        return None
    fits = all(_is_whole(place) and -depth <= place <= depth for place in value)
    return None if fits else f"numbers of at most {depth} layers"


def _is_open(name: str, entry: Any) -> bool:
    """Whether an entry stands for no number: one that the class works out, or a switch that is named as a size is."""
    return name not in _STATED and (entry is None or (isinstance(entry, bool) and name not in _NEVER_ZERO))


def _flat(value: Any) -> list[Any]:
    return [inner for entry in value for inner in _flat(entry)] if isinstance(value, list) else [value]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and value == value and abs(value) != float("inf"))
