"""Scales and caps of families that have them, measured on small random models, against what their logits are."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma4ForCausalLM,
    Gemma4TextConfig,
    GraniteConfig,
    GraniteForCausalLM,
    PreTrainedModel,
)

from tests import models
from tests.vlm.test_families import TEXT, words
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.responses.output_layer import head_of
from vlm.responses.output_map import NoOutputMap, OutputMap
from vlm.responses.passes import response_hidden, response_logits
from vlm.views.view import Encoded

LAYERS = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8, "head_dim": 8}


def gemma4() -> PreTrainedModel:
    sizes = {"hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0, "vocab_size_per_layer_input": 48}
    return Gemma4ForCausalLM(Gemma4TextConfig(**TEXT, **LAYERS, **sizes, final_logit_softcapping=1.5))


def gemma3() -> PreTrainedModel:
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"model_type": "siglip_vision_model", "image_size": 16, "patch_size": 8}
    text = {**TEXT, **LAYERS, "final_logit_softcapping": 5.0}  # of the config: the model with pictures does not cap
    return Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=vision, image_token_index=40))


def granite() -> PreTrainedModel:
    return GraniteForCausalLM(GraniteConfig(**TEXT, logits_scaling=13.0))


def cohere2() -> PreTrainedModel:
    return Cohere2ForCausalLM(Cohere2Config(**TEXT, logit_scale=0.0625, layer_types=["full_attention"] * 2))


CASES = {
    "gemma4": (gemma4, 1.0, 1.5),
    "gemma3": (gemma3, 1.0, None),
    "granite": (granite, 1 / 13, None),
    "cohere2": (cohere2, 0.0625, None),
}


@pytest.mark.parametrize(("build", "scale", "softcap"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_families_that_scale_or_cap(build, scale, softcap, dtype) -> None:
    model = build()
    models.widen(model, seed=1, factor=10.0)
    loaded = LoadedModel("random", model.eval().to(dtype), SimpleNamespace(tokenizer=words()), "")
    vars(loaded)["visual_ids"] = ()  # its processor is none
    encoded = Encoded({"input_ids": torch.tensor([[3, 5, 6, 7, 8, 9, 4]])}, (3,), (4,))
    head = head_of(loaded, 44)
    assert (head.scale, head.softcap) == (scale, softcap)
    with torch.no_grad():
        (hidden,), (logits,) = response_hidden(loaded, encoded), response_logits(loaded, encoded, 44)
        made = head.logits(hidden)
    kept = made.isfinite()
    torch.testing.assert_close(made[kept], logits[kept], rtol=2e-2 if dtype is torch.bfloat16 else 1e-5, atol=1e-2)
    assert logits.abs().max() > (0.9 * softcap if softcap else 1.0 * scale)


def results() -> Tensor:
    return torch.randn(2, 5, 30, generator=torch.Generator().manual_seed(1)) * torch.tensor(
        [1.0, 0.1, 8.0, 64.0, 8e3]
    ).view(1, 5, 1)


@pytest.mark.parametrize("scale", [1e-2, 0.3, 1.0, 20.0])
@pytest.mark.parametrize("softcap", [None, 0.7, 30.0, 200.0])
def test_a_map_is_found_from_its_logits(scale: float, softcap: float | None) -> None:
    x = results().double()
    y = scale * x if softcap is None else softcap * torch.tanh(scale * x / softcap)
    found = OutputMap.measured(x, y, {})
    assert found.scale == pytest.approx(scale, rel=1e-6)
    assert found.softcap == (None if softcap is None else pytest.approx(softcap, rel=1e-6))


def test_only_fields_about_logits_that_fit_are_taken() -> None:
    x = results()
    config = {"text_config": {"logits_scaling": 8.0, "logit_scale": None, "use_logits": True}, "hidden_size": 1.1}
    assert OutputMap.measured(x, x / 8, config) == OutputMap(1 / 8)
    assert OutputMap.measured(x, 1.1 * x, config).scale == pytest.approx(1.1)
    assert OutputMap.measured(x, x, config) == OutputMap()


def test_refuses_another_number_of_logits() -> None:
    x = results()
    with pytest.raises(NoOutputMap, match=r"got logits \(2, 5, 29\) from results \(2, 5, 30\)"):
        OutputMap.measured(x, x[..., 1:], {})
    with pytest.raises(NoOutputMap, match=r"got logits \(2, 5, 29\)"):
        OutputMap().check(x, x[..., 1:])
    with pytest.raises(NoOutputMap, match="got some that are not finite"):
        OutputMap.measured(x, x / 0, {})
