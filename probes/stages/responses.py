"""The start of every measurement: prompts that fit, the student's responses, and the scores of their tokens."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from cli.progress import progress
from geometry import FourViews, decompose, equal_frequency_bins, log_probs
from vlm.answers import is_correct
from vlm.evaluation import evaluate
from vlm.pair import Pair
from vlm.prompts import Prompt
from vlm.rollouts import Rollout, Sampling, generate
from vlm.sources import PromptError
from vlm.views import View, image_view, prompt_length, text_view, text_views

if TYPE_CHECKING:
    from probes.analyzer import Analyzer
    from probes.corpus import Corpus

SHARD = 32  # prompts per shard: what an interrupted run loses at most


@dataclass(frozen=True)
class Asked:
    """Prompts and their text views by `prompt_id`, and how many prompts were left out and why."""

    prompts: Mapping[str, Prompt]
    text_views: Mapping[str, View]
    left_out: Mapping[str, int]


def ask(pair: Pair, prompts: Sequence[Prompt], max_response: int, text_view: str) -> Asked:
    """Keep the prompts that have room for a full response in the context of both models, and make their text views.

    Raises:
        PromptError: no prompt has room, or none that has shows a picture.
    """
    kept = [prompt for prompt in prompts if not _too_long(pair, prompt, max_response)]
    if not kept:
        raise PromptError(
            f"`max_response` {max_response} leaves none of the {len(prompts)} prompts within the models' context;"
            " give a smaller one or shorter prompts"
        )
    if not any(prompt.has_image for prompt in kept):
        raise PromptError(f"`prompts` must hold a prompt with a picture, got {len(kept)} without; add one")
    by_id = {prompt.prompt_id: prompt for prompt in kept}
    views = dict(zip(by_id, text_views(kept, text_view), strict=True))
    return Asked(by_id, views, {"longer than the context": len(prompts) - len(kept)})


def sample(corpus: "Corpus") -> list[Rollout]:
    """Return the student's responses, sampled on-policy; an interrupted run continues where it stood."""
    options, shards = corpus.prompt_options, corpus.shards
    prompts = list(corpus.prompts.values())
    sampling = Sampling(options.max_response, options.rollouts_per_prompt, options.seed, batch=options.batch)
    with progress("rollouts", len(prompts) * options.rollouts_per_prompt) as show:
        for shard, start in enumerate(range(0, len(prompts), SHARD)):
            part = prompts[start : start + SHARD]
            if not shards.has("rollouts", shard):
                sampled = generate(corpus.pair.student, part, sampling)
                shards.add("rollouts", shard, pd.DataFrame([asdict(rollout) for rollout in sampled]))
            show((start + len(part)) * options.rollouts_per_prompt)
    return [_read_rollout(row) for row in shards.gather("rollouts").to_dict("records")]


def score_tokens(corpus: "Corpus") -> pd.DataFrame:
    """Return the table `tokens`: each response token's divergences and entropy, and the bin of its VDS.

    The bins are over the tokens of prompts with a picture; the others have bin -1.
    """
    rollouts, shards, size = corpus.rollouts, corpus.shards, SHARD * 2
    with progress("scoring", len(rollouts)) as show:
        for shard, start in enumerate(range(0, len(rollouts), size)):
            part = rollouts[start : start + size]
            if not shards.has("tokens", shard):
                scored = enumerate(zip(part, corpus.score(part), strict=True), start)
                frames = [_token_rows(corpus, number, rollout, views) for number, (rollout, views) in scored]
                shards.add("tokens", shard, pd.concat(frames, ignore_index=True))
            show(start + len(part))
    return _binned(shards.gather("tokens"), corpus.bin_options.bins)


def rollout_table(analyzer: "Analyzer") -> pd.DataFrame:
    """Return the table `rollouts`: the responses, judged where an answer is stated."""
    numbered = enumerate(analyzer.rollouts)
    return pd.DataFrame([rollout_row(n, analyzer.prompts[rollout.prompt_id], rollout) for n, rollout in numbered])


def answer_table(analyzer: "Analyzer", samples: int, *, without_image: bool = False) -> pd.DataFrame:
    """Return the table `rollouts` of the student's greedy answers to all prompts, or of `samples` sampled ones each.

    without_image: leave the pictures out of the prompts.
    """
    options, prompts = analyzer.prompt_options, analyzer.source_prompts
    if without_image:
        views = [text_view(prompt) for prompt in prompts]
        pairs = zip(prompts, views, strict=True)
        prompts = [replace(prompt, messages=view.messages, images=view.images) for prompt, view in pairs]
    per_prompt = max(samples, 1)
    sampling = Sampling(options.max_response, per_prompt, options.seed, samples == 0, options.batch)
    with progress("answers", len(prompts) * per_prompt) as show:
        verdicts = evaluate(analyzer.student, prompts, sampling, progress=show)
    return pd.DataFrame([rollout_row(n, verdict.prompt, verdict.rollout) for n, verdict in enumerate(verdicts)])


def greedy_answers(analyzer: "Analyzer", questions: Sequence[Prompt]) -> pd.DataFrame:
    """Return a row for each question: the greedy `response`, and whether it is `correct`."""
    options, shards = analyzer.prompt_options, analyzer.shards
    sampling = Sampling(options.max_response, greedy=True, batch=options.batch)
    with progress("answers", len(questions)) as show:
        for shard, start in enumerate(range(0, len(questions), SHARD * 2)):
            part = questions[start : start + SHARD * 2]
            if not shards.has("answers", shard):
                verdicts = evaluate(analyzer.pair.student, part, sampling)
                rows = [{"response": verdict.rollout.text, "correct": verdict.correct} for verdict in verdicts]
                shards.add("answers", shard, pd.DataFrame(rows))
            show(start + len(part))
    return shards.gather("answers")


def rollout_row(number: int, prompt: Prompt, rollout: Rollout) -> dict[str, Any]:
    """Return a row of the table `rollouts`."""
    return {
        "rollout_id": number,
        "prompt_id": prompt.prompt_id,
        "task": prompt.task,
        "dependency": prompt.dependency,
        "has_image": prompt.has_image,
        "prompt": prompt.text,
        "response": rollout.text,
        "answer": prompt.answer,
        "correct": is_correct(rollout.text, prompt.answer) if prompt.answer else None,
        "n_tokens": len(rollout.token_ids),
        "truncated": rollout.truncated,
    }


def _too_long(pair: Pair, prompt: Prompt, max_response: int) -> bool:
    """Whether the prompt, pictures included, and a response of full length exceed either model's context."""
    view = image_view(prompt)
    return any(prompt_length(view, loaded.processor) + max_response > loaded.context for loaded in pair.models)


def _read_rollout(row: Mapping[Hashable, Any]) -> Rollout:
    fields = {str(name): value for name, value in row.items()}
    return Rollout(**fields | {"token_ids": tuple(int(token) for token in row["token_ids"])})


def _token_rows(corpus: "Corpus", number: int, rollout: Rollout, views: FourViews) -> pd.DataFrame:
    """The rows of the table `tokens` of one response, without their bins."""
    parts, log_p = decompose(views), log_probs(views.student_image)
    prompt = corpus.prompts[rollout.prompt_id]
    spelled = corpus.pair.student.processor.tokenizer.convert_ids_to_tokens(list(rollout.token_ids))
    numbers = {
        "vds_nats": parts.vds,
        "student_vds_nats": parts.student_vds,
        "kl_standard_nats": parts.standard,
        "kl_language_nats": parts.language,
        "kl_visual_nats": parts.visual,
        "entropy_nats": torch.special.entr(log_p.exp()).sum(dim=-1),
    }
    return pd.DataFrame(
        {
            "prompt_id": prompt.prompt_id,
            "rollout_id": number,
            "dependency": prompt.dependency,
            "has_image": prompt.has_image,
            "position": range(len(rollout.token_ids)),
            "token_id": rollout.token_ids,
            "token_text": spelled,
            **{name: values.double().cpu().numpy() for name, values in numbers.items()},
        }
    )


def _binned(tokens: pd.DataFrame, n_bins: int) -> pd.DataFrame:
    pictured = tokens["has_image"].to_numpy()
    vds = torch.from_numpy(tokens.loc[pictured, "vds_nats"].to_numpy(copy=True))
    bins = tokens["position"].to_numpy() * 0 - 1
    bins[pictured] = equal_frequency_bins(vds, n_bins, key=torch.arange(len(vds))).numpy()
    return tokens.assign(bin=bins)
