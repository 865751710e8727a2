"""Measure the stored pair and write its model card.

    python -m bundled.card            # about ten minutes on two cores

Everything is measured from the stored weights on scenes that no training has seen: accuracy with and without the
picture, the visual dependency of the teacher on the student's responses, how many tokens keep their bin in float64,
what plain distillation gains (`bundled.headroom`), and what the student's architecture reaches when it is trained as
long as the teacher (the capacity control that `bundled.train` leaves in its work folder). Writes `card.json` and
`README.md` beside the checkpoints.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bundled.headroom import Distillation, measure
from bundled.prompts import bundled_prompts, group_prompts
from geometry import FourViews, bin_edges, decompose, equal_frequency_bins, log_probs
from stats.bins import upper_bins
from vlm.checkpoint import LoadedModel, load_model, quiet
from vlm.evaluation import Verdict, accuracy, evaluate
from vlm.pair import Pair, load_pair
from vlm.prompts import Prompt
from vlm.rollouts import Rollout, Sampling, generate
from vlm.scoring import score
from vlm.views import both_views, text_view

HERE = Path(__file__).parent
GROUPS = {"high": 3000, "low": 500, "text": 500}
GREEDY = Sampling(max_response=64, greedy=True, batch=128)
EVALUATION_SEED = 1
N_BINS = 10


def measure_card(capacity: Path) -> dict[str, Any]:
    """Every figure of the card."""
    pair = load_pair("bundled")
    prompts = [prompt for group, n in GROUPS.items() for prompt in group_prompts(group, n, EVALUATION_SEED)]
    high = [prompt for prompt in prompts if prompt.dependency == "high"]
    return {
        "parameters": {side.name: sum(p.numel() for p in side.model.parameters()) for side in _sides(pair)},
        "fingerprints": {side.name: side.fingerprint for side in _sides(pair)},
        "accuracy": {side.name: _accuracies(side, prompts) for side in _sides(pair)},
        "capacity": _accuracies(load_model(str(capacity)), prompts),
        "without_picture": blind_accuracy(pair.teacher, high),
        "dependency": dependency(pair),
        "headroom": measure(Distillation(), n_scenes=GROUPS["high"], evaluation_seed=EVALUATION_SEED),
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
    rollouts = generate(pair.student, prompts, Sampling(max_response=64, batch=32))
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
    scored = [_read(v) for v in score(pair, both_views(prompts, "drop"), rollouts)]
    return _Tokens(*(torch.cat(column).double() for column in zip(*scored, strict=True)))


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


def _accuracies(member: LoadedModel, prompts: Sequence[Prompt]) -> dict[str, Any]:
    verdicts: list[Verdict] = evaluate(member, prompts, GREEDY)
    return {**accuracy(verdicts, "dependency"), "by task": accuracy(verdicts, "task")}


def _commonest(answers: Sequence[str]) -> float:
    return Counter(answers).most_common(1)[0][1] / len(answers)


_PAGE = """# The bundled pair

A teacher and a student of the Qwen3-VL architecture, made from nothing by `python -m bundled.train` and measured from
the stored bf16 weights by `python -m bundled.card`, which writes this page. They answer questions about small drawn
pictures (coloured shapes in a grid, circles that touch or not, lines that cross; the last two after "Vision language
models are blind", arXiv:2407.06581) with a short reason and a boxed answer. They know {n_tasks} kinds of question and
nothing else: they are made to measure gradients on, not to be used.

Greedy accuracy on held-out scenes ({high} that need the picture, {low} with a picture that the question makes
needless, {text} without one):

| model | high | low | text |
|---|---|---|---|
{models}

By task, with the teacher's accuracy when the picture is left out and that of the best constant guess:

| task | teacher | student | teacher without picture | constant guess |
|---|---|---|---|---|
{tasks}

On {tokens} tokens of the student's responses to prompts with a picture:

| what | value |
|---|---|
| visual dependency (VDS) at its 10, 25, 50, 70 and 90 % quantiles, nats | {quantiles} |
| distinct inner edges of ten equal-frequency bins | {distinct_edges} |
| mean next-token entropy of the teacher, nats | {teacher_entropy_nats:.3f} |
| tokens that keep their bin when all is scored again in float64 | {same_bin_in_float64:.2%} |
| mean visual divergence of the student in bins 7 to 9, nats | {visual_in_bins_7_to_9_nats:.4f} |
| mean language divergence of the student in bins 7 to 9, nats | {language_in_bins_7_to_9_nats:.4f} |

{steps} steps of plain standard distillation raise the student's accuracy on high from {high_before:.1%} to
{high_after:.1%}: a gain of {gain:.1%}, paired 95 % interval {interval[0]:.1%} to {interval[1]:.1%}.
"""


def page(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    scores, dependent = card["accuracy"], card["dependency"]
    teacher, student = scores
    named = {f"{name}, {card['parameters'][name]:,} parameters": scores[name] for name in scores}
    named["the student's architecture, trained as long as the teacher"] = card["capacity"]
    tasks = [
        (task, scores[teacher]["by task"][task], scores[student]["by task"][task], *without.values())
        for task, without in card["without_picture"].items()
    ]
    return _PAGE.format(
        n_tasks=len(scores[teacher]["by task"]),
        models=_rows([(name, *(score[group] for group in GROUPS)) for name, score in named.items()]),
        tasks=_rows(tasks),
        quantiles=", ".join(f"{value:.2g}" for value in dependent["vds_quantiles_nats"].values()),
        **GROUPS,
        **{name: value for name, value in dependent.items() if name != "vds_quantiles_nats"},
        **card["headroom"],
    )


def _rows(rows: Sequence[tuple[str, *tuple[float, ...]]]) -> str:
    return "\n".join(f"| {name} | " + " | ".join(f"{value:.1%}" for value in values) + " |" for name, *values in rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacity", type=Path, default=Path("runs/bundled/capacity"), help="the capacity control")
    options = parser.parse_args(argv)
    quiet()
    card = measure_card(options.capacity)
    (HERE / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    (HERE / "README.md").write_text(page(card), encoding="utf-8")
    print(page(card))


if __name__ == "__main__":
    main()
