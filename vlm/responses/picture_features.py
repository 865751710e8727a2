"""The vision tower's output for pictures that several responses follow: computed once, and handed to each pass.

Responses to one prompt see the same pictures. Where no gradient goes through the vision tower, its output for a picture
is used again: for rows of one pass, and in the next pass. A family can be handed it if its `forward` takes
`mm_encoder_outputs`. Whether the logits stay the same is measured on a model's first such pass, by making it both ways.
Where they do not, or where a family is not laid out so, each pass runs the tower on all of its pictures.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from vlm.checkpoints.checkpoint import LoadedModel
from vlm.families import scopes
from vlm.views.view import Encoded, View, encode_prompts, per_token, placed

TOLERANCES = {torch.bfloat16: 2e-2, torch.float16: 2e-3}
"""How far logits may be apart, in shares of the largest, that are taken to be the same; else 1e-5."""

_TAKES: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""Of each model that was asked, whether it makes the same logits from what its tower made before."""


class PictureFeatures:
    """What the vision tower of a model made of the pictures of the last pass.

    For weights that do not change meanwhile: make a new one for each step.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._kept: dict[bytes, _Features] = {}

    def handed(self, views: Sequence[View], encoded: Encoded) -> Encoded:
        """Return inputs of a pass over these views with features in the place of pixels; as they are where that fails.

        encoded: inputs that hold the views' pixels.
        """
        return replace(encoded, inputs=self.inputs(views, encoded.inputs))

    def inputs(self, views: Sequence[View], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs as `handed` does, from the inputs alone."""
        plain, model = dict(inputs), self._loaded.model
        if not any(view.images for view in views) or not takes_features(self._loaded):
            return plain
        features = self._features(views)
        if features is None:
            _TAKES[model] = False
            return plain
        pixels = {name for name, value in plain.items() if value.is_floating_point()}
        inputs = {name: value for name, value in plain.items() if name not in pixels}
        inputs["mm_encoder_outputs"] = {"image": features}
        if model not in _TAKES:
            _TAKES[model] = _same_logits(self._loaded, plain, inputs)
            inputs["mm_encoder_outputs"] = {"image": features}
        return inputs if _TAKES[model] else plain

    @torch.no_grad()
    def _features(self, views: Sequence[View]) -> Any:
        """The tower's output for all pictures of the views in order; None where it is not one part for each picture."""
        new: dict[bytes, None] = {}
        lacking = [view for view in views if _adds(new, view, self._kept)]
        made = self._made(lacking) if lacking else {}
        if made is None:
            return None
        every = self._kept | made
        self._kept = {picture.fingerprint: every[picture.fingerprint] for view in views for picture in view.images}
        return _joined([every[picture.fingerprint] for view in views for picture in view.images])

    def _made(self, views: Sequence[View]) -> "dict[bytes, _Features] | None":
        """Run the tower on the pictures of some views."""
        loaded = self._loaded
        encoded = encode_prompts(views, loaded.processor)
        inputs = placed(encoded, loaded.device, loaded.dtype)
        run: Any = loaded.model.base_model.get_image_features
        names = inspect.signature(run).parameters
        shape = inputs["input_ids"].shape
        output = run(**{k: v for k, v in inputs.items() if k in names and not per_token(v, shape)}, return_dict=True)
        pictures = [picture for view in views for picture in view.images]
        parts = _parts(output, len(pictures))
        return None if parts is None else {p.fingerprint: part for p, part in zip(pictures, parts, strict=True)}


class _Features:
    """The tower's output for one picture, and how outputs of several are put together.

    pooled: what stands in the place of the picture's tokens.
    deep: what is added to them in later layers, by layer.
    kind: the class of the output, and whether `pooled` of several is one tensor.
    """

    def __init__(self, pooled: Tensor, deep: Sequence[Tensor], kind: tuple[type, bool]) -> None:
        self.pooled, self.deep, self.kind = pooled, deep, kind


def takes_features(loaded: LoadedModel) -> bool:
    """Whether a pass can be handed the tower's output: the family takes it, and no gradient goes through the tower."""
    model = loaded.model
    if not _TAKES.get(model, True) or (torch.is_grad_enabled() and _trains_tower(loaded)):
        return False
    takes = "mm_encoder_outputs" in inspect.signature(type(model).forward).parameters
    return takes and hasattr(model.base_model, "get_image_features")


def _trains_tower(loaded: LoadedModel) -> bool:
    language = set(scopes(loaded.groups)["language_model"])
    return any(p.requires_grad for name, members in loaded.groups.items() if name not in language for p in members)


def _adds(new: dict[bytes, None], view: View, kept: Mapping[bytes, Any]) -> bool:
    """Note the pictures of a view that are neither kept nor noted, and return whether there are any."""
    before = len(new)
    new.update({p.fingerprint: None for p in view.images if p.fingerprint not in kept})
    return len(new) > before


def _parts(output: Any, n_pictures: int) -> list[_Features] | None:
    """Cut a tower's output into that for each picture; None where it is not laid out so."""
    pooled, deep = output.get("pooler_output"), output.get("deepstack_features") or []
    sequences = [pooled, *deep]
    if any(not isinstance(one, (Tensor, list, tuple)) or len(one) != n_pictures for one in sequences):
        return None
    if not all(isinstance(part, Tensor) for one in sequences for part in one):
        return None
    kind = type(output), isinstance(pooled, Tensor)
    return [_Features(pooled[row], [layer[row] for layer in deep], kind) for row in range(n_pictures)]


def _joined(parts: Sequence[_Features]) -> Any:
    """Put the outputs for several pictures together as the tower does."""
    of_class, is_tensor = parts[0].kind
    pooled: Any = [part.pooled for part in parts]
    content = {"pooler_output": torch.stack(pooled) if is_tensor else pooled}
    if parts[0].deep:
        content["deepstack_features"] = [list(layer) for layer in zip(*(part.deep for part in parts), strict=True)]
    return of_class(**content)


@torch.no_grad()
def _same_logits(loaded: LoadedModel, plain: Mapping[str, Any], handed: Mapping[str, Any]) -> bool:
    """Whether a pass from features makes the logits that one from pixels makes, at the last column."""

    def logits(inputs: Mapping[str, Any]) -> Tensor:
        return loaded.model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1].float()

    expected = logits(plain)
    try:
        actual = logits(handed)
    except torch.OutOfMemoryError:
        raise
    except (ValueError, TypeError, RuntimeError, IndexError, KeyError, AttributeError):
        return False
    largest = float(expected.abs().max())
    return float((actual - expected).abs().max()) <= TOLERANCES.get(loaded.dtype, 1e-5) * largest
