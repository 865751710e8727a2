"""The scripts at the published sizes, run where they are small."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from cli.options import parser_for
from probes import angles, vds
from probes.settings import OutputOptions
from tests.benchmarks import gpu, gpu_work, prompts_growth, real_size
from tests.benchmarks.own_process import CommandFailedError, Measured, measured
from tests.benchmarks.random_checkpoints import ensure_checkpoint, n_bytes
from tests.published import SHAPES
from train.__main__ import parse
from vlm.checkpoints.checkpoint import load_model
from vlm.prompts.sources import load_prompts

NARROW = {"student": "narrow", "teacher": "narrow"}
SMALL = ["--student", "narrow", "--teacher", "narrow", "--visual-tokens", "16"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A random narrow model in bfloat16."""
    folder = tmp_path_factory.mktemp("checkpoints") / "narrow"
    return ensure_checkpoint(folder, SHAPES["narrow"], visual_tokens=16, dtype=torch.bfloat16, seed=0)


# --- random checkpoints ---


def test_a_random_checkpoint_loads_as_any_other(checkpoint):
    loaded = load_model(str(checkpoint), dtype="bfloat16")
    weights = dict(loaded.model.named_parameters())
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    assert sum(weight.nbytes for weight in weights.values()) == n_bytes(SHAPES["narrow"], torch.bfloat16)
    matrix = weights["model.language_model.layers.0.mlp.up_proj.weight"].detach().float()
    assert 0.019 < float(matrix.std()) < 0.021 and abs(float(matrix.mean())) < 1e-3
    assert bool((weights["model.language_model.norm.weight"] == 1).all())


def test_weights_are_cut_into_files_and_follow_from_the_seed(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.benchmarks.random_checkpoints.SHARD_BYTES", 1 << 20)

    def weights(seed):
        options = {"visual_tokens": 16, "dtype": torch.float32, "seed": seed}
        files = ensure_checkpoint(tmp_path / str(seed), SHAPES["narrow"], **options).glob("*.safetensors")
        return [load_file(file) for file in sorted(files)]

    first, again = weights(0), weights(1)
    assert len(first) > 3 and [part.keys() for part in first] == [part.keys() for part in again]
    assert any(not torch.equal(a[name], b[name]) for a, b in zip(first, again, strict=True) for name in a)


def test_a_checkpoint_is_used_again_and_another_shape_is_written_anew(tmp_path, checkpoint):
    before = (checkpoint / "config.json").stat().st_mtime_ns
    options = {"visual_tokens": 16, "seed": 0}
    ensure_checkpoint(checkpoint, SHAPES["narrow"], dtype=torch.bfloat16, **options)
    assert (checkpoint / "config.json").stat().st_mtime_ns == before
    wider = SHAPES["narrow"]._replace(mlp=512)
    ensure_checkpoint(tmp_path, SHAPES["narrow"], dtype=torch.bfloat16, **options)
    ensure_checkpoint(tmp_path, wider, dtype=torch.bfloat16, **options)
    assert json.loads((tmp_path / "config.json").read_text())["text_config"]["intermediate_size"] == 512


# --- a process of its own ---


def test_a_process_reports_what_it_took():
    own = measured("cli.vgs", ["--help"])
    assert "usage: vgs" in own.said and 0 < own.cpu_seconds < 60 and 5e6 < own.peak_bytes < 1e9


def test_a_process_that_fails_says_how():
    with pytest.raises(CommandFailedError, match="ended with code 2:\nerror: `command` must be one of"):
        measured("cli.vgs", ["nothing"])


# --- real size ---


def test_every_command_has_flags_that_it_knows():
    options = real_size.RealSizeOptions(**NARROW)
    lines = real_size.commands(options, Path("student"), Path("teacher"))
    assert [*lines] == ["vds", "angles", "train standard", "train vgs-lp"]
    for probe in (vds.PROBE, angles.PROBE):
        module, argv = lines[probe.name]
        assert module == probe.module
        parsed = parser_for(probe.module, "", (*probe.reads, *probe.options, OutputOptions)).parse_args(argv)
        assert parsed.checkpoint == "student" and parsed.limit == 1
    for objective in ("standard", "vgs-lp"):
        config = parse(lines[f"train {objective}"][1])
        assert (config.objective, config.lora_rank, config.steps, config.batch) == (objective, 16, 1, 1)


def test_the_prompts_show_pictures(tmp_path):
    real_size.write_prompts(tmp_path / "prompts.jsonl")
    prompts = load_prompts(str(tmp_path / "prompts.jsonl"))
    assert len(prompts) == 2 and all(prompt.has_image and prompt.answer for prompt in prompts)


def test_peaks_are_compared_with_the_plan():
    phases = {"loading": 5, "rollouts": 1, "scoring": 7, "gradients": 9, "null": 2, "training step": 6}
    plan = {
        "process_bytes": 10**9,
        "phases": {name: {"bytes": {"weights": size * 10**9 - 1, "rest": 1}} for name, size in phases.items()},
    }
    assert real_size._peaks(plan, "vgs-lp") == {"vds": 8 * 10**9, "angles": 10**10, "train vgs-lp": 7 * 10**9}
    text = real_size.table([real_size.Row("vds", Measured(61.0, 50.4, 7 * 10**9), 8 * 10**9)])
    assert text.splitlines()[2] == "| vds | 61 | 50 | 7.00 | 8.00 | 0.88 |"


@pytest.mark.slow
def test_a_narrow_pair_goes_through_all_commands(tmp_path, capsys):
    flags = [*SMALL, "--max-response", "6", "--lora-rank", "2", "--folder", str(tmp_path)]
    assert real_size.main(flags) == 0
    said = capsys.readouterr().out
    assert said == (tmp_path / "real_size.md").read_text() and "narrow <- narrow" in said
    assert all(f"\n| {name} |" in said for name in ("vds", "angles", "train standard", "train vgs-lp"))
    assert (tmp_path / "angles" / "record.json").is_file() and (tmp_path / "train-vgs-lp" / "last").is_dir()
    assert real_size.main([*flags, "--most-gb", "0.01"]) == 1
    assert "held more than 0.01 GB" in capsys.readouterr().err


# --- one GPU ---


@pytest.fixture
def own_accelerate_state():
    """Leave no precision behind for tests that train in another."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.slow
def test_the_gpu_script_runs_at_small_size_on_the_cpu(tmp_path, capsys, monkeypatch, own_accelerate_state):
    arms = {name: gpu_work.ARMS[name] for name in ("standard", "vgs-lp, eta measured")}
    monkeypatch.setattr(gpu_work, "ARMS", arms)
    lengths = [
        "--max-response",
        "4",
        "--responses",
        "2",
        "--sampled",
        "1",
        "--bins",
        "2",
        "--per-bin",
        "2",
        "--counted",
        "1",
    ]
    flags = [
        "--device",
        "cpu",
        "--dtype",
        "float32",
        *SMALL,
        *lengths,
        "--rounds",
        "1",
        "--lora-rank",
        "2",
        "--out",
        str(tmp_path),
    ]
    assert gpu.main(flags) == 0
    said = (tmp_path / "gpu.md").read_text()
    assert capsys.readouterr().out == said
    assert "narrow <- narrow, random weights, float32" in said and "CPU, 1 thread(s)" in said
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if line.startswith("| ")]
    phases = {row[0]: row for row in rows if len(row) == 4}
    assert {"score", "gradients", "sample", "standard", "vgs-lp, eta measured"} <= phases.keys()
    assert all(float(row[3]) > 0.1 for name, row in phases.items() if name != "phase")
    ratios = {row[0]: row[2] for row in rows if len(row) == 3}
    assert ratios["standard"] == "1.000" and float(ratios["vgs-lp, eta measured"]) > 0
    assert "4 tokens probed in " in said
    share = float(said.partition("the floor is ")[2].split()[0])
    assert 0 < share <= 100


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator")
@pytest.mark.parametrize(("device", "named"), [("auto", "there is none here"), ("cuda", "cannot be used")])
def test_a_device_that_is_not_there_is_one_line(device, named, capsys):
    assert gpu.main(["--device", device]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: `device`") and named in line


# --- growth with the number of prompts ---


def test_growth_is_measured_and_drawn(tmp_path, monkeypatch, capsys):
    asked = []

    def stand_in(module, argv):
        n = int(argv[argv.index("--limit") + 1])
        asked.append((module, n, "--per-bin" in argv))
        return Measured(2.0 * n, 1.0 * n, 10**6 * n)

    monkeypatch.setattr(prompts_growth, "measured", stand_in)
    assert prompts_growth.main(["--prompts", "2", "4", "--out", str(tmp_path)]) == 0
    assert asked == [(f"probes.{name}", n, name == "angles") for n in (2, 4) for name in ("vds", "angles")]
    frame = pd.read_csv(tmp_path / "prompts_growth.csv")
    assert frame["cpu_seconds"].tolist() == frame["peak_mb"].tolist() == frame["prompts"].tolist() == [2, 2, 4, 4]
    assert (tmp_path / "prompts_growth.png").stat().st_size > 5000
    assert "probes.angles" in capsys.readouterr().out


def test_the_committed_growth_is_of_up_to_two_thousand_prompts():
    folder = Path(sys.modules["figures"].__file__).parent / "gallery" / "benchmarks"
    frame = pd.read_csv(folder / "prompts_growth.csv")
    assert frame["prompts"].max() == 2000 and set(frame["measurement"]) == {"probes.vds", "probes.angles"}
    assert (folder / "prompts_growth.png").is_file()
