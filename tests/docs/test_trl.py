"""The recipe of docs/trl.md, run as printed: its loss against the plain one of the same responses."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trl import DistillationTrainer

from geometry import FourViews, Objective, decompose, objective_loss, token_shares
from vlm.checkpoints.checkpoint import load_model
from vlm.checkpoints.optimizer_state import adam_metric_of
from vlm.checkpoints.pair import load_pair
from vlm.prompts.prompt import Prompt
from vlm.responses.rollouts import Rollout
from vlm.responses.scoring import score
from vlm.views.view import image_view, text_view

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trl.md"


def script():
    """The page's one block of Python."""
    [block] = PAGE.read_text().split("```python\n")[1:]
    return block.split("\n```\n")[0] + "\n"


def spied(patch, batches, losses):
    """Note what TRL samples, by row of the dataset, and the loss of each micro-batch."""
    sampling, stepping = DistillationTrainer._generate_and_score_completions, DistillationTrainer.training_step

    def sample(self, inputs):
        batch = sampling(self, inputs)
        responses = zip(batch["completion_ids"], batch["completion_mask"].bool(), strict=True)
        ids = [tuple(response[mask].tolist()) for response, mask in responses]
        batches.append(list(zip(inputs, ids, strict=True)))
        return batch

    def step(*args):
        losses.append(stepping(*args))
        return losses[-1]

    patch.setattr(DistillationTrainer, "_generate_and_score_completions", sample)
    patch.setattr(DistillationTrainer, "training_step", step)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What the script leaves, run as printed, with the batches that TRL sampled and the losses of its steps."""
    here, batches, losses = tmp_path_factory.mktemp("trl"), [], []
    (here / "recipe.py").write_text(script())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        spied(patch, batches, losses)
        left = runpy.run_path("recipe.py", run_name="__main__")
    return left | {"here": here, "batches": batches, "losses": losses}


def plain_loss(pair, batch, objective):
    """The loss of sampled responses from whole logits of the four views, by the project's own scoring."""
    prompts = [Prompt("", tuple(row["prompt"]), tuple(row["images"]), "") for row, _ in batch]
    rollouts = [Rollout(prompt.prompt_id, 0, ids, "", False) for prompt, (_, ids) in zip(prompts, batch, strict=True)]
    scored = score(pair, [(image_view(p), text_view(p)) for p in prompts], rollouts, batch=1)
    views = FourViews(*map(torch.cat, zip(*(views.each for views in scored), strict=True)))
    lengths = [len(ids) for _, ids in batch]
    shares = token_shares(lengths).float()
    vds = decompose(views).vds
    return objective_loss(views, objective, thresholds=objective.thresholds(vds), shares=shares)


def test_the_page_names_the_version_that_is_tested():
    from trl import __version__

    assert f"TRL {__version__}" in PAGE.read_text()


def test_the_loss_of_the_first_step_is_the_plain_one(run):
    assert len(run["batches"]) == len(run["losses"]) == 2
    objective = run["trainer"].objective
    expected = plain_loss(load_pair("bundled"), run["batches"][0], objective)
    assert float(run["losses"][0]) == pytest.approx(float(expected.loss), rel=1e-4)
    other = plain_loss(load_pair("bundled"), run["batches"][0], replace(objective, gamma=1.0))
    assert float(run["losses"][0]) != pytest.approx(float(other.loss), rel=1e-2)
    logged = run["trainer"].state.log_history[0]
    for name in ("standard", "language", "visual", "vds"):
        assert logged[f"nats/{name}"] == pytest.approx(float(getattr(expected.parts, name).mean()), rel=1e-3)
    assert (expected.weights.language > 0).any()


def test_micro_batches_add_up_where_nothing_is_gated(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.py").write_text(script())
    recipe = runpy.run_path("recipe.py", run_name="recipe")
    batches, losses, pair = [], [], load_pair("bundled")
    spied(monkeypatch, batches, losses)
    settings = {"max_steps": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    args = replace(run["args"], **settings, output_dir="out", save_strategy="no")
    recipe["SteeredDistillation"](pair, Objective("vgs"), args, run["rows"]).train()
    assert len(batches) == 1 and len(batches[0]) == 4 and len(losses) == 2
    expected = plain_loss(load_pair("bundled"), batches[0], Objective("vgs"))
    assert float(sum(losses)) == pytest.approx(float(expected.loss), rel=1e-4)


def test_the_student_moves_and_the_teacher_stays(run):
    before = load_pair("bundled")
    moved = [
        any(not torch.equal(p, q) for p, q in zip(loaded.model.parameters(), first.model.parameters(), strict=True))
        for loaded, first in ((run["pair"].student, before.student), (run["pair"].teacher, before.teacher))
    ]
    assert moved == [True, False]


def test_the_checkpoint_is_one_that_probes_read(run):
    """Its optimizer's state as well, whose parameters stand in an order of the Trainer's own."""
    folder = run["here"] / "runs" / "trl" / "checkpoint-2"
    model = load_model(str(folder)).model
    found = adam_metric_of(model, folder / "optimizer.pt").factors
    optimizer = run["trainer"].optimizer
    assert len(optimizer.param_groups) == 2
    for parameter, own in zip(model.parameters(), run["pair"].student.model.parameters(), strict=True):
        assert torch.equal(parameter, own)
        [group] = [group for group in optimizer.param_groups if any(own is member for member in group["params"])]
        moment = optimizer.state[own]
        v = moment["exp_avg_sq"] / (1 - group["betas"][1] ** float(moment["step"]))
        torch.testing.assert_close(found[parameter], 1 / (v.sqrt() + group["eps"]))
