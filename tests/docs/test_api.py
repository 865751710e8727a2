"""The recipes of docs/api.md, run as printed, one after the other."""

import inspect
import re
from pathlib import Path

import pytest
import torch

from probes import Analyzer
from vlm.checkpoints.pair import load_pair

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """The names that the recipes leave; a fault names the line of the page."""
    page, names = PAGE.read_text(), {"__name__": "recipes"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("api"))
        for block in BLOCK.finditer(page):
            above = page[: block.start(1)].count("\n")
            exec(compile("\n" * above + block[1], str(PAGE), "exec"), names)
    return names


def test_the_table_of_arguments_has_every_argument():
    table = PAGE.read_text().split("| argument | meaning |\n|---|---|\n")[1].split("\n\n")[0]
    named = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(inspect.signature(Analyzer).parameters)


def test_models_in_memory_are_measured(left):
    assert set(left["measured"].units["scope"]) == {"all", "language_model"}
    assert set(left["measured"].units["prompt_id"]) == {"0", "1"}


def test_the_vds_of_a_response_is_that_of_the_table(left):
    table = left["in_memory"].tokens.query("rollout_id == 0")
    [views] = left["in_memory"].score([left["in_memory"].rollouts[0]])
    vds = left["decompose"](views).vds
    assert vds.tolist() == pytest.approx(table["vds_nats"].tolist(), rel=1e-4, abs=1e-6)


def test_the_target_of_steering_is_another_distribution_than_the_teacher(left):
    target, distance = left["damped"], left["from_teacher"]
    torch.testing.assert_close(target.exp().sum(-1), torch.ones(len(left["rollout"].token_ids)))
    assert len(distance) == len(target) and (distance >= 0).all() and distance.max() > 1e-4


def test_the_loss_from_hidden_states_is_that_from_logits(left):
    torch.testing.assert_close(left["same"].loss, left["found"].loss)
    first = load_pair("bundled").student.model.parameters()
    assert any(not torch.equal(p, q) for p, q in zip(left["student"].parameters(), first, strict=True))


def test_eta_brings_the_steered_gradient_to_the_standard_length(left):
    standard, visual = left["gradients"]
    eta = left["objective"].eta
    assert float(eta * (standard + 2.0 * visual).norm()) == pytest.approx(float(standard.norm()), rel=1e-4)


def test_the_responses_are_those_given(left):
    prompts, rollouts = left["prompts"], left["scored"].rollouts
    words = [response.replace(" ", "") for response in rollouts["response"]]
    assert words == [f"\\boxed{{{prompt.answer}}}" for prompt in prompts]
    assert rollouts["correct"].all()


def test_training_follows_the_advice(left):
    settings, advice = left["run"].header["settings"], left["advice"]
    assert settings["objective"] == advice.objective and settings["lr"] == 3e-4
    assert {name: settings[name] for name in advice.flags()} == advice.flags()
    assert left["after"].header["weights"]["student"] != advice.header["weights"]["student"]
