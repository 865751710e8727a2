"""Accuracy over prompts, by task and group."""

from dataclasses import replace

from tests import models
from vlm.evaluation import Verdict, accuracy, evaluate
from vlm.rollouts import Rollout, Sampling


def test_verdicts_stand_in_the_order_of_the_prompts(pair):
    prompts = models.scenes(5)
    verdicts = evaluate(pair.student, prompts, Sampling(max_response=4, per_prompt=2, batch=3))
    assert [v.prompt.prompt_id for v in verdicts] == [p.prompt_id for p in prompts for _ in range(2)]
    assert all(v.rollout.prompt_id == v.prompt.prompt_id for v in verdicts)


def test_greedy_answers_do_not_depend_on_the_seed(pair):
    prompts = models.scenes(3)
    first, second = (
        [v.rollout.token_ids for v in evaluate(pair.student, prompts, Sampling(4, seed=seed, greedy=True))]
        for seed in (0, 1)
    )
    assert first == second


def test_shares_by_task_and_by_group():
    prompt = models.scenes(1)[0]
    rollout = Rollout("p", 0, (2,), "", False)
    rows = [("a", "high", True), ("a", "high", False), ("b", "high", False), ("c", "low", True)]
    verdicts = [Verdict(replace(prompt, task=t, dependency=d), rollout, right) for t, d, right in rows]
    assert accuracy(verdicts, "task") == {"a": 0.5, "b": 0.0, "c": 1.0}
    assert accuracy(verdicts, "dependency") == {"high": 1 / 3, "low": 1.0}
