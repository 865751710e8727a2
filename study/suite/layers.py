"""A smaller student: some of a model's language layers left out."""

from collections.abc import Sequence

from torch import nn

from cli.errors import OptionError
from vlm.checkpoints.loaded_model import LoadedModel


def keep_layers(loaded: LoadedModel, kept: Sequence[int]) -> None:
    """Leave out all language layers of a model in place, save those of the numbers `kept`, in order.

    Raises:
        OptionError: a number is not that of a layer, or they are not in ascending order.
    """
    decoder = loaded.model.get_decoder()
    n = len(decoder.layers)
    if list(kept) != sorted(set(kept)) or not kept or not set(kept) <= set(range(n)):
        raise OptionError(f"`layers` must ascend within 0 to {n - 1}, got {list(kept)}")
    decoder.layers = nn.ModuleList(decoder.layers[number] for number in kept)
    for place, layer in enumerate(decoder.layers):
        layer.self_attn.layer_idx = place  # where a cache keeps the layer's keys
    text = loaded.model.config.get_text_config()
    text.num_hidden_layers = len(kept)
    if getattr(text, "layer_types", None):
        text.layer_types = [text.layer_types[number] for number in kept]
