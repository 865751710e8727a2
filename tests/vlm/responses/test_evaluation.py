"""Accuracy over prompts, by task and group."""

from dataclasses import replace

from tests import models
from vlm.answers.judge import is_correct_any
from vlm.responses.evaluation import Verdict, accuracy, evaluate
from vlm.responses.rollouts import Rollout, Sampling


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


def test_a_prompt_without_an_answer_is_no_wrong_answer(pair):
    prompts = [replace(prompt, answer="") for prompt in models.scenes(2)] + models.scenes(3)[2:]
    verdicts = evaluate(pair.student, prompts, Sampling(max_response=2, greedy=True))
    assert [v.correct for v in verdicts] == [None, None, False]
    assert accuracy(verdicts, "task") == {prompts[2].task: 0.0}
    assert accuracy(verdicts[:2], "task") == {}


def test_any_accepted_answer_is_right_and_only_in_a_box():
    prompt = replace(models.scenes(1)[0], answer="2", other_answers=("two",))
    texts = {"\\boxed{2}": True, "\\boxed{two}": True, "\\boxed{3}": False, "2": False}
    for text, right in texts.items():
        verdict = Verdict(prompt, Rollout("p", 0, (2,), text, False), is_correct_any(text, prompt.answers))
        assert (verdict.correct, verdict.is_boxed) == (right, "boxed" in text)
    assert is_correct_any("\\boxed{2}", ()) is None
