"""Flags: what parses to what, and what is refused in one line with exit code 2."""

import json
import subprocess
import sys
from dataclasses import fields
from typing import get_args

import pytest

from cli.errors import OptionError
from geometry.objective_settings import Name
from tests import models
from tests.train.small import flags, small
from train.__main__ import main, parse
from train.config import Config
from train.flags import FLAGS_READ_BY, GROUP_SIZE, RewardName, TrainerName
from train.presets import PRESETS

REWARD = {"objective": "grpo", "rollouts_per_prompt": 2}


def test_without_flags_it_is_the_bundled_preset():
    assert parse([]) == Config()
    assert (parse([]).objective, parse([]).steps) == ("vgs-lp", 100)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_fills_what_is_not_given(preset):
    config = parse(["--preset", preset, "--steps", "7"])
    assert config == Config(**PRESETS[preset] | {"preset": preset, "steps": 7})


def test_a_preset_in_a_file_counts_too(tmp_path):
    (tmp_path / "x.yaml").write_text("preset: paper-4b\nlambda: 0.1\n")
    config = parse(["--config", str(tmp_path / "x.yaml")])
    assert (config.eta, config.lambda_, config.max_response) == (0.36, 0.1, 2048)


def test_flags_reach_their_fields(tmp_path):
    config = small(tmp_path, lambda_=0.5, eta="none", freeze_vision=True, prior="attached", clip_norm="none")
    assert parse(flags(config)) == config


def test_with_a_reward_there_is_no_eta_without_asking(tmp_path):
    assert parse([]).normalisation == parse(["--eta", "measured"]).normalisation == "measured"
    assert parse([]).settings["eta"] == "measured"
    given = ["--rollouts-per-prompt", "2", "--objective"]
    for name in ("grpo", "grpo+standard", "grpo+vgs-lp"):
        config = parse([*given, name])
        assert (config.normalisation, config.settings["eta"], config.measures_eta) == ("none", "none", False)
        assert parse([*given, name, "--eta", "none"]).settings == config.settings


def test_responses_per_prompt_are_several_where_a_reward_compares_them():
    """The number stands in the settings, so that it identifies the run whether it was typed or not."""
    for name in get_args(Name):
        assert parse(["--objective", name]).settings["rollouts_per_prompt"] == 1
    for name in get_args(RewardName):
        config = parse(["--objective", name])
        assert config.group_size == config.settings["rollouts_per_prompt"] == GROUP_SIZE == 4
        assert parse(["--objective", name, "--rollouts-per-prompt", "4"]).folder == config.folder
        assert parse(["--objective", name, "--rollouts-per-prompt", "3"]).group_size == 3
    assert parse(["--rollouts-per-prompt", "1"]).folder == parse([]).folder


def test_the_settings_of_a_run_are_named_as_ever(monkeypatch):
    """Else no run of an earlier version could be continued."""
    assert parse([]).folder == "runs/train-vgs-lp-9175fecf24ed"
    assert parse(["--objective", "standard", "--seed", "1"]).folder == "runs/train-standard-e7c8d39f9a61"
    mix = ["--objective", "grpo+vgs-lp", "--rollouts-per-prompt", "4", "--batch", "16"]
    assert parse(mix).folder == "runs/train-grpo+vgs-lp-a56cfeeed759"
    monkeypatch.setattr(Config, "is_on_cpu", False)  # as where the preset was run
    paper = ["--preset", "paper-4b", "--teacher", "t"]
    assert parse([*paper, "--eta-scales", "steered"]).folder == "runs/train-vgs-lp-b7f179a17190"
    assert parse(paper).folder != "runs/train-vgs-lp-b7f179a17190"


def test_the_settings_of_an_automatic_run_are_those_that_it_does_not_choose():
    settings = parse(["--objective", "auto"]).settings
    assert (settings["rho"], settings["gamma_max"], settings["prior"], settings["eta"]) == (5.0, 4.0, "frozen", "none")
    assert not {"gamma", "lambda_"} & settings.keys() and not {"rho", "gamma_max"} & parse([]).settings.keys()
    assert parse(["--objective", "auto", "--rho", "1"]).folder != parse(["--objective", "auto"]).folder
    trained = parse(["--objective", "auto", "--quantile", "0.5"]).training_objective
    assert (trained.name, trained.prior, trained.quantile) == ("vgs-lp", "frozen", 0.5)


def test_what_has_an_eta():
    assert parse(["--objective", "vds-weighted"]).measures_eta
    assert not any(parse(["--objective", name]).measures_eta for name in ("auto", "suppression", "standard"))
    assert parse(["--objective", "suppression"]).normalisation == "none"
    assert not parse(["--objective", "suppression"]).is_distilled and parse(["--objective", "auto"]).is_distilled


def test_the_published_eta_scales_the_whole_loss_as_printed():
    def scaled(*argv):
        return parse([*argv, "--teacher", "t"]).training_objective.eta_scales

    assert scaled("--preset", "paper-2b") == scaled("--eta-scales", "loss") == "loss"
    assert scaled() == scaled("--eta", "0.41") == scaled("--preset", "paper-2b", "--eta", "measured") == "steered"
    assert scaled("--preset", "paper-2b", "--objective", "vgs") == "steered"  # it has no other term
    assert scaled("--preset", "paper-2b", "--eta-scales", "steered") == "steered"
    assert "eta_scales" not in parse([]).settings == parse(["--eta-scales", "steered"]).settings
    assert parse(["--eta-scales", "loss"]).settings["eta_scales"] == "loss"


def test_on_the_cpu_auto_is_what_was_the_default(monkeypatch):
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda check_available=False: None)
    asked = ([], ["--device", "auto"], ["--device", "cpu"], ["--dtype", "auto"], ["--dtype", "float32"])
    assert {(c.settings["device"], c.settings["dtype"], c.folder) for c in map(parse, asked)} == {
        ("cpu", "float32", parse([]).folder)
    }


@pytest.mark.parametrize(
    ("saved", "settled"), [("bfloat16", "bfloat16"), ("float16", "bfloat16"), ("float32", "float32")]
)
def test_elsewhere_auto_is_what_the_student_was_saved_in(checkpoints, tmp_path, monkeypatch, saved, settled):
    student = models.copy_of(checkpoints / "student", tmp_path / "student")
    content = json.loads((student / "config.json").read_text())
    (student / "config.json").write_text(json.dumps(content | {"dtype": saved}))
    monkeypatch.setattr(Config, "is_on_cpu", False)
    config = Config(student=str(student))
    assert (config.precision, config.settings["dtype"], config.settings["device"]) == (settled, settled, "auto")


def test_what_a_mix_is_distilled_with():
    def about(**changes):
        found = Config(**REWARD | changes).training_objective
        return found.name, found.gamma, found.eta

    assert about() == about(objective="grpo+standard") == ("standard", 2.0, 1.0)
    assert about(objective="grpo+vgs-lp", gamma=1.0) == ("vgs-lp", 1.0, 1.0)
    assert about(objective="grpo+standard", match_norm=True, gamma=1.0) == ("vgs-lp", 1.0, 1.0)


def test_the_teacher_s_preset_is_four_updates_of_128_prompts():
    config = parse(["--preset", "paper-teacher"])
    assert (config.objective, config.top_p, config.rollouts_per_prompt) == ("grpo", 0.99, 8)
    assert (config.batch / config.updates, config.steps) == (128, 2 * (45_246 // config.batch))


def test_the_run_is_named_for_what_it_computes():
    assert parse([]).folder.startswith("runs/train-vgs-lp-")
    assert parse(["--resume"]).folder == parse([]).folder
    assert parse(["--seed", "1"]).folder != parse([]).folder


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"objective": "standard", "gamma": 1.0}, "`gamma`"),
        ({"objective": "standard", "eta": 0.4}, "`eta`"),
        ({"objective": "vgs", "lambda_": 0.1}, "`lambda_`"),
        ({"objective": "vgs", "quantile": 0.5}, "`quantile`"),
        ({"objective": "vgs", "gamma": 0.0, "eta": 0.4}, "`eta`"),
        ({"objective": "vgs-lp", "vp": "printed"}, "`vp`"),
        ({"objective": "off-policy", "prior": "attached"}, "`prior`"),
        ({"preset": "paper-2b", "gamma": 1.0, "eta": 0.41}, "`eta` 0.41"),
        ({"preset": "paper-4b", "objective": "adaptive", "eta": 0.36}, "`eta` 0.36"),
        ({"override": True}, "`override`"),
        ({"support": "top:5"}, "`support` must be full or topk:K"),
        ({"support": "topk:0"}, "`support`"),
        ({"objective": "vgs", "quantile_scope": "micro-batch"}, "`quantile_scope` must be batch for 'vgs'"),
        ({"objective": "grpo", "rollouts_per_prompt": 1}, "`rollouts_per_prompt` must be at least 2 for 'grpo'"),
        ({"objective": "grpo+standard", "rollouts_per_prompt": 1}, "`rollouts_per_prompt`"),
        ({**REWARD, "eta": "measured"}, "`eta` must be none for 'grpo', Eq. 22 has none, got measured"),
        ({**REWARD, "eta": 0.41}, "`eta` must be"),
        ({**REWARD, "gamma": 1.0}, "`gamma` must be left at 2.0 for 'grpo'"),
        ({**REWARD, "objective": "grpo+standard", "lambda_": 0.1}, "`lambda_` .* for 'grpo\\+standard'"),
        (
            {**REWARD, "alpha": 0.5},
            "`alpha` belongs to grpo\\+standard and grpo\\+vgs-lp: 'grpo' does not read it",
        ),
        ({"alpha": 0.5}, "`alpha` belongs to"),
        ({**REWARD, "objective": "grpo+vgs-lp", "alpha": 1.5}, "`alpha` must lie in \\[0, 1\\], got 1.5"),
        ({**REWARD, "match_norm": True}, "`match_norm` belongs to grpo\\+standard: 'grpo' does"),
        ({**REWARD, "objective": "grpo+vgs-lp", "match_norm": True}, "`match_norm`"),
        ({**REWARD, "top_p": 0.0}, "`top_p` must lie in"),
        ({"top_p": 0.9}, "`top_p` belongs to grpo: 'vgs-lp' does not read it, got 0.9"),
        ({**REWARD, "objective": "grpo+standard", "top_p": 0.9}, "`top_p` belongs to grpo: 'grpo\\+standard'"),
        ({"updates": 2}, "`updates` belongs to .*: 'vgs-lp' does not read it, got 2"),
        ({"objective": "auto", "gamma": 1.0}, "`gamma` belongs to .*: 'auto' does not read it, got 1.0"),
        ({"objective": "auto", "lambda_": 0.0}, "`lambda_` belongs to"),
        ({"objective": "auto", "prior": "attached"}, "`prior` belongs to"),
        ({"objective": "auto", "eta": "measured"}, "`eta` must be none for 'auto', got measured"),
        ({"objective": "auto", "quantile": 7.0}, "`low_quantile` and `quantile` must lie in"),
        ({"objective": "suppression", "rollouts": "x.jsonl"}, "`rollouts` belongs to"),
        ({"objective": "suppression", "rho": 1.0}, "`rho` belongs to auto: 'suppression' does not read it"),
        ({"objective": "vds-weighted", "quantile_scope": "micro-batch"}, "`quantile_scope` must be batch for"),
        ({**REWARD, "updates": 3}, "`batch` must be a multiple of `updates`, got 64 and 3"),
        (
            {"objective": "grpo", "rollouts": "x.jsonl"},
            "`rollouts` belongs to standard and .*: .grpo. does not read it",
        ),
    ],
)
def test_what_makes_no_sense_together_is_refused(changes, named):
    with pytest.raises(OptionError, match=named) as caught:
        Config(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("--objective", "ppo"), "objective"),
        (("--lambda", "-1"), "lambda"),
        (("--eta", "0"), "eta"),
        (("--steps", "0"), "steps"),
        (("--dtype", "float16"), "dtype"),
        (("--what",), "--what"),
    ],
)
def test_wrong_flags_are_named(argv, named, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert caught.value.code == 2
    assert named in capsys.readouterr().err


def test_a_mistake_is_one_line_and_exit_code_2(checkpoints, tmp_path, capsys):
    prompts = tmp_path / "p.jsonl"
    prompts.write_text("".join(json.dumps({"problem": f"{n} ?", "answer": "1"}) + "\n" for n in range(8)))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    given = flags(small(checkpoints, out=str(tmp_path / "run")))
    for argv, named in (
        (["--objective", "standard", "--gamma", "1"], "`gamma`"),
        (["--student", str(tmp_path / "none")], "`checkpoint`"),
        ([*given, "--prompts", str(prompts), "--batch", "5"], "`batch` must be at most 4"),
        ([*given, "--prompts", str(tmp_path / "none.jsonl")], "`prompts`"),
        ([*given, "--out", str(tmp_path / "taken")], "notes.txt"),
    ):
        assert main(argv) == 2
        [line] = [text for text in capsys.readouterr().err.splitlines() if "Loading" not in text]
        assert line.startswith("error: ") and named in line


HELP = """
import resource, sys
from train.__main__ import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    used = resource.getrusage(resource.RUSAGE_SELF)
    heavy = {"torch", "transformers", "accelerate", "pandas", "scipy"} & set(sys.modules)
    print(f"{ended.code} {used.ru_utime + used.ru_stime:.2f} {sorted(heavy)}")
"""


@pytest.mark.parametrize(("argv", "code"), [(["--help"], "0"), (["--objective", "ppo"], "2")])
def test_flags_are_answered_before_anything_heavy_loads(argv, code):
    done = subprocess.run([sys.executable, "-c", HELP, *argv], capture_output=True, text=True, check=True)
    ended, seconds, heavy = done.stdout.splitlines()[-1].split(maxsplit=2)
    assert (ended, heavy) == (code, "[]") and float(seconds) < 1.5
    assert len(done.stderr.splitlines()) == (code == "2")


def test_help_has_the_manual_and_groups_and_says_who_reads_a_flag(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert shown.startswith("usage: python -m train [flags]")
    assert "    python -m train --objective grpo+vgs-lp " in shown
    titles = [group for f in fields(Config) if (group := f.metadata["group"])]
    groups = [f"{group}:" for group in (*titles[1:], titles[0])]  # those that are inherited come last
    assert [line for line in shown.splitlines() if line in groups] == groups and len(groups) == 12
    read_by = {name: by for name, by in FLAGS_READ_BY.items() if name in {f.name for f in fields(Config)}}
    for name, by in read_by.items():
        [line] = [text for text in _flags(shown) if text.split()[0] == "--" + name.rstrip("_").replace("_", "-")]
        assert f"[{', '.join(by)}]" in line
    assert sum("[" in text.partition("]")[0] for text in _flags(shown)) == len(read_by) + 1  # and what --objective says


def _flags(shown):
    """The text of each flag, its lines joined."""
    return ["--" + part for part in " ".join(shown.partition("Models:")[2].split()).split(" --")[1:]]


@pytest.mark.parametrize("name", [name for name in FLAGS_READ_BY if name in Config.__dataclass_fields__])
def test_the_table_of_readers_is_what_is_refused(name):
    """A flag is taken by the objectives that read it, and refused by the others."""
    value = {"prior": "attached", "vp": "printed", "quantile_scope": "micro-batch", "rollouts": "x.jsonl", "updates": 2}
    changes = {name: {"match_norm": True, "eta_scales": "loss", **value}.get(name, 0.5)}
    for objective in (*get_args(Name), *get_args(RewardName), *get_args(TrainerName)):
        if objective in FLAGS_READ_BY[name]:
            assert getattr(Config(objective=objective, **changes), name) == changes[name]
        else:
            with pytest.raises(OptionError, match=f"`{name}`"):
                Config(objective=objective, **changes)
