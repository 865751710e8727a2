"""On-policy rollouts: batched, cached sampling, untruncated unless asked, with one seeded random stream a rollout.

Sampling is exact and its randomness belongs to the rollout (seed, prompt, index), not to the batch: token t is the
inverse of the model's distribution at the t-th number of the rollout's own stream.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, GenerationMixin, LogitsProcessor, LogitsProcessorList

from vlm.checkpoints.checkpoint import CheckpointError, LoadedModel
from vlm.prompts.prompt import Prompt
from vlm.responses.finite import refuse_logits, whose
from vlm.responses.halving import Batches
from vlm.responses.picture_features import PictureFeatures
from vlm.views.view import encode_prompts, image_view, placed, together


@dataclass(frozen=True)
class Rollout:
    """One response: its token ids (end token included unless truncated) and their text."""

    prompt_id: str
    index: int
    token_ids: tuple[int, ...]
    text: str
    truncated: bool
    banned_mass: float | None = field(default=None, compare=False)
    """Mean probability, over the tokens, of the ids that sampling bans: pictures and rows of padding."""

    @property
    def rollout_id(self) -> str:
        return f"{self.prompt_id}/{self.index}"


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn. The published setting is temperature 1 without truncation; `greedy` is for accuracy."""

    max_response: int = 64
    per_prompt: int = 1
    seed: int = 0
    greedy: bool = False
    batch: int = 32
    top_p: float = 1.0
    """Probability that the ids which can be drawn have together, see `nucleus`; 1 for all ids."""


Job = tuple[Prompt, int]
"""A prompt, and which of its responses."""


def generate(
    loaded: LoadedModel,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    progress: Callable[[int], None] = lambda done: None,
    batches: Batches | None = None,
) -> list[Rollout]:
    """Sample `sampling.per_prompt` responses to each prompt, image view, in prompt order.

    Args:
        loaded: the model that speaks.
        prompts: the prompts.
        sampling: length, number, seed, batch. Batches are cut by prompt order.
        progress: called with the number of responses done after each batch.
        batches: halved where memory runs out; those of an earlier call start with what has fitted there. By default
            `sampling.batch` responses.

    Raises:
        TooLargeError: not even one response fits into memory.
        NotFiniteError: the model's logits are not finite.
    """
    jobs = [(prompt, index) for prompt in prompts for index in range(sampling.per_prompt)]
    rollouts: list[Rollout] = []
    batches = Batches(sampling.batch, "batch") if batches is None else batches
    for _, drawn in batches.over(len(jobs), lambda part: _generate_part(loaded, jobs[part], sampling)):
        rollouts += drawn
        progress(len(rollouts))
    return rollouts


def _generate_part(loaded: LoadedModel, jobs: Sequence[Job], sampling: Sampling) -> list[Rollout]:
    """Generate in one pass, or in one for each number of pictures where these cannot be mixed."""
    rollouts: dict[int, Rollout] = {}
    for rows in together([image_view(prompt) for prompt, _ in jobs], loaded.mixes_views):
        rollouts |= zip(rows, _generate_batch(loaded, [jobs[row] for row in rows], sampling), strict=True)
    return [rollouts[row] for row in sorted(rollouts)]


@torch.no_grad()
def _generate_batch(loaded: LoadedModel, jobs: Sequence[Job], sampling: Sampling) -> list[Rollout]:
    views = [image_view(prompt) for prompt, _ in jobs]
    inputs = placed(encode_prompts(views, loaded.processor), loaded.device, loaded.dtype)
    seeds = [stream_seed(sampling.seed, prompt.prompt_id, index) for prompt, index in jobs]
    chooser = _Chooser(seeds, loaded.banned_ids, sampling, whose(loaded))
    config = GenerationConfig(
        max_new_tokens=sampling.max_response,
        do_sample=False,
        eos_token_id=list(loaded.end_ids),
        pad_token_id=loaded.processor.tokenizer.pad_token_id,
    )
    generate_: Any = GenerationMixin.generate  # not the family's own, which may drop the sampler
    shared = PictureFeatures(loaded).inputs(views, inputs) if sampling.per_prompt > 1 else inputs
    ids = generate_(
        loaded.model,
        **shared,
        generation_config=config,
        logits_processor=LogitsProcessorList([chooser]),
        synced_gpus=False,  # each process samples by itself, also from weights that were in shards
    )
    new = ids[:, inputs["input_ids"].shape[1] :].cpu()
    if len(chooser.banned_mass) != new.shape[1]:
        raise CheckpointError(
            f"`checkpoint` {loaded.name} must take every token from the sampler, got {new.shape[1]} tokens and"
            f" {len(chooser.banned_mass)} of the sampler; its class generates otherwise, choose another model"
        )
    masses = torch.stack(chooser.banned_mass, dim=1).cpu()
    return [
        _rollout(loaded, prompt, index, row.tolist(), mass)
        for (prompt, index), row, mass in zip(jobs, new, masses, strict=True)
    ]


def _rollout(loaded: LoadedModel, prompt: Prompt, index: int, row: list[int], mass: Tensor) -> Rollout:
    ends = [position for position, token in enumerate(row) if token in loaded.end_ids]
    kept = row[: ends[0] + 1] if ends else row
    text = loaded.processor.tokenizer.decode(kept[:-1] if ends else kept, skip_special_tokens=False)
    banned_mass = float(mass[: len(kept)].mean())
    return Rollout(prompt.prompt_id, index, tuple(kept), text, truncated=not ends, banned_mass=banned_mass)


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Return which ids are in the smallest set of the most probable ones with a share of `top_p` in all, `[..., V]`.

    The id that completes the share is in it, and so there is always one; of equals the lower ids are.
    """
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    cumulative = ordered.cumsum(dim=-1)
    before = cumulative - ordered
    return torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before < top_p * cumulative[..., -1:])


class _Chooser(LogitsProcessor):
    """Leaves one token in each row: the most probable, or the one at the row's next random number.

    Two float64 tensors `[rows, V]` are held at a time. The host waits once per token, to check that all is finite.

    owner: whose logits these are, for messages.
    banned_mass: of each token so far, `[rows]`, in the distribution over all ids.
    """

    def __init__(
        self, seeds: Sequence[int], banned: Sequence[int], sampling: Sampling, owner: str = "the model"
    ) -> None:
        self._banned = torch.tensor(banned, dtype=torch.long)
        self._sampling, self._owner = sampling, owner
        self._uniform = torch.empty(0) if sampling.greedy else _uniform(seeds, sampling.max_response)
        self.banned_mass: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self._banned, self._uniform = self._banned.to(scores.device), self._uniform.to(scores.device)
        drawable = scores.index_fill(1, self._banned, -torch.inf)  # before the softmax: what is left has all the mass
        self._refuse(scores, drawable)
        self.banned_mass.append(self._mass(scores))
        return drawable if self._sampling.greedy else self._drawn(drawable)

    def _mass(self, scores: Tensor) -> Tensor:
        weights = scores.double()
        weights.sub_(weights.amax(dim=-1, keepdim=True)).exp_()
        return weights[:, self._banned].sum(dim=-1) / weights.sum(dim=-1)

    def _refuse(self, scores: Tensor, drawable: Tensor) -> None:
        largest = torch.stack([scores.amax(dim=-1), drawable.amax(dim=-1)])  # nan where any logit is
        if not largest.isfinite().all():
            for logits in (scores, drawable):
                refuse_logits(logits, self._owner)

    def _drawn(self, logits: Tensor) -> Tensor:
        """Leave the id at each row's next random number; one without probability is never drawn."""
        probabilities = torch.softmax(logits, dim=-1, dtype=torch.float64)
        if self._sampling.top_p < 1.0:
            probabilities.masked_fill_(~nucleus(probabilities, self._sampling.top_p), 0.0)
        cumulative = probabilities.cumsum_(dim=-1)
        number = len(self.banned_mass) - 1
        threshold = self._uniform[:, number : number + 1] * cumulative[:, -1:]
        chosen = torch.searchsorted(cumulative, threshold, right=True)
        return torch.full_like(logits, -torch.inf).scatter(1, chosen, 0.0)


def _uniform(seeds: Sequence[int], n: int) -> Tensor:
    """Return the first `n` random numbers of each stream, `[rows, n]`; a larger `n` begins with the same ones."""
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.rand(n, generator=stream, dtype=torch.float64) for stream in streams])


def stream_seed(seed: int, prompt_id: str, index: int) -> int:
    """A seed that depends on these three alone, the same on every machine and in every process."""
    digest = hashlib.sha256(f"{seed}/{prompt_id}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
