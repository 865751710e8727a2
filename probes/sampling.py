"""The start of every measurement: prompts that fit, the student's responses, and the scores of their tokens."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from cli.errors import OptionError
from cli.progress import progress
from geometry import TokenScores, equal_frequency_bins
from probes.settings import PromptOptions
from records import Shards
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.checkpoints.pair import Pair
from vlm.prompts.prompt import Prompt
from vlm.prompts.sources import PromptError, PromptSet
from vlm.responses.finite import NotFiniteError
from vlm.responses.fitting import check_views, fitting
from vlm.responses.halving import Batches
from vlm.responses.rollouts import Rollout, Sampling, generate
from vlm.responses.vllm_sampler import VllmSampler
from vlm.views.view import View, text_views

Score = Callable[[Sequence[Rollout]], Iterator[TokenScores]]

REPEATED = ("prompt_id", "dependency", "token_text")
"""Columns of `tokens` that say the same in many rows."""


@dataclass(frozen=True)
class Asked:
    """Prompts and their text views by `prompt_id`, and how many prompts were left out and why."""

    prompts: Mapping[str, Prompt]
    text_views: Mapping[str, View]
    left_out: Mapping[str, int]


def ask(pair: Pair, read: PromptSet, options: PromptOptions) -> Asked:
    """Keep the prompts that both models can read and have room for a full response to, and make their text views.

    Raises:
        NothingFitsError: none is left.
        PromptError: none that is left shows a picture.
        PictureError, ViewError: a prompt cannot be read; its row is named.
    """
    kept = fitting(pair.models, read.prompts, options.longest_response, options).with_bad(len(read.bad))
    kept.say()
    if not any(prompt.has_image for prompt in kept.prompts):
        raise PromptError(f"`prompts` must hold a prompt with a picture, got {len(kept.prompts)} without; add one")
    by_id = {prompt.prompt_id: prompt for prompt in kept.prompts}
    views = dict(zip(by_id, text_views(kept.prompts, options.text_view), strict=True))
    check_views(pair.models, views.values())
    return Asked(by_id, views, kept.left_out)


def sample(
    student: LoadedModel, prompts: Sequence[Prompt], options: PromptOptions, shards: Shards, folder: str | None = None
) -> list[Rollout]:
    """Return the student's responses, sampled on-policy; `shards` and `folder` as in `sample_shards`."""
    sampling = Sampling(options.longest_response, options.rollouts_per_prompt, options.seed, batch=options.batch)
    return sample_shards(student, prompts, sampling, shards, folder)


def sample_shards(
    student: LoadedModel,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    shards: Shards,
    folder: str | None = None,
) -> list[Rollout]:
    """Return the student's responses, in the order of the prompts; an interrupted run continues where it stood.

    Args:
        shards: where responses are kept, and found if they are there already.
        folder: from which vLLM loads the student and samples; None for transformers.
    """
    per_prompt, batches = sampling.per_prompt, Batches(sampling.batch, "batch")
    sampler: AbstractContextManager[Callable[[Sequence[Prompt]], list[Rollout]]]
    sampler = nullcontext(lambda part: generate(student, part, sampling, batches=batches))
    if folder is not None:
        sampler = VllmSampler(folder, student, prompts, sampling)
    with progress("rollouts", len(prompts) * per_prompt) as show, sampler as draw:
        for shard, start in enumerate(range(0, len(prompts), sampling.batch)):
            part = prompts[start : start + sampling.batch]
            if shards.due(shard, "rollouts"):
                shards.add("rollouts", shard, pd.DataFrame([asdict(rollout) for rollout in draw(part)]))
            show((start + len(part)) * per_prompt)
    return _read_rollouts(shards.gather("rollouts"))


def cut(rollouts: Sequence[Rollout], batch: int) -> list[Mapping[int, Rollout]]:
    """Cut responses into shards of a forward batch, each response with its number."""
    numbered = list(enumerate(rollouts))
    return [dict(numbered[start : start + batch]) for start in range(0, len(rollouts), batch)]


def score_tokens(
    prompts: Mapping[str, Prompt], parts: Sequence[Mapping[int, Rollout]], score: Score, tokenizer: Any, shards: Shards
) -> pd.DataFrame:
    """Return the table `tokens` without its bins: each response token's divergences and entropy.

    Args:
        prompts: by `prompt_id`.
        parts: the responses by number, as `cut` returns them.
        score: yields the scores of each of some rollouts.
        tokenizer: spells the tokens.

    Raises:
        NotFiniteError: a token's divergence is not finite.
    """
    with progress("scoring", sum(map(len, parts))) as show:
        for shard, part in enumerate(parts):
            if shards.due(shard, "tokens"):
                rollouts = list(part.values())
                frames = [
                    token_rows(prompts[rollout.prompt_id], rollout, scores, tokenizer).assign(rollout_id=number)
                    for (number, rollout), scores in zip(part.items(), score(rollouts), strict=True)
                ]
                shards.add("tokens", shard, pd.concat(frames, ignore_index=True))
            show(max(part) + 1)
    return shards.gather("tokens", REPEATED)


def binned(tokens: pd.DataFrame, n_bins: int) -> pd.DataFrame:
    """Return the table `tokens` with the bin of each token's VDS.

    The bins are over the tokens of prompts with a picture; the others have bin -1. Tokens of equal VDS share a bin.

    Raises:
        OptionError: there are more bins than these tokens.
    """
    pictured = tokens["has_image"].to_numpy()
    bins = tokens["position"].to_numpy() * 0 - 1
    bins[pictured] = bins_of(tokens.loc[pictured, "vds_nats"], n_bins)
    return tokens.assign(bin=bins)


def bins_of(vds: pd.Series, n_bins: int) -> np.ndarray:
    """Return the bin of each token of prompts with a picture.

    Raises:
        OptionError: there are more bins than tokens.
    """
    if 0 < len(vds) < n_bins:
        raise OptionError(
            f"`bins` must be at most {len(vds)}, the response tokens of prompts with a picture, got {n_bins};"
            " lower --bins, or measure more prompts"
        )
    return equal_frequency_bins(torch.from_numpy(vds.to_numpy(copy=True)), n_bins).numpy()


def _read_rollouts(rows: pd.DataFrame) -> list[Rollout]:
    """Read rows back; equal token ids are one object, as a number takes four times as much as a place in a tuple."""
    ids: dict[int, int] = {}
    rollouts = []
    for row in rows.to_dict("records"):
        fields = {str(name): value for name, value in row.items()}
        shared = tuple(ids.setdefault(token, token) for token in map(int, row["token_ids"]))
        rollouts.append(Rollout(**fields | {"token_ids": shared}))
    return rollouts


def token_rows(prompt: Prompt, rollout: Rollout, scores: TokenScores, tokenizer: Any) -> pd.DataFrame:
    """Return the rows of one response in the table `tokens`, without its number and bins."""
    parts = scores.parts
    spelled = tokenizer.convert_ids_to_tokens(list(rollout.token_ids))
    numbers = {
        "vds_nats": parts.vds,
        "student_vds_nats": parts.student_vds,
        "kl_standard_nats": parts.standard,
        "kl_language_nats": parts.language,
        "kl_visual_nats": parts.visual,
        "entropy_nats": scores.entropy,
    }
    _refuse_not_finite(numbers, rollout)
    return pd.DataFrame(
        {
            "prompt_id": prompt.prompt_id,
            "dependency": prompt.dependency,
            "has_image": prompt.has_image,
            "position": range(len(rollout.token_ids)),
            "token_id": rollout.token_ids,
            "token_text": spelled,
            **{name: values.double().cpu().numpy() for name, values in numbers.items()},
        }
    )


def _refuse_not_finite(numbers: Mapping[str, torch.Tensor], rollout: Rollout) -> None:
    """Refuse divergences that are not finite although both models' logits are."""
    if broken := [name for name, values in numbers.items() if not values.isfinite().all()]:
        raise NotFiniteError(
            f"`{broken[0]}` of response {rollout.rollout_id} is not finite: one model rules out an id that the other"
            " draws, or logits are too far apart for the `dtype`; try float32, or check the weights"
        )
