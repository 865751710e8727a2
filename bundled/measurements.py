"""The numbers of the model card, measured from the stored weights."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bundled.headroom import MAX_RESPONSE, Distillation, measure
from bundled.prompts import bundled_prompts, group_prompts
from geometry import FourViews, bin_edges, decompose, equal_frequency_bins, log_probs
from stats import N_BINS, upper_bins
from vlm.checkpoints.checkpoint import LoadedModel, load_model
from vlm.checkpoints.pair import Pair, load_pair
from vlm.prompts.prompt import Prompt
from vlm.responses.evaluation import Verdict, accuracy, evaluate
from vlm.responses.rollouts import Rollout, Sampling, generate
from vlm.responses.token_scores import read_by_chunk
from vlm.views.view import text_view, view_pairs

GREEDY = Sampling(max_response=MAX_RESPONSE, greedy=True, batch=128)
EVALUATION_SEED = 1


def measure_card(capacity: Path, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return every number of the card.

    capacity: folder of the capacity control.
    sizes: held-out scenes to answer, by dependency group.
    """
    pair = load_pair("bundled")
    prompts = [prompt for group, n in sizes.items() for prompt in group_prompts(group, n, EVALUATION_SEED)]
    high = [prompt for prompt in prompts if prompt.dependency == "high"]
    return {
        "parameters": {side.name: sum(p.numel() for p in side.model.parameters()) for side in _sides(pair)},
        "fingerprints": {side.name: side.fingerprint for side in _sides(pair)},
        "accuracy": {side.name: _accuracies(side, prompts) for side in _sides(pair)},
        "capacity": _accuracies(load_model(str(capacity)), prompts),
        "without_picture": blind_accuracy(pair.teacher, high),
        "dependency": dependency(pair),
        "headroom": measure(Distillation(), n_scenes=sizes["high"], evaluation_seed=EVALUATION_SEED),
    }


def blind_accuracy(teacher: LoadedModel, prompts: Sequence[Prompt]) -> dict[str, dict[str, float]]:
    """The teacher's accuracy without the picture, and that of always giving the commonest answer, by task."""
    views = [text_view(prompt) for prompt in prompts]
    blind = [replace(p, messages=v.messages, images=v.images) for p, v in zip(prompts, views, strict=True)]
    answered = accuracy(evaluate(teacher, blind, GREEDY), "task")
    guess = {task: _commonest([p.answer for p in prompts if p.task == task]) for task in answered}
    return {task: {"teacher": answered[task], "constant guess": guess[task]} for task in answered}


def dependency(pair: Pair, n_prompts: int = 200) -> dict[str, Any]:
    """What the response tokens of prompts with a picture show: VDS, entropy, bins, the divergences of bins 7-9."""
    prompts = [prompt for prompt in bundled_prompts(n_prompts, EVALUATION_SEED) if prompt.has_image]
    rollouts = generate(pair.student, prompts, Sampling(max_response=MAX_RESPONSE, batch=32))
    tokens = _score(pair, prompts, rollouts)
    bins = equal_frequency_bins(tokens.vds, N_BINS)
    edges = bin_edges(tokens.vds, bins, N_BINS)
    exact = _score(_double(pair), prompts, rollouts)
    top = bins >= upper_bins(N_BINS).start
    return {
        "tokens": len(bins),
        "vds_quantiles_nats": {str(q): float(tokens.vds.quantile(q)) for q in (0.1, 0.25, 0.5, 0.7, 0.9)},
        "vds_edges_nats": edges.tolist(),
        "distinct_edges": len(set(edges.tolist())),
        "teacher_entropy_nats": float(tokens.entropy.mean()),
        "same_bin_in_float64": float((equal_frequency_bins(exact.vds, N_BINS) == bins).double().mean()),
        "visual_in_bins_7_to_9_nats": float(tokens.visual[top].mean()),
        "language_in_bins_7_to_9_nats": float(tokens.language[top].mean()),
    }


@dataclass(frozen=True)
class _Tokens:
    """One number a response token, `[T]`, all responses one after the other."""

    vds: Tensor
    visual: Tensor
    language: Tensor
    entropy: Tensor


def _score(pair: Pair, prompts: Sequence[Prompt], rollouts: Sequence[Rollout]) -> _Tokens:
    scored = read_by_chunk(pair, view_pairs(prompts, "drop"), rollouts, _read)
    parts = [part for parts in scored for part in parts]
    return _Tokens(*(torch.cat(column).double() for column in zip(*parts, strict=True)))


def _read(views: FourViews) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    parts = decompose(views)
    log_q = log_probs(views.teacher_image)
    return parts.vds, parts.visual, parts.language, torch.special.entr(log_q.exp()).sum(dim=-1)


def _double(pair: Pair) -> Pair:
    """The same pair in float64; the models are converted in place."""
    for side in _sides(pair):
        side.model.double()
    return pair


def _sides(pair: Pair) -> tuple[LoadedModel, LoadedModel]:
    return pair.teacher, pair.student


def _accuracies(loaded: LoadedModel, prompts: Sequence[Prompt]) -> dict[str, Any]:
    verdicts: list[Verdict] = evaluate(loaded, prompts, GREEDY)
    return {**accuracy(verdicts, "dependency"), "by task": accuracy(verdicts, "task")}


def _commonest(answers: Sequence[str]) -> float:
    return Counter(answers).most_common(1)[0][1] / len(answers)
