"""What differs between model families: which parameters belong to which part.

Everything here is read off names, never off a list of models, so that a new family works unlisted; a parameter that no
pattern knows lands in the group `other`.
"""

import re
from collections.abc import Callable, Iterable

from torch import nn

# A parameter's group is the first pattern that its name matches.
_GROUPS = (
    (r"audio|\bvq_?model\b|generation_(head|embeddings|aligner)\b", "other"),  # hears or draws: in neither view
    (r"\b(language|text)_model\.(\w+\.)*?layers\.(?P<layer>\d+)\.", "layer"),
    (
        r"merger|projector|connector|multi_modal|aligner|resampler|perceiver|qformer|query_tokens|gated_cross_attn"
        r"|(visual|vision|language|image_to_text)_projection|embed_vision|vision_adapter"
        r"|image_newline|view_separator|visual_embeddings_table",
        "merger",
    ),
    (r"visual|vision|image_encoder|(image|video)_tower|siglip|vit\b", "vision_tower"),
    (r"\blayers\.(?P<layer>\d+)\.|\bh\.(?P<block>\d+)\.", "layer"),
    (
        r"embed_tokens|wte|lm_head|output_embedding|word_embeddings|embed_positions|per_layer_\w*projection",
        "embedding_head",
    ),
    (r"\b(language|text)_model\.(model\.)?embeddings\.", "embedding_head"),
    (r"\b(final_layer_?|embedding_)?norm(_f)?\.|\bln_f\.|\b(language|text)_model\.(\w+\.)*layer_norm\.", "final_norm"),
)
# The kind of a layer's parameter, from what its name says after the layer's number.
_KINDS = (
    (r"norm|\bln_", "norms"),
    (r"mlp|feed_?forward|ffn|expert|moe", "mlp"),
    (r"attn|attention", "attention"),
)
_ATTENTION_OR_MLP = re.compile(r"layer_\d+\.(attention|mlp)")
_LANGUAGE = re.compile(r"layer_\d+(\.\w+)?|embedding_head|final_norm")


def parameter_groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Split the parameters into `vision_tower`, `merger`, `embedding_head`, `layer_00`, ..., `final_norm`, `other`.

    Frozen ones are left out. A tied weight is listed once, under the first of its names; every other is in exactly one
    group. Groups run from vision to output.
    """
    return _split(model, _group)


def parameter_kinds(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Split as `parameter_groups` does, and each layer further into `layer_00.attention`, `layer_00.mlp`,
    `layer_00.norms` and, for what no pattern knows, `layer_00.other`.

    Norms inside an attention block (of queries and keys) count as norms.
    """
    return _split(model, _kind)


def language_layers(model: nn.Module) -> list[str]:
    """The names of the linear layers in the language model's attention and MLP."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return [name for name in linear if _ATTENTION_OR_MLP.fullmatch(_kind(f"{name}.weight"))]


def language_stacks(model: nn.Module) -> list[str]:
    """The names of the parameters `[E, ., .]` in the language model's attention and MLP: matrices of experts."""
    others = (nn.Conv1d, nn.Bilinear)
    modules = {name for name, module in model.named_modules() if not isinstance(module, others)}
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim == 3 and name.rpartition(".")[0] in modules and _ATTENTION_OR_MLP.fullmatch(_kind(name))
    ]


def language_matrices(model: nn.Module) -> list[str]:
    """The names of all parameters of two or more axes in the language model's layers."""
    return [
        name for name, parameter in model.named_parameters() if parameter.ndim > 1 and _kind(name).startswith("layer_")
    ]


def train_only(model: nn.Module, pattern: str) -> None:
    """Freeze the parameters whose names the regular expression `pattern` does not find.

    Raises:
        ValueError: the pattern is not one, or finds no trainable parameter of the language model, where alone every
            objective has a gradient.
    """
    try:
        chosen = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"`parameters` must be a regular expression, got {pattern!r}: {error}") from None
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and chosen.search(name) is not None)
    if not scopes(parameter_groups(model))["language_model"]:
        raise ValueError(
            f"`parameters` must find a parameter of the language model, got {pattern!r}; use the weight files' names"
        )


def scopes(groups: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The groups that each headline scope adds up: `all`, and `language_model` without the vision part."""
    names = tuple(groups)
    return {"all": names, "language_model": tuple(name for name in names if _LANGUAGE.fullmatch(name))}


def _split(model: nn.Module, group_of: Callable[[str], str]) -> dict[str, list[nn.Parameter]]:
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(group_of(name), []).append(parameter)
    return {name: groups[name] for name in sorted(groups, key=_depth)}


def _group(name: str) -> str:
    group, layer, _ = _place(name)
    return group if layer is None else _layer(layer)


def _kind(name: str) -> str:
    group, layer, inside = _place(name)
    if layer is None:
        return group
    kinds = (kind for pattern, kind in _KINDS if re.search(pattern, inside))
    return f"{_layer(layer)}.{next(kinds, 'other')}"


def _layer(number: int) -> str:
    return f"layer_{number:02d}"


def _place(name: str) -> tuple[str, int | None, str]:
    """The group that a name belongs to; within a layer also its number, and the name from there on."""
    for pattern, group in _GROUPS:
        if match := re.search(pattern, name):
            numbers = [int(number) for number in match.groupdict().values() if number is not None]
            return group, (numbers[0] if numbers else None), name[match.end() :]
    return "other", None, name


def _depth(group: str) -> tuple[int, int, str]:
    """Where a group stands from vision to output; within a layer, kinds in alphabetical order."""
    order = ("vision_tower", "merger", "embedding_head", "layer", "final_norm", "other")
    part, _, kind = group.partition(".")
    number = re.search(r"\d+$", part)
    return order.index(re.sub(r"_\d+$", "", part)), int(number.group()) if number else 0, kind
