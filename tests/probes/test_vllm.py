"""`--sampler vllm`, with a stand-in for the package that samples from the real small model."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cli.errors import UserError
from probes import Analyzer, accuracy, vds
from records import read_record
from tests import models
from vlm.responses import vllm_sampler
from vlm.responses.on_policy import agreement
from vlm.responses.rollouts import Sampling
from vlm.responses.stored_rollouts import Stored
from vlm.responses.vllm_sampler import VllmSampler
from vlm.views.view import image_view

PACKAGE = Path(__file__).parents[1] / "stand_ins" / "vllm_package"


@pytest.fixture
def vllm(monkeypatch):
    monkeypatch.syspath_prepend(PACKAGE)
    import vllm as package

    package.CALLS.clear()
    package.SPOIL.clear()
    yield package
    for name in [name for name in sys.modules if name == "vllm" or name.startswith("vllm.")]:
        del sys.modules[name]


@pytest.fixture
def drawn(checkpoints, pair):
    """Draws responses to prompts by the stand-in."""

    def draw(prompts, **settings):
        sampling = Sampling(max_response=6, **settings)
        with VllmSampler(str(checkpoints / "student"), pair.student, prompts, sampling) as sampler:
            return sampler(prompts)

    return draw


def test_a_rollout_depends_on_seed_prompt_and_index_alone(vllm, drawn):
    prompts = models.scenes(4)
    together = drawn(prompts, per_prompt=2)
    assert [rollout.rollout_id for rollout in together] == [f"{p.prompt_id}/{i}" for p in prompts for i in range(2)]
    assert together[2:4] == drawn(prompts[1:2], per_prompt=2)
    assert together != drawn(prompts, per_prompt=2, seed=1)
    assert together[0].token_ids != together[1].token_ids


def test_what_is_asked_for_is_untruncated_sampling_without_banned_ids(vllm, drawn, pair):
    rollouts = drawn(models.scenes(6))
    params = [call["params"] for call in vllm.CALLS if "params" in call]
    assert len({one.seed for one in params}) == 6
    for one in params:
        assert (one.temperature, one.top_p, one.min_p, one.repetition_penalty) == (1.0, 1.0, 0.0, 1.0)
        assert one.top_k == -1 and one.max_tokens == 6 and set(one.stop_token_ids) == set(pair.student.end_ids)
        assert one.logit_bias == dict.fromkeys(pair.student.banned_ids, -100.0)
    tokenizer = pair.student.processor.tokenizer
    for rollout in rollouts:
        assert not {*rollout.token_ids} & {*pair.student.banned_ids}
        assert rollout.truncated is (rollout.token_ids[-1] not in pair.student.end_ids)
        ids = rollout.token_ids if rollout.truncated else rollout.token_ids[:-1]
        assert rollout.text == tokenizer.decode(list(ids), skip_special_tokens=False)
    assert drawn(models.scenes(6), greedy=True) != rollouts
    assert vllm.CALLS[-1]["params"].temperature == 0.0


def test_the_responses_are_on_policy_for_the_student(vllm, drawn, pair):
    prompts = models.scenes(6)
    stored = [Stored(rollout) for rollout in drawn(prompts, per_prompt=4)]
    views = [image_view(prompt) for prompt in prompts for _ in range(4)]
    assert agreement(pair.student, views, stored, pair.student.n_ids).word == "on-policy"


def test_a_command_records_who_sampled(here, flags, vllm, capsys):
    argv = [*flags, "--out", "record"]
    assert vds.main([*argv, "--sampler", "vllm"]) == 0
    record = read_record(here / "record")
    assert record.header["settings"]["sampler"] == "vllm"
    assert vds.main(argv) == 2  # another record
    assert "`settings.sampler` 'vllm'" in capsys.readouterr().err
    assert vds.main([*flags, "--out", "other"]) == 0
    other = read_record(here / "other")
    assert "sampler" not in other.header["settings"]
    responses = [one.table("rollouts")["response"].tolist() for one in (record, other)]
    assert responses[0] != responses[1]
    asked = [flags[0], "--limit", "4", "--max-response", "3", "--sampler", "vllm", "--out", "answers"]
    assert accuracy.main(asked) == 0
    assert vllm.CALLS[-1]["params"].temperature == 0.0


def _with_a_picture_token(output):
    output.outputs[0].token_ids[0] = 5


def _other_prompt(output):
    output.prompt_token_ids.pop()


@pytest.mark.parametrize(
    ("spoil", "named"),
    [(_with_a_picture_token, "drew the id 5, which sampling bans"), (_other_prompt, "must read the prompt")],
)
def test_what_the_student_could_not_have_said_is_refused(here, flags, vllm, capsys, spoil, named):
    vllm.SPOIL.append(spoil)
    assert vds.main([*flags, "--sampler", "vllm", "--out", "record"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: `sampler` vllm") and named in said


def test_an_end_token_that_is_left_out_is_put_back(vllm, drawn, pair):
    end = pair.student.end_ids[-1]

    def ended(output):
        one = output.outputs[0]
        one.token_ids[-1], one.finish_reason, one.stop_reason = end, "stop", end

    vllm.SPOIL.append(ended)
    whole = drawn(models.scenes(2))
    assert all(not rollout.truncated and rollout.token_ids[-1] == end for rollout in whole)
    vllm.SPOIL.append(lambda output: output.outputs[0].token_ids.pop())
    assert drawn(models.scenes(2)) == whole


def test_without_the_package_the_extra_is_named(here, flags):
    command = [sys.executable, "-m", "probes.vds", *flags, "--sampler", "vllm", "--out", "record"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.strip() == "error: `sampler` vllm needs the package vllm: pip install 'vgs-geometry[vllm]'"


@pytest.mark.slow
def test_as_a_process(here, flags):
    path = os.pathsep.join([str(PACKAGE), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "probes.vds", *flags, "--sampler", "vllm", "--allow-truncated", "--out", "record"]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert ended.returncode == 0, ended.stderr


def test_models_in_memory_and_adapters_are_refused(vllm, pair, monkeypatch):
    side = {"student": pair.student.model, "teacher": pair.teacher.model, "processor": pair.student.processor}
    with pytest.raises(UserError, match="loads a checkpoint, got models in memory"):
        Analyzer.from_models(**side, sampler="vllm", limit=2, max_response=2).vds()
    real = vllm_sampler.readable
    monkeypatch.setattr(
        vllm_sampler, "readable", lambda name: replace(source := real(name), base=replace(source.base))
    )  # a base that is another place
    with pytest.raises(UserError, match="reads whole weights, but .* is an adapter"):
        Analyzer(sampler="vllm")
