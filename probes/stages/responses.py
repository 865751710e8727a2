"""The responses as tables, and answers to be judged."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from cli.progress import progress
from probes.sampling import sample_shards
from vlm.answers.judge import boxed_answer, is_correct_any
from vlm.prompts.prompt import Prompt
from vlm.responses.evaluation import evaluate
from vlm.responses.rollouts import Rollout, Sampling
from vlm.responses.truncation import truncation
from vlm.views.view import text_view

if TYPE_CHECKING:
    from probes.analyzer import Analyzer


def rollout_table(analyzer: "Analyzer") -> pd.DataFrame:
    """Return the table `rollouts`: the responses, judged where an answer is stated."""
    numbered = enumerate(analyzer.rollouts)
    return pd.DataFrame([rollout_row(n, analyzer.prompts[rollout.prompt_id], rollout) for n, rollout in numbered])


def answer_table(analyzer: "Analyzer", samples: int, *, without_image: bool = False) -> pd.DataFrame:
    """Return the table `rollouts` of the student's greedy answers to all prompts, or of `samples` sampled ones each.

    without_image: leave the pictures out of the prompts.
    """
    options, prompts = analyzer.prompt_options, list(analyzer.answered.prompts)
    if without_image:
        views = [text_view(prompt) for prompt in prompts]
        pairs = zip(prompts, views, strict=True)
        prompts = [replace(prompt, messages=view.messages, images=view.images) for prompt, view in pairs]
    per_prompt = max(samples, 1)
    sampling = Sampling(options.longest_response, per_prompt, options.seed, samples == 0, options.batch)
    answers = sample_shards(analyzer.student, prompts, sampling, analyzer.shards, analyzer.vllm_folder)
    truncation(answers, options.longest_response).settle(allowed=options.allow_truncated)
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    return pd.DataFrame([rollout_row(n, by_id[answer.prompt_id], answer) for n, answer in enumerate(answers)])


def stored_answers(analyzer: "Analyzer") -> pd.DataFrame | None:
    """Return the table `rollouts` of answers that are there already; None where they are to be sampled.

    Raises:
        OptionError: they cannot be read, or are to other prompts.
    """
    if analyzer.stored is None:
        return None
    student, prompts = analyzer.student, {prompt.prompt_id: prompt for prompt in analyzer.source_prompts}
    about = (list(prompts.values()), student, student.n_ids, analyzer.prompt_options)
    rollouts = analyzer.stored.to(*about).rollouts
    analyzer.stored.compare(*about)
    return pd.DataFrame([rollout_row(n, prompts[rollout.prompt_id], rollout) for n, rollout in enumerate(rollouts)])


def greedy_answers(analyzer: "Analyzer", questions: Sequence[Prompt]) -> pd.DataFrame:
    """Return a row for each question: the greedy `response`, and whether it is `correct`."""
    options, shards = analyzer.prompt_options, analyzer.shards
    sampling = Sampling(options.longest_response, greedy=True, batch=options.batch)
    answers: list[Rollout] = []
    with progress("answers", len(questions)) as show:
        for shard, start in enumerate(range(0, len(questions), options.batch)):
            part = questions[start : start + options.batch]
            if shards.due(shard, "answers"):
                verdicts = evaluate(analyzer.pair.student, part, sampling)
                answers += [verdict.rollout for verdict in verdicts]
                rows = [{"response": verdict.rollout.text, "correct": verdict.correct} for verdict in verdicts]
                shards.add("answers", shard, pd.DataFrame(rows))
            show(start + len(part))
    truncation(answers, options.longest_response).say()
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
        "answer": " or ".join(prompt.answers),
        "correct": is_correct_any(rollout.text, prompt.answers),
        "boxed": boxed_answer(rollout.text) is not None,
        "n_tokens": len(rollout.token_ids),
        "truncated": rollout.truncated,
    }
