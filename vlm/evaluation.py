"""Accuracy of a model on prompts, greedy or sampled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlm.answers import is_correct
from vlm.pair import Member
from vlm.prompts import Prompt
from vlm.rollouts import Sampling, generate


@dataclass(frozen=True)
class Verdict:
    """One judged response."""

    prompt_id: str
    task: str
    dependency: str
    index: int
    response: str
    answer: str
    correct: bool


def evaluate(
    member: Member,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    end_ids: Sequence[int],
    support: int,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Verdict]:
    """Answer every prompt and judge the answers, in prompt order."""
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    rollouts = generate(member, prompts, sampling, end_ids=end_ids, support=support, progress=progress)
    return [
        Verdict(r.prompt_id, p.task, p.dependency, r.index, r.text, p.answer, is_correct(r.text, p.answer))
        for r in rollouts
        for p in (by_id[r.prompt_id],)
    ]


def accuracy(verdicts: Sequence[Verdict], by: str) -> dict[str, float]:
    """Share of correct answers by `task` or `dependency`."""
    groups: dict[str, list[bool]] = {}
    for verdict in verdicts:
        groups.setdefault(getattr(verdict, by), []).append(verdict.correct)
    return {name: sum(values) / len(values) for name, values in groups.items()}
