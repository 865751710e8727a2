"""Accuracy of a model on prompts, greedy or sampled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlm.answers.judge import boxed_answer, is_correct_any
from vlm.checkpoints.checkpoint import LoadedModel
from vlm.prompts.prompt import Prompt
from vlm.responses.halving import Batches
from vlm.responses.rollouts import Rollout, Sampling, generate


@dataclass(frozen=True)
class Verdict:
    """One response and whether its answer is right; None if the prompt states no answer to judge by."""

    prompt: Prompt
    rollout: Rollout
    correct: bool | None

    @property
    def is_boxed(self) -> bool:
        """Whether the response has an answer in a box; one that has none is wrong."""
        return boxed_answer(self.rollout.text) is not None


def evaluate(
    loaded: LoadedModel,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    progress: Callable[[int], None] = lambda done: None,
    batches: Batches | None = None,
) -> list[Verdict]:
    """Answer every prompt and judge the answers, in prompt order; see `generate` for the arguments."""
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    judged = []
    for rollout in generate(loaded, prompts, sampling, progress=progress, batches=batches):
        prompt = by_id[rollout.prompt_id]
        judged.append(Verdict(prompt, rollout, is_correct_any(rollout.text, prompt.answers)))
    return judged


def accuracy(verdicts: Sequence[Verdict], by: str) -> dict[str, float]:
    """Share of correct answers by `task` or `dependency`, among those that can be judged; no group without any."""
    groups: dict[str, list[bool]] = {}
    for verdict in verdicts:
        if verdict.correct is not None:
            groups.setdefault(getattr(verdict.prompt, by), []).append(verdict.correct)
    return {name: sum(values) / len(values) for name, values in groups.items()}
