"""The start of every measurement: prompts that fit, the student's responses, and the scores of their tokens."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import torch

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
from vlm.responses.rollouts import Rollout, Sampling, generate
from vlm.views.view import View, text_views

Score = Callable[[Sequence[Rollout]], Iterator[TokenScores]]

SHARD = 32  # prompts per shard: what an interrupted run loses at most


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
    kept = fitting(pair.models, read.prompts, options.max_response, options).with_bad(len(read.bad))
    kept.say()
    if not any(prompt.has_image for prompt in kept.prompts):
        raise PromptError(f"`prompts` must hold a prompt with a picture, got {len(kept.prompts)} without; add one")
    by_id = {prompt.prompt_id: prompt for prompt in kept.prompts}
    views = dict(zip(by_id, text_views(kept.prompts, options.text_view), strict=True))
    check_views(pair.models, views.values())
    return Asked(by_id, views, kept.left_out)


def sample(student: LoadedModel, prompts: Sequence[Prompt], options: PromptOptions, shards: Shards) -> list[Rollout]:
    """Return the student's responses, sampled on-policy; an interrupted run continues where it stood."""
    sampling = Sampling(options.max_response, options.rollouts_per_prompt, options.seed, batch=options.batch)
    with progress("rollouts", len(prompts) * options.rollouts_per_prompt) as show:
        for shard, start in enumerate(range(0, len(prompts), SHARD)):
            part = prompts[start : start + SHARD]
            if not shards.has("rollouts", shard):
                sampled = generate(student, part, sampling)
                shards.add("rollouts", shard, pd.DataFrame([asdict(rollout) for rollout in sampled]))
            show((start + len(part)) * options.rollouts_per_prompt)
    return [_read_rollout(row) for row in shards.gather("rollouts").to_dict("records")]


def score_tokens(
    prompts: Mapping[str, Prompt], rollouts: Sequence[Rollout], score: Score, tokenizer: Any, shards: Shards
) -> pd.DataFrame:
    """Return the table `tokens` without its bins: each response token's divergences and entropy.

    Args:
        prompts: by `prompt_id`.
        score: yields the scores of each of some rollouts.
        tokenizer: spells the tokens.

    Raises:
        NotFiniteError: a token's divergence is not finite.
    """
    size = SHARD * 2
    with progress("scoring", len(rollouts)) as show:
        for shard, start in enumerate(range(0, len(rollouts), size)):
            part = rollouts[start : start + size]
            if not shards.has("tokens", shard):
                frames = [
                    _token_rows(prompts[rollout.prompt_id], rollout, scores, tokenizer).assign(rollout_id=number)
                    for number, (rollout, scores) in enumerate(zip(part, score(part), strict=True), start)
                ]
                shards.add("tokens", shard, pd.concat(frames, ignore_index=True))
            show(start + len(part))
    return shards.gather("tokens")


def binned(tokens: pd.DataFrame, n_bins: int) -> pd.DataFrame:
    """Return the table `tokens` with the bin of each token's VDS.

    The bins are over the tokens of prompts with a picture; the others have bin -1.
    """
    pictured = tokens["has_image"].to_numpy()
    vds = torch.from_numpy(tokens.loc[pictured, "vds_nats"].to_numpy(copy=True))
    bins = tokens["position"].to_numpy() * 0 - 1
    bins[pictured] = equal_frequency_bins(vds, n_bins, key=torch.arange(len(vds))).numpy()
    return tokens.assign(bin=bins)


def _read_rollout(row: Mapping[Hashable, Any]) -> Rollout:
    fields = {str(name): value for name, value in row.items()}
    return Rollout(**fields | {"token_ids": tuple(int(token) for token in row["token_ids"])})


def _token_rows(prompt: Prompt, rollout: Rollout, scores: TokenScores, tokenizer: Any) -> pd.DataFrame:
    """The rows of one response, without its number."""
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
