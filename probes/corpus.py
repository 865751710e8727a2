"""What every probe starts from: a pair, prompts, on-policy rollouts, and the decomposition of each of their tokens."""

import os
import platform
import sys
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from cli.progress import progress
from geometry import decompose, equal_frequency_bins
from probes.fitting import fitting
from probes.metric import metric_of, optimizer_state
from probes.options import MetricOptions, OutputOptions, PairOptions, PromptOptions
from records import RecordWriter, Shards, fingerprint, open_record
from vlm.answers import is_correct
from vlm.checkpoint import quiet
from vlm.optimizer_state import AdamMetric
from vlm.pair import Pair, load_pair
from vlm.prompts import Prompt, prompts_fingerprint
from vlm.rollouts import Rollout, Sampling, generate
from vlm.scoring import FourViews, score
from vlm.sources import PromptError, load_prompts
from vlm.views import View, image_view, text_views

SHARD = 32  # prompts a shard: what an interrupted run loses at most


@dataclass(frozen=True)
class Asked:
    """Prompts and their text views by `prompt_id`, and how many prompts were left out and why."""

    prompts: Mapping[str, Prompt]
    text_views: Mapping[str, View]
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class Corpus:
    """Prompts and what the student answered to them; a rollout's `rollout_id` is its place in `rollouts`.

    metric: in which its gradients are multiplied; the plain one if none.
    """

    pair: Pair
    asked: Asked
    rollouts: Sequence[Rollout]
    batch: int
    metric: AdamMetric | None = None

    @property
    def metric_factors(self) -> Mapping[nn.Parameter, Tensor] | None:
        """What `geometry` takes as the metric."""
        return None if self.metric is None else self.metric.factors

    def views(self, rollout: Rollout) -> tuple[View, View]:
        """The image view and the text view of a rollout's prompt."""
        return image_view(self.asked.prompts[rollout.prompt_id]), self.asked.text_views[rollout.prompt_id]

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[FourViews]:
        views = [self.views(rollout) for rollout in rollouts]
        return score(self.pair, [a for a, _ in views], [b for _, b in views], rollouts, batch=self.batch)


@contextmanager
def measuring(
    probe: str,
    checkpoint: str,
    pair_options: PairOptions,
    prompt_options: PromptOptions,
    output: OutputOptions,
    *others: Any,
    metric: MetricOptions | None = None,
) -> Iterator[tuple[Corpus, RecordWriter]]:
    """Load the pair, ask the prompts, open the record and sample the responses; a context that holds the record.

    others: further groups of settings that belong to the record's header.
    metric: likewise, of probes that measure gradients.
    """
    optimizer_state(checkpoint, metric)  # refuses, before anything is loaded
    pair = load(checkpoint, pair_options)
    adam = metric_of(pair, checkpoint, metric)
    asked = ask(pair, prompt_options)
    opened = header(probe, pair, asked, pair_options, prompt_options, *others, *([metric] if metric else []))
    if adam is not None:
        opened["weights"]["optimizer_state"] = adam.fingerprint
    with open_folder(probe, opened, output) as writer:
        yield replace(collect(pair, asked, prompt_options, writer), metric=adam), writer


def load(checkpoint: str, options: PairOptions) -> Pair:
    """Load the pair; what is worth a word about it goes to stderr as well as into the record."""
    quiet()
    pair = load_pair(checkpoint, **asdict(options))
    for warning in pair.warnings:
        print(f"note: {warning}", file=sys.stderr)
    return pair


def header(probe: str, pair: Pair, asked: Asked, *options: Any) -> dict[str, Any]:
    """What identifies a record: the probe, the weights, the prompts and every setting that changes a number."""
    sides = pair.describe()
    settings = {name: value for group in options for name, value in asdict(group).items()}
    return {
        "probe": f"probes.{probe}",
        "pair": {side: sides[side]["name"] for side in ("student", "teacher")} | {"warnings": sides["warnings"]},
        "weights": {side: sides[side]["fingerprint"] for side in ("student", "teacher")},
        "source": prompts_fingerprint(list(asked.prompts.values())),
        "settings": settings,
    }


def open_folder(probe: str, opened: Mapping[str, Any], output: OutputOptions) -> RecordWriter:
    """Open the record's folder; by default its name says the probe and the fingerprint of the header."""
    folder = Path(output.out or f"runs/{probe}-{fingerprint(opened)}")
    return open_record(folder, opened, overwrite=output.overwrite)


def ask(pair: Pair, options: PromptOptions) -> Asked:
    """Load the prompts and make their text views; done before a record is begun, so that bad ones leave no trace."""
    loaded = load_prompts(options.prompts, limit=options.limit, seed=options.seed, split=options.split)
    prompts, left_out = fitting(pair, loaded, options.max_response)
    if not any(prompt.has_image for prompt in prompts):
        raise PromptError(f"`prompts` must hold a prompt with a picture, got {len(prompts)} without; add one")
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    return Asked(by_id, dict(zip(by_id, text_views(prompts, options.text_view), strict=True)), left_out)


def collect(pair: Pair, asked: Asked, options: PromptOptions, writer: Shards) -> Corpus:
    """Sample the student's responses, continuing where an interrupted run stood."""
    prompts = list(asked.prompts.values())
    sampling = Sampling(options.max_response, options.rollouts_per_prompt, options.seed, batch=options.batch)
    with progress("rollouts", len(prompts) * options.rollouts_per_prompt) as show:
        done = 0
        for shard, start in enumerate(range(0, len(prompts), SHARD)):
            part = prompts[start : start + SHARD]
            if not writer.has("rollouts", shard):
                sampled = generate(pair.student, part, sampling)
                writer.add("rollouts", shard, pd.DataFrame([asdict(rollout) for rollout in sampled]))
            done += len(part) * options.rollouts_per_prompt
            show(done)
    rollouts = [_read_rollout(row) for row in writer.gather("rollouts").to_dict("records")]
    return Corpus(pair, asked, rollouts, options.batch)


def token_table(corpus: Corpus, n_bins: int, writer: Shards) -> pd.DataFrame:
    """Score every response token and bin those whose prompt has a picture."""
    size = SHARD * 2
    with progress("scoring", len(corpus.rollouts)) as show:
        for shard, start in enumerate(range(0, len(corpus.rollouts), size)):
            part = corpus.rollouts[start : start + size]
            if not writer.has("tokens", shard):
                frames = [
                    _tokens(corpus, start + number, rollout, views)
                    for number, (rollout, views) in enumerate(zip(part, corpus.score(part), strict=True))
                ]
                writer.add("tokens", shard, pd.concat(frames, ignore_index=True))
            show(start + len(part))
    tokens = writer.gather("tokens")
    return _binned(tokens, n_bins)


def rollout_table(corpus: Corpus) -> pd.DataFrame:
    """One row a response, judged where an answer is known."""
    numbered = enumerate(corpus.rollouts)
    return pd.DataFrame([rollout_row(n, corpus.asked.prompts[rollout.prompt_id], rollout) for n, rollout in numbered])


def rollout_row(number: int, prompt: Prompt, rollout: Rollout) -> dict[str, Any]:
    """A row of the table `rollouts`."""
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


def notes(corpus: Corpus, began: float) -> dict[str, Any]:
    """How a run went: what it ran on, how long it took, what it left out."""
    metric = {} if corpus.metric is None else {"second_moments_zero_share": corpus.metric.zero_share}
    return run_notes(corpus.asked, corpus.pair.student.device, began) | metric


def run_notes(asked: Asked, device: torch.device, began: float) -> dict[str, Any]:
    """The same without a corpus."""
    packages = ("torch", "transformers", "numpy", "pandas", "scipy")
    return {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "device": str(device),
        "seconds": round(time.monotonic() - began, 1),
        "prompts": len(asked.prompts),
        "prompts_with_image": sum(prompt.has_image for prompt in asked.prompts.values()),
        "left_out": dict(asked.left_out),
    }


def _read_rollout(row: Mapping[Hashable, Any]) -> Rollout:
    fields = {str(name): value for name, value in row.items()}
    return Rollout(**fields | {"token_ids": tuple(int(token) for token in row["token_ids"])})


def _tokens(corpus: Corpus, number: int, rollout: Rollout, views: FourViews) -> pd.DataFrame:
    parts = decompose(views.student_image, views.student_text, views.teacher_image, views.teacher_text)
    prompt = corpus.asked.prompts[rollout.prompt_id]
    spelled = corpus.pair.student.processor.tokenizer.convert_ids_to_tokens(list(rollout.token_ids))
    return pd.DataFrame(
        {
            "prompt_id": prompt.prompt_id,
            "rollout_id": number,
            "dependency": prompt.dependency,
            "has_image": prompt.has_image,
            "position": range(len(rollout.token_ids)),
            "token_id": rollout.token_ids,
            "token_text": spelled,
            "vds_nats": parts.vds.double().cpu().numpy(),
            "student_vds_nats": parts.student_vds.double().cpu().numpy(),
            "kl_standard_nats": parts.standard.double().cpu().numpy(),
            "kl_language_nats": parts.language.double().cpu().numpy(),
            "kl_visual_nats": parts.visual.double().cpu().numpy(),
        }
    )


def _binned(tokens: pd.DataFrame, n_bins: int) -> pd.DataFrame:
    """Add the column `bin`: over the tokens of prompts with a picture; -1 for the others."""
    pictured = tokens["has_image"].to_numpy()
    vds = torch.from_numpy(tokens.loc[pictured, "vds_nats"].to_numpy(copy=True))
    bins = tokens["position"].to_numpy() * 0 - 1
    bins[pictured] = equal_frequency_bins(vds, n_bins, key=torch.arange(len(vds))).numpy()
    return tokens.assign(bin=bins)
