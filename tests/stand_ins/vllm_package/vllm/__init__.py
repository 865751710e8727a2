"""A stand-in for vLLM: its `LLM` and `SamplingParams` as far as they are used here, with a real model behind them.

Put `tests/stand_ins/vllm_package` on the path. `SPOIL` changes what is returned, `CALLS` tells what was asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from vlm.checkpoints.checkpoint import load_model

CALLS: list[dict[str, Any]] = []
SPOIL: list[Callable[["RequestOutput"], None]] = []


@dataclass(kw_only=True)
class SamplingParams:
    """The arguments of vLLM's class that are used here; the bias is held to what vLLM takes."""

    seed: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 16
    stop_token_ids: list[int] | None = None
    logit_bias: dict[int, float] | None = None
    detokenize: bool = True

    def __post_init__(self) -> None:
        assert self.top_k in (0, -1) or self.top_k >= 1
        assert self.seed is None or -(2**63) <= self.seed < 2**63
        self.logit_bias = {i: min(max(bias, -100.0), 100.0) for i, bias in (self.logit_bias or {}).items()}


@dataclass
class CompletionOutput:
    token_ids: list[int]
    finish_reason: str
    stop_reason: int | str | None = None
    text: str = ""


@dataclass
class RequestOutput:
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]


class LLM:
    """One model; each request is run by itself."""

    def __init__(self, *, model: str, dtype: str, max_model_len: int, **settings: Any) -> None:
        assert settings["generation_config"] == "vllm" and settings["trust_remote_code"] is False
        self._loaded, self._longest = load_model(model, dtype=dtype), max_model_len
        self._images = settings["limit_mm_per_prompt"]["image"]
        CALLS.append({"model": model, "max_model_len": max_model_len, **settings})

    def generate(
        self, prompts: Sequence[dict[str, Any]], sampling_params: Sequence[SamplingParams], use_tqdm: bool = True
    ) -> list[RequestOutput]:
        outputs = [self._one(*pair) for pair in zip(prompts, sampling_params, strict=True)]
        for spoil in SPOIL:
            for output in outputs:
                spoil(output)
        return outputs

    @torch.no_grad()
    def _one(self, prompt: dict[str, Any], params: SamplingParams) -> RequestOutput:
        CALLS.append({"params": params})
        processor = self._loaded.processor
        images: list[Image.Image] = prompt.get("multi_modal_data", {}).get("image", [])
        assert len(images) <= self._images
        text = processor.tokenizer.decode(prompt["prompt_token_ids"], skip_special_tokens=False)
        inputs = dict(processor(text=[text], **({"images": [images]} if images else {}), return_tensors="pt"))
        ids, stream, drawn = inputs["input_ids"], torch.Generator().manual_seed(params.seed or 0), []
        bias = torch.zeros(self._loaded.n_rows)
        bias[list(params.logit_bias or {})] = torch.tensor(list((params.logit_bias or {}).values()))
        while len(drawn) < params.max_tokens and not (drawn and drawn[-1] in (params.stop_token_ids or ())):
            tail = torch.tensor([drawn], dtype=ids.dtype)
            known = {"input_ids": torch.cat([ids, tail], 1)}
            for name in ("attention_mask", "mm_token_type_ids"):
                known[name] = torch.cat([inputs[name], torch.full_like(tail, int(name == "attention_mask"))], 1)
            logits = self._loaded.model(**inputs | known, use_cache=False).logits[0, -1] + bias
            p = torch.softmax(logits.double(), -1)
            drawn.append(int(p.argmax() if params.temperature == 0 else torch.multinomial(p, 1, generator=stream)))
        assert ids.shape[1] + len(drawn) <= self._longest
        has_ended = drawn[-1] in (params.stop_token_ids or ())
        one = CompletionOutput(drawn, "stop" if has_ended else "length", drawn[-1] if has_ended else None)
        return RequestOutput(ids[0].tolist(), [one])
