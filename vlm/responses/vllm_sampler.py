"""Rollouts through vLLM, as an extra: `pip install 'vgs-geometry[vllm]'`.

vLLM loads the student from its folder and samples at temperature 1 without truncation, each rollout with a seed of its
own that depends on seed, prompt and index alone. Its random streams and its kernels are not those of transformers: the
rollouts are others, from the same distribution up to rounding. The ids that sampling bans get the largest negative bias
that vLLM takes, -100; a response that holds one all the same is refused.

Checked with a stand-in for the package alone: neither vLLM nor a GPU was at hand.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import torch

from cli.errors import OptionError
from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.checkpoints.configs import readable
from vlm.prompts.prompt import Prompt
from vlm.responses.rollouts import Job, Rollout, Sampling, stream_seed
from vlm.views.encoding import adds_special_tokens
from vlm.views.view import encode_prompts, image_view, prompt_length, render

MEMORY_SHARE = 0.9
"""Of the memory that is free on a GPU, what vLLM may take."""
BIAS = -100.0


def refuse_missing_vllm() -> None:
    """Refuse to go on without the package.

    Raises:
        OptionError: it is not installed.
    """
    if find_spec("vllm") is None:
        raise OptionError("`sampler` vllm needs the package vllm: pip install 'vgs-geometry[vllm]'")


def folder_of(checkpoint: str) -> str:
    """Return the folder that vLLM loads a checkpoint from.

    Raises:
        CheckpointError: it is a folder of adapters, which are merged into the weights here.
    """
    source = readable(checkpoint)
    if source.is_adapter:
        raise CheckpointError(
            f"`sampler` vllm reads whole weights, but {source.place.asked} is an adapter: merge it into its base first,"
            " or leave `sampler` out"
        )
    return str(source.base.folder)


@dataclass
class VllmSampler:
    """vLLM's engine for a student, made when it is first needed; a context manager that frees its memory.

    Args:
        folder: what `folder_of` returns.
        loaded: the same student as it is loaded here; its processor reads prompts and writes text.
        prompts: all that will be asked, which bounds the engine's context.
        sampling: how responses are drawn.
    """

    folder: str
    loaded: LoadedModel
    prompts: Sequence[Prompt]
    sampling: Sampling

    def __enter__(self) -> "VllmSampler":
        return self

    def __exit__(self, *_: object) -> None:
        self.__dict__.pop("_engine", None)
        gc.collect()
        if self.loaded.device.type == "cuda":
            torch.cuda.empty_cache()

    def __call__(self, prompts: Sequence[Prompt]) -> list[Rollout]:
        """Return `sampling.per_prompt` responses to each prompt, in prompt order.

        Raises:
            CheckpointError: vLLM reads a prompt as other tokens, or draws an id that is banned.
        """
        jobs: list[Job] = [(prompt, index) for prompt in prompts for index in range(self.sampling.per_prompt)]
        requests = {prompt.prompt_id: self._request(prompt) for prompt in prompts}
        asked = [requests[prompt.prompt_id] for prompt, _ in jobs]
        outputs = self._engine.generate(asked, [self._parameters(*job) for job in jobs], use_tqdm=False)
        expected = {prompt.prompt_id: self._ids(prompt) for prompt in prompts}
        for (prompt, _), output in zip(jobs, outputs, strict=True):
            if list(output.prompt_token_ids) != expected[prompt.prompt_id]:
                raise CheckpointError(
                    f"`sampler` vllm must read the prompt {prompt.prompt_id!r} as the"
                    f" {len(expected[prompt.prompt_id])} tokens that the processor makes of it, got"
                    f" {len(output.prompt_token_ids)} or others: leave `sampler` out"
                )
        return [self._rollout(*job, output.outputs[0]) for job, output in zip(jobs, outputs, strict=True)]

    @cached_property
    def _engine(self) -> Any:
        from vllm import LLM

        longest = max(prompt_length(image_view(prompt), self.loaded.processor) for prompt in self.prompts)
        settings: dict[str, Any] = {
            "model": self.folder,
            "dtype": str(self.loaded.dtype).removeprefix("torch."),
            "max_model_len": longest + self.sampling.max_response,
            "limit_mm_per_prompt": {"image": max(1, *(len(prompt.images) for prompt in self.prompts))},
            "generation_config": "vllm",  # none of the checkpoint's settings of sampling
            "seed": self.sampling.seed,
            "trust_remote_code": False,
        }
        if self.loaded.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.loaded.device)
            settings["gpu_memory_utilization"] = MEMORY_SHARE * free / total
        return LLM(**settings)

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        """A prompt's tokens, one for each picture, and the pictures as the processor here is given them."""
        view, tokenizer = image_view(prompt), self.loaded.processor.tokenizer
        text = render(view, self.loaded.processor)
        ids = tokenizer(text, add_special_tokens=adds_special_tokens(text, tokenizer))["input_ids"]
        pictures = [picture.load() for picture in view.images]
        return {"prompt_token_ids": list(ids)} | ({"multi_modal_data": {"image": pictures}} if pictures else {})

    def _ids(self, prompt: Prompt) -> list[int]:
        return encode_prompts([image_view(prompt)], self.loaded.processor)["input_ids"][0].tolist()

    def _parameters(self, prompt: Prompt, index: int) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            seed=stream_seed(self.sampling.seed, prompt.prompt_id, index),
            temperature=0.0 if self.sampling.greedy else 1.0,
            top_p=self.sampling.top_p,
            top_k=-1,
            min_p=0.0,
            repetition_penalty=1.0,
            max_tokens=self.sampling.max_response,
            stop_token_ids=list(self.loaded.end_ids),
            logit_bias=dict.fromkeys(self.loaded.banned_ids, BIAS),
            detokenize=False,
        )

    def _rollout(self, prompt: Prompt, index: int, output: Any) -> Rollout:
        ids, ends, tokenizer = list(output.token_ids), self.loaded.end_ids, self.loaded.processor.tokenizer
        has_ended = output.finish_reason == "stop"
        if has_ended and (not ids or ids[-1] not in ends):  # an end token that was left out
            ids.append(output.stop_reason if output.stop_reason in ends else tokenizer.eos_token_id)
        if banned := sorted({*ids} & {*self.loaded.banned_ids}):
            raise CheckpointError(
                f"`sampler` vllm drew the id {banned[0]}, which sampling bans, in response {prompt.prompt_id}/{index}:"
                " leave `sampler` out"
            )
        text = tokenizer.decode(ids[:-1] if has_ended else ids, skip_special_tokens=False)
        return Rollout(prompt.prompt_id, index, tuple(ids), text, truncated=not has_ended)
