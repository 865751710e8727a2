"""The student on held-out prompts: losses on fixed rollouts and on its own present ones, and greedy accuracy."""

import time
from collections import Counter
from collections.abc import Sequence

import torch

from geometry import Objective, objective_loss_from_hidden
from records.journal_lines import EvaluationLine
from train.journal_lines import binned, edges_of, means
from train.learner import Learner
from train.rollouts import Response, both_views, cut, has_image, sample
from train.step import Tokens
from vlm.prompts.prompt import Prompt
from vlm.responses.evaluation import accuracy, evaluate
from vlm.responses.rollouts import Sampling
from vlm.responses.truncation import truncation


def evaluation_line(
    learner: Learner, step: int, prompts: Sequence[Prompt], fixed: Sequence[Response]
) -> EvaluationLine:
    """Evaluate the present weights; runs on one process alone."""
    began = time.perf_counter()
    config = learner.config
    greedy = Sampling(config.longest_response, greedy=True, batch=config.generation_batch)
    with torch.no_grad(), learner.accelerator.autocast():
        verdicts = evaluate(learner.pair.student, prompts, greedy)
        on_fixed = _tokens(learner, fixed)
        own = sample(learner.pair.student, config, prompts, config.seed)
        on_own = _tokens(learner, own)
    edges = edges_of(on_fixed)
    judged = [verdict for verdict in verdicts if verdict.correct is not None]
    return EvaluationLine(
        step=step,
        losses=means(on_fixed),
        losses_by_bin=binned(on_fixed, edges),
        own_losses=means(on_own),
        own_losses_by_bin=binned(on_own, edges),
        own_response_tokens=sum(response.n_tokens for response in own) / len(own),
        accuracy=accuracy(verdicts, "dependency"),
        answers=dict(Counter(verdict.prompt.dependency for verdict in judged)),
        seconds=round(time.perf_counter() - began, 4),
        unboxed=sum(not verdict.is_boxed for verdict in judged),
        unanswered=len(verdicts) - len(judged),
        truncated_share=truncation(verdict.rollout for verdict in verdicts).share,
    )


def headline(line: EvaluationLine) -> float | None:
    """What the best checkpoint is chosen by: accuracy on prompts that need the picture; on all where none is such.

    None where no prompt states an answer.
    """
    if "high" in line.accuracy:
        return line.accuracy["high"]
    judged = sum(line.answers.values())
    return sum(line.accuracy[group] * n for group, n in line.answers.items()) / judged if judged else None


def accuracy_words(line: EvaluationLine) -> str:
    """Say how many of the held-out prompts are answered right, how many without a box, and how many have no answer."""
    judged = sum(line.answers.values())
    if not judged:
        return f"none of the {line.unanswered} held-out prompts states an answer: no accuracy, and no best checkpoint"
    shares = ", ".join(f"{group} {100 * share:.1f} %" for group, share in line.accuracy.items())
    notes = [f"{line.unboxed} of {judged} without a box"] if line.unboxed else []
    notes += [f"{100 * line.truncated_share:.0f} % truncated"] if line.truncated_share else []
    notes += [f"{line.unanswered} prompts state no answer"] if line.unanswered else []
    return f"held-out accuracy {shares}" + (f" ({', '.join(notes)})" if notes else "")


def _tokens(learner: Learner, responses: Sequence[Response]) -> Tokens:
    """The losses of the tokens over all ids, whatever the student is trained on."""
    pair, rows = learner.pair, []
    for part in cut(responses, learner.config.micro_batch):
        student, teacher = (both_views(loaded, part, pair.n_ids) for loaded in (pair.student, pair.teacher))
        shares = torch.ones(len(student.image), device=student.image.device)
        parts = objective_loss_from_hidden(student, teacher, Objective("standard"), shares=shares).parts
        shown = has_image(part, parts.vds.device).to(parts.vds)
        unread = torch.zeros_like(parts.vds)
        rows.append(torch.stack([parts.standard, parts.language, parts.visual, parts.vds, unread, shown], dim=1))
    return Tokens(*torch.cat(rows).unbind(1))
