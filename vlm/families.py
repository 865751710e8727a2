"""What differs between model families: which ids stand for pictures, and which parameters belong to which part.

Everything here is read off names and configs, never off a list of models, so that a new family works unlisted; a
parameter that no pattern knows lands in the group `other`.
"""

import re
from collections.abc import Iterable, Mapping

from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

# A parameter's group is the first pattern that its name matches.
_GROUPS = (
    (r"merger|projector|connector|multi_modal|aligner|resampler|perceiver", "merger"),
    (r"visual|vision|image_encoder|siglip|vit\b", "vision_tower"),
    (r"embed_tokens|wte|lm_head|output_embedding", "embedding_head"),
    (r"\blayers\.(?P<layer>\d+)\.|\bh\.(?P<block>\d+)\.", "layer"),
    (r"\bnorm\.|\bfinal_layernorm\.|\bln_f\.", "final_norm"),
)
_LANGUAGE = re.compile(r"layer_\d+|embedding_head|final_norm")
_VISUAL_SPECIAL = re.compile(r"image|img|vision|video|row_\d|tile_|patch|fake_token", re.IGNORECASE)
_VISUAL_FIELD = re.compile(r"(image|img|video|vision).*token_(id|index)$")


def parameter_groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Split the parameters into `vision_tower`, `merger`, `embedding_head`, `layer_00`, ..., `final_norm`, `other`.

    A tied weight is listed once, under the first of its names; every parameter is in exactly one group, in the order
    vision to output.
    """
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault(_group(name), []).append(parameter)
    return {name: groups[name] for name in sorted(groups, key=_depth)}


def scopes(groups: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The groups that each headline scope adds up: `all`, and `language_model` without the vision part."""
    names = tuple(groups)
    return {"all": names, "language_model": tuple(name for name in names if _LANGUAGE.fullmatch(name))}


def visual_token_ids(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Every id that stands for a picture or frames one: none may be in a text view or in a response."""
    fields = _token_fields(config.to_dict())
    specials = {
        index
        for index, token in tokenizer.added_tokens_decoder.items()
        if token.special and _VISUAL_SPECIAL.search(token.content)
    }
    return tuple(sorted(specials | fields))


def _token_fields(config: Mapping[str, object]) -> set[int]:
    return {value for name, value in config.items() if _VISUAL_FIELD.match(name) and isinstance(value, int)}


def _group(name: str) -> str:
    for pattern, group in _GROUPS:
        if match := re.search(pattern, name):
            if group == "layer":
                return f"layer_{int(next(g for g in match.groups() if g is not None)):02d}"
            return group
    return "other"


def _depth(group: str) -> tuple[int, str]:
    order = ("vision_tower", "merger", "embedding_head", "layer", "final_norm", "other")
    return order.index(re.sub(r"_\d+$", "", group)), group
