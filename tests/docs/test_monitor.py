"""The recipes of docs/monitor.md, run as printed, and the monitor in TRL's trainer of docs/trl.md."""

import json
import re
import runpy
from pathlib import Path

import pytest

from probes import GeometryMonitor
from probes.monitoring.words import numbers
from records import read_journal
from tests.docs.test_trl import script

PAGE = Path(__file__).resolve().parents[2] / "docs" / "monitor.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """The names that the recipes leave, and the folder they ran in."""
    here, page, names = tmp_path_factory.mktemp("monitor"), PAGE.read_text(), {"__name__": "recipes"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for block in BLOCK.finditer(page):
            above = page[: block.start(1)].count("\n")
            exec(compile("\n" * above + block[1], str(PAGE), "exec"), names)
        names["table"] = names["own"].read().curves
    return names | {"here": here}


def test_the_recipes_leave_what_the_page_says(left):
    runs = left["here"] / "runs"
    for name in ("monitor", "own"):
        assert [line.step for line in read_journal(runs / name).evaluations] == [0, 2, 3]
        there = {path.name for path in (runs / name).iterdir()}
        assert there == {"metrics.jsonl", "config.json", "rollouts.parquet", "tokens", "monitor.png", "monitor.svg"}
    state = json.loads((runs / "trainer" / "checkpoint-3" / "trainer_state.json").read_text())
    assert any("monitor/eta" in one for one in state["log_history"])
    assert set(left["table"]["rollouts"]) == {"fixed", "own"}


def test_the_table_of_numbers_has_every_number(left):
    page = PAGE.read_text()
    journal = read_journal(left["here"] / "runs" / "monitor")
    named = set(re.findall(r"`(\w+)`", page.split("| number | meaning |")[1].split("\n\n")[0]))
    measured = type("Measured", (), {"evaluation": journal.evaluations[0], "geometry": journal.geometry[0]})()
    logged = {name.removeprefix("monitor/") for name in numbers(measured)}
    assert {name for name in logged if "attached" not in name} == named


def test_trl_s_trainer_takes_the_monitor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.py").write_text(script())
    names = runpy.run_path("recipe.py", run_name="recipe")
    pair = names["load_pair"]("bundled")
    prompts = [prompt for prompt in names["load_prompts"]("bundled", limit=5, seed=1) if prompt.has_image]
    args = names["DistillationConfig"](
        output_dir="out", max_steps=2, per_device_train_batch_size=2, gradient_accumulation_steps=1,
        max_completion_length=16, learning_rate=1e-4, bf16=False, logging_steps=1, report_to="none", save_strategy="no",
        generation_kwargs={"suppress_tokens": list(pair.student.banned_ids)},
    )  # fmt: skip
    rows = [{"prompt": list(prompt.messages), "images": [p.load() for p in prompt.images]} for prompt in prompts]
    trainer = names["SteeredDistillation"](pair, names["Objective"]("vgs"), args, rows)
    student, teacher = pair.student, pair.teacher
    monitor = GeometryMonitor(
        student.model, teacher.model, student.processor, every=1, limit=4, null_responses=0, folder="monitor"
    )
    trainer.add_callback(monitor)
    trainer.train()
    journal = read_journal("monitor")
    assert [line.step for line in journal.geometry] == [0, 1, 2]
    assert journal.geometry[0].norms["all"]["standard"] != journal.geometry[2].norms["all"]["standard"]
    history = trainer.state.log_history
    assert [one["step"] for one in history if "monitor/eta" in one] == [0, 1, 2]
    assert [one["step"] for one in history if "nats/visual" in one] == [1, 2]
