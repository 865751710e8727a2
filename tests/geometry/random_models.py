"""Small vision-language models of random configurations, a response of any length, and units of its tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers as tf
from hypothesis import strategies as st
from torch import Tensor, nn

from geometry import Cotangents, FourViews, Gramian, ProbedResponse, adam_metric, cotangents
from tests.geometry.problems import normal, tensor
from tests.geometry.test_families import END, IMAGE, SPECIAL, START, Float64, drawn
from vlm.families import parameter_groups

TEXTS = ("llama", "qwen2", "qwen3", "phi", "cohere", "gemma2", "starcoder2", "mistral")
"""Text models of LLaVA: biases, norms of queries and keys, parts of heads turned, layer norms, capped scores."""


@dataclass(frozen=True)
class Setup:
    """A configuration, and the numbers of pictures and of tokens.

    kind: `qwen3_vl`, `gemma3`, or the text model of a LLaVA.
    """

    kind: str
    layers: int
    heads: int
    key_heads: int
    head_dim: int
    tied: bool
    attention: str
    window: int
    n_pictures: int
    n_tokens: int

    @property
    def is_llava(self) -> bool:
        return self.kind in TEXTS

    def text(self) -> dict[str, Any]:
        """Return the configuration of the text model."""
        body: dict[str, Any] = {
            "hidden_size": 16,
            "intermediate_size": 20,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "head_dim": self.head_dim,
            "vocab_size": 40,
            "pad_token_id": 0,
        }
        if self.kind == "phi":
            body |= {"partial_rotary_factor": 0.5, "hidden_size": self.heads * self.head_dim}
        elif self.kind in ("starcoder2", "qwen2", "cohere"):
            body |= {"hidden_size": self.heads * self.head_dim}
        if self.kind == "qwen3_vl":
            rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [self.head_dim // 2 - 2, 1, 1]}
            body |= {"rope_parameters": rope}
        elif self.kind in ("gemma2", "gemma3", "mistral"):
            body |= {"sliding_window": self.window}
        if self.kind in ("gemma2", "gemma3"):
            body |= {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"][: self.layers]}
        return body

    def model(self) -> tf.PreTrainedModel:
        """Draw a model in float64."""
        body, options = self.text(), dict[str, Any]({"tie_word_embeddings": self.tied})
        options["attn_implementation"] = "eager" if self.kind == "gemma2" else self.attention
        tower: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 20}
        if self.kind == "qwen3_vl":
            tower |= {"depth": 2, "num_heads": 2, "patch_size": 4, "out_hidden_size": 16}
            tower |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
            config = tf.Qwen3VLConfig(text_config=body, vision_config=tower, **SPECIAL, **options)
            return drawn(tf.Qwen3VLForConditionalGeneration(config))
        tower |= {"num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16}
        if self.kind == "gemma3":
            marks = {"image_token_index": IMAGE, "boi_token_index": START, "eoi_token_index": END}
            tower |= {"patch_size": 4}
            config = tf.Gemma3Config(text_config=body, vision_config=tower, mm_tokens_per_image=4, **marks, **options)
            return drawn(tf.Gemma3ForConditionalGeneration(config))
        tower |= {"model_type": "clip_vision_model", "patch_size": 8}
        body |= {"model_type": self.kind}
        config = tf.LlavaConfig(text_config=body, vision_config=tower, image_token_index=IMAGE, **options)
        return drawn(tf.LlavaForConditionalGeneration(config))

    def inputs(self, n_pictures: int) -> dict[str, Tensor]:
        """Return what the model is given: pictures, three words, and the response."""
        words = torch.randint(1, IMAGE, (3 + self.n_tokens,), generator=torch.Generator().manual_seed(9)).tolist()
        ids = torch.tensor([[0, *(each for _ in range(n_pictures) for each in (START, *[IMAGE] * 4, END)), *words]])
        made, is_picture = {"input_ids": ids}, ids.eq(IMAGE)
        if self.kind == "qwen3_vl":
            made |= {"mm_token_type_ids": is_picture.int()}
        if self.kind == "gemma3":
            made |= {"token_type_ids": is_picture.long()}
        if not n_pictures:
            return made
        if self.kind == "qwen3_vl":
            patches = normal(16 * n_pictures, 3 * 2 * 4 * 4)
            return made | {"pixel_values": patches, "image_grid_thw": torch.tensor([[1, 4, 4]] * n_pictures)}
        return made | {"pixel_values": normal(n_pictures, 3, 16, 16)}


@dataclass(frozen=True)
class Case:
    """A model, its response, and units."""

    model: nn.Module
    response: ProbedResponse
    weights: Tensor

    def grams(self, engine: Gramian) -> dict[str, Tensor]:
        """Return the Gram matrices of the units by group."""
        return {name: tensor(gram) for name, gram in engine.units(self.response, self.weights).items()}

    def groups(self, left_out: str = "") -> dict[str, list[nn.Parameter]]:
        """Return the groups, without parameters in whose names this stands."""
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        groups = parameter_groups(self.model)
        if not left_out:
            return groups
        kept = {name: [p for p in members if left_out not in names[p]] for name, members in groups.items()}
        return {name: members for name, members in kept.items() if members}

    def metric(self) -> Mapping[nn.Parameter, Tensor]:
        """Return a metric of Adam's."""
        return adam_metric({p: normal(*p.shape, seed=9).square() for p in self.model.parameters()}, eps=0.1)


def case_of(setup: Setup, weights: Tensor) -> Case:
    """Build a case; its teacher is the student with noise."""
    model, n = setup.model(), setup.n_tokens

    def view(n_pictures: int) -> Any:
        inputs = setup.inputs(n_pictures)
        length = inputs["input_ids"].shape[1]

        def logits(positions: Tensor) -> Tensor:
            stop = length - n + int(positions[-1])
            cut = {name: each[:, :stop] if each.shape[:2] == (1, length) else each for name, each in inputs.items()}
            with Float64():
                return model(**cut, use_cache=False).logits[0, length - n - 1 + positions]

        return logits

    text = view(0)
    image = view(setup.n_pictures) if setup.n_pictures else text
    with torch.no_grad():
        of_image, of_text = image(torch.arange(n)), text(torch.arange(n))
    shift = 8 if setup.n_pictures else 7
    teacher = of_image + normal(*of_image.shape, seed=7), of_text + normal(*of_text.shape, seed=shift)
    cots: Cotangents = cotangents(FourViews(of_image, of_text, *teacher))
    return Case(model, ProbedResponse(image, text, cots, torch.arange(n)), weights)


@st.composite
def setups(draw: st.DrawFn) -> Setup:
    """Draw a configuration."""
    key_heads = draw(st.sampled_from([1, 2]))
    return Setup(
        kind=draw(st.sampled_from(["qwen3_vl", "gemma3", *TEXTS])),
        layers=draw(st.integers(1, 3)),
        heads=key_heads * draw(st.sampled_from([1, 2])),
        key_heads=key_heads,
        head_dim=8,
        tied=draw(st.booleans()),
        attention=draw(st.sampled_from(["sdpa", "eager"])),
        window=draw(st.integers(2, 6)),
        n_pictures=draw(st.integers(0, 2)),
        n_tokens=draw(st.integers(1, 12)),
    )


@st.composite
def units(draw: st.DrawFn, n: int) -> Tensor:
    """Draw units of n tokens: each token; bins of several; or any with weights of both signs, which may overlap."""
    kind = draw(st.sampled_from(["tokens", "bins", "signed"]))
    if kind == "tokens":
        return torch.eye(n, dtype=torch.float64)
    if kind == "bins":
        bins = torch.tensor([draw(st.integers(0, 2)) for _ in range(n)])
        rows = bins == torch.arange(3)[:, None]
        return (rows / rows.sum(1, keepdim=True).clamp_min(1)).double()
    rows = normal(draw(st.integers(1, 4)), n, seed=draw(st.integers(0, 99)))
    return rows * (normal(*rows.shape, seed=draw(st.integers(0, 99))) > 0)
