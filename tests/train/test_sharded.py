"""A student in shards, two processes under FSDP2, does what a whole one does in one process."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from accelerate.utils import patch_environment
from safetensors.torch import load_file

from cli.errors import OptionError
from records.journal import JOURNAL, read_journal
from tests.train import shards
from train.loop import train
from train.sharding import asked_for
from vlm.checkpoints.pair import load_pair


class Two:
    """What `asked_for` asks an accelerator."""

    num_processes = 2


def launch(*arguments, folder):
    """Two processes in shards, as accelerate starts them."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--use_fsdp", "--fsdp_version", "2"]
    command += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", "0", "-m", "tests.train.shards", *arguments, str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def folders(checkpoints, tmp_path_factory):
    """What one process wrote, and what two in shards; they go on with a run that one process began."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    shards.main(checkpoints, one)
    begun = shards.run(checkpoints, lr=1e-3, steps=2, checkpoint_every=2, out=str(two / shards.OTHER))
    train(begun)
    launch(str(checkpoints), folder=two)
    return one, two


def lines(folder):
    """The journal without times."""
    found = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


@pytest.mark.parametrize("case", shards.CASES)
def test_shards_sum_to_the_gradient_of_one(folders, case):
    one, two = (torch.load(folder / f"{case}.pt", weights_only=True) for folder in folders)
    within = 1e-5 if case not in ("bfloat16", "reward") else 5e-2 if case == "bfloat16" else 1e-4
    assert (one["gradient"] - two["gradient"]).norm() < within * one["gradient"].norm()
    assert one["gradient"].norm() > 1e-3
    torch.testing.assert_close(two["about"], one["about"], rtol=within, atol=0.0)


def test_each_process_holds_its_part(folders):
    one, two = (torch.load(folder / "plain.pt", weights_only=True)["n_elements"] for folder in folders)
    assert 0.45 * one < two < 0.55 * one


def test_shards_write_the_journal_of_one(folders):
    one, two = (read_journal(folder / "run") for folder in folders)
    for ours, theirs, within in zip(one.steps, two.steps, (1e-5, 1e-3, 1e-3), strict=True):
        assert theirs.losses == pytest.approx(ours.losses, rel=within)
    for ours, theirs, within in zip(one.evaluations, two.evaluations, (1e-5, 1e-3, 1e-3), strict=True):
        assert theirs.losses == pytest.approx(ours.losses, rel=within)
        assert theirs.accuracy == ours.accuracy


def test_a_checkpoint_of_shards_is_read_as_any(folders, checkpoints):
    one, two = (folder / "run" / "last" for folder in folders)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, two))
    first = load_file(checkpoints / "student" / "model.safetensors")
    assert ours.keys() == theirs.keys() == first.keys()
    moved = torch.cat([(ours[name] - first[name]).flatten() for name in ours])
    apart = torch.cat([(ours[name] - theirs[name]).flatten() for name in ours])
    assert apart.norm() < 1e-2 * moved.norm()
    assert (two / "config.json").read_text() == (one / "config.json").read_text()
    assert type(load_pair(str(two)).student.model) is type(load_pair(str(one)).student.model)


def test_a_run_in_shards_continues_bit_by_bit(folders):
    _, two = folders
    assert lines(two / shards.STOPPED) == lines(two / "run")
    ours, theirs = (load_file(two / name / "last" / "model.safetensors") for name in (shards.STOPPED, "run"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_shards_go_on_where_one_process_stopped_and_back(folders, checkpoints):
    one, two = folders
    ours, theirs = (read_journal(folder).steps[2] for folder in (one / "run", two / shards.OTHER))
    assert theirs.losses == pytest.approx(ours.losses, rel=1e-5)
    ours, theirs = (torch.load(run / "last" / "training.pt") for run in (one / "run", two / shards.OTHER))
    for number, slot in ours["optimizer"]["state"].items():
        for name, value in slot.items():
            found = theirs["optimizer"]["state"][number][name]
            torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-3 * float(value.abs().max()))
    config = shards.run(checkpoints, lr=1e-3, steps=4, checkpoint_every=2, out=str(two / shards.OTHER))
    train(replace(config, resume=True, override=True))
    assert len(read_journal(two / shards.OTHER).steps) == 4


@pytest.mark.parametrize(
    ("changes", "flags", "named"),
    [
        ({"geometry_every": 3}, {}, "`geometry_every` must be 0"),
        ({"lora_rank": 2}, {}, "`lora_rank` must be 0"),
        ({"weight_average": 0.5}, {}, "`weight_average` must be 0"),
        ({"objective": "auto", "eta": None}, {}, "`objective` must not be auto for a student in shards"),
        ({}, {"fsdp_version": "1"}, "`fsdp_version` must be 2"),
        ({}, {"fsdp_offload_params": "true"}, "`fsdp_offload_params` must be false"),
        ({}, {"fsdp_activation_checkpointing": "true"}, "`fsdp_activation_checkpointing` must be false"),
    ],
)
def test_what_does_not_go_together_is_refused(checkpoints, changes, flags, named):
    config = replace(shards.run(checkpoints), **changes)
    told = {"accelerate_use_fsdp": "true", "fsdp_version": "2", "fsdp_cpu_ram_efficient_loading": "false"}
    with patch_environment(**told | flags), pytest.raises(OptionError, match=named):
        asked_for(Two(), config)


def test_whole_weights_unless_asked_otherwise(checkpoints):
    assert asked_for(Two(), shards.run(checkpoints)) is None
