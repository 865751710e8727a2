"""Every parameter is in the right group: of the families that are built, and of all that transformers maps."""

import re

import pytest
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from tests.families.build import can_build
from tests.families.registry import FAMILIES
from tests.families.tokenizers import STUDENT
from vlm.families import parameter_groups, scopes

HERE = [name for name in FAMILIES if can_build(name)]
NO_PART = re.compile(r"audio|vqmodel|generation_|final_input\.query|segment_emb")  # of neither view, or unknown
NO_CHAT = {"blip", "git", "pi0", "evolla", "idefics"}  # their decoders are all of the model


def misplaced(model):
    """Parameters in a group of the language model though its decoder and embeddings lack them, or the reverse."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    parts = [model.get_decoder(), model.get_input_embeddings(), model.get_output_embeddings()]
    language = {parameter for part in parts if part is not None for parameter in part.parameters()}
    groups = parameter_groups(model)
    grouped = {p for group in scopes(groups)["language_model"] for p in groups[group]}
    wrong = [names[parameter] for parameter in grouped ^ language if parameter.requires_grad]
    unknown = [names[parameter] for parameter in groups.get("other", ())]
    return sorted(name for name in {*wrong, *unknown} if not NO_PART.search(name))


@pytest.mark.parametrize("name", HERE)
def test_language_and_vision_are_told_apart(name):
    model, _ = FAMILIES[name].build(STUDENT)
    assert misplaced(model) == []
    groups = parameter_groups(model)
    assert {"vision_tower", "merger", "embedding_head", "layer_00", "layer_01", "final_norm"} <= set(groups)
    layers = list(model.get_decoder().layers)
    for number, layer in enumerate(layers):
        assert set(groups[f"layer_{number:02d}"]) == set(layer.parameters())


@pytest.mark.slow
def test_so_they_are_in_every_family_whose_default_model_can_be_made():
    """On the meta device, without weights."""
    n_made = 0
    for kind, named in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.items():
        known = getattr(transformers, named if isinstance(named, str) else named[0])
        try:
            config = known.config_class()
            with torch.device("meta"):
                model = known(config)
        except Exception:  # its config has no defaults, or it needs a package
            continue
        if config.is_encoder_decoder or kind in NO_CHAT:
            continue
        n_made += 1
        assert misplaced(model) == [], kind
    assert n_made >= 60
