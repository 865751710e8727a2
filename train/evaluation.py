"""The student on held-out prompts: losses on fixed rollouts and on its own present ones, and greedy accuracy."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from geometry import Objective, objective_loss_from_hidden
from records.journal_lines import EvaluationLine
from train.learner import Learner
from train.rollouts import generation_batches, sampled_rollouts
from train.sharing import shared
from train.teacher import teacher_views
from vlm.prompts.prompt import Prompt
from vlm.responses.evaluation import Verdict, accuracy, evaluate
from vlm.responses.response import Response, both_views, has_image
from vlm.responses.rollouts import Rollout, Sampling
from vlm.responses.token_losses import Tokens, binned, edges_of, means
from vlm.responses.truncation import truncation
from vlm.views.view import text_views

Tell = Callable[[Sequence[Response], Tokens], object]
"""Is given the present student's own responses, and the losses of their tokens."""


def evaluation_line(
    learner: Learner,
    step: int,
    prompts: Sequence[Prompt],
    fixed: Sequence[Response],
    tell: Tell = lambda responses, tokens: None,
) -> EvaluationLine:
    """Evaluate the present weights; processes share the prompts, and each returns what one alone would.

    Raises:
        NotFiniteError: logits of a process are not finite.
    """
    began = time.perf_counter()
    with torch.no_grad(), learner.accelerator.autocast():
        verdicts = _verdicts(learner, prompts)
        on_fixed = _tokens(learner, fixed)
        own = own_responses(learner, prompts)
        on_own = _tokens(learner, own)
    tell(own, on_own)
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


def own_responses(learner: Learner, prompts: Sequence[Prompt]) -> list[Response]:
    """Return the student's present responses to prompts, sampled by all processes; seeds are those of the run."""
    config, student = learner.config, learner.pair.student

    def sampled(part: Sequence[Prompt]) -> list[Rollout]:
        return sampled_rollouts(student, config, part, config.seed)

    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    texts = dict(zip(by_id, text_views(prompts, config.text_view), strict=True))
    rollouts = shared(learner.accelerator, prompts, config.generation_batch, sampled)
    return [Response(by_id[r.prompt_id], texts[r.prompt_id], r) for r in rollouts]


def _verdicts(learner: Learner, prompts: Sequence[Prompt]) -> list[Verdict]:
    """The student's greedy answers, judged."""
    config, student = learner.config, learner.pair.student
    greedy = Sampling(config.longest_response, greedy=True, batch=config.generation_batch)
    batches = generation_batches(config.generation_batch)

    def answered(part: Sequence[Prompt]) -> list[tuple[Rollout, bool | None]]:
        return [(verdict.rollout, verdict.correct) for verdict in evaluate(student, part, greedy, batches=batches)]

    answers = shared(learner.accelerator, prompts, config.generation_batch, answered)
    return [Verdict(prompt, rollout, correct) for prompt, (rollout, correct) in zip(prompts, answers, strict=True)]


def _tokens(learner: Learner, responses: Sequence[Response]) -> Tokens:
    """The losses of the tokens over all ids, whatever the student is trained on."""
    pair = learner.pair

    def scored(part: Sequence[Response]) -> Tensor:
        student, teacher = both_views(pair.student, part, pair.n_ids), teacher_views(learner, part)
        shares = torch.ones(len(student.image), device=student.image.device)
        parts = objective_loss_from_hidden(student, teacher, Objective("standard"), shares=shares).parts
        shown = has_image(part, parts.vds.device).to(parts.vds)
        unread = torch.zeros_like(parts.vds)
        rows = torch.stack([parts.standard, parts.language, parts.visual, parts.vds, unread, shown], dim=1)
        return rows.cpu()

    def in_passes(part: Sequence[Response]) -> list[Tensor]:
        return [rows for _, rows in learner.passes.over(len(part), lambda cut: scored(part[cut]))]

    rows = shared(learner.accelerator, responses, learner.config.micro_batch, in_passes)
    return Tokens(*torch.cat(rows).unbind(1))
