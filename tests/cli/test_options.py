"""Flags: what parses to what, with a configuration file and without, and what is refused."""

import pytest

from cli.options import parser_for, pick
from cli.progress import progress
from probes.options import BinOptions, MetricOptions, OutputOptions, PairOptions, PromptOptions, UnitOptions, run_probe

GROUPS = (PairOptions, PromptOptions, BinOptions, UnitOptions, OutputOptions)


def parse(*argv):
    return parser_for("probes.angles", "What is asked.\n\nMore.", GROUPS).parse_args(list(argv))


def test_defaults_are_those_of_the_dataclasses():
    parsed = parse()
    assert parsed.checkpoint == "bundled"
    for group in GROUPS:
        assert pick(parsed, group) == group()


def test_flags_reach_their_fields():
    parsed = parse("ckpt", "--teacher", "t", "--text-view", "other", "--rollouts-per-prompt", "3", "--overwrite")
    assert parsed.checkpoint == "ckpt"
    assert pick(parsed, PairOptions).teacher == "t"
    assert pick(parsed, PromptOptions) == PromptOptions(text_view="other", rollouts_per_prompt=3)
    assert pick(parsed, OutputOptions).overwrite is True


@pytest.mark.parametrize(("given", "value"), [("8", 8), ("all", "all")])
def test_units_are_a_number_or_all(given, value):
    assert pick(parse("--per-bin", given), UnitOptions).probe_per_bin == value


def test_a_configuration_file_gives_way_to_flags(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("teacher: t\nlimit: 3\nprobe_per_bin: all\noverwrite: true\nbins: 4\n")
    parsed = parse("ckpt", "--config", str(path), "--bins", "5")
    assert (parsed.checkpoint, parsed.teacher, parsed.limit, parsed.overwrite) == ("ckpt", "t", 3, True)
    assert (parsed.bins, parsed.probe_per_bin) == (5, "all")


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("--per-bin", "some"), "probe-per-bin"),
        (("--per-bin", "0"), "probe-per-bin"),
        (("--bins", "0"), "bins"),
        (("--seed", "-1"), "seed"),
        (("--text-view", "none"), "text-view"),
        (("--dtype", "int8"), "dtype"),
        (("--what",), "--what"),
        (("--config", "none.yaml"), "none.yaml"),
    ],
)
def test_wrong_flags_are_named(argv, named, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*argv)
    assert caught.value.code == 2
    assert named in capsys.readouterr().err


def test_help_shows_groups_and_flags(capsys):
    with pytest.raises(SystemExit) as caught:
        parse("--help")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for text in ("What is asked.", "The models", "what replaces the picture in the text view", "--per-bin"):
        assert text in shown


@pytest.mark.parametrize(("series", "given"), [(False, "ckpt"), (True, ["ckpt"])])
def test_a_probe_is_run_on_the_values_of_each_group(series, given):
    seen = []
    groups, argv = (BinOptions, PairOptions), ["ckpt", "--teacher", "t", "--bins", "3"]
    assert run_probe("What is asked.", groups, lambda *values: seen.extend(values), argv, series=series) == 0
    assert seen == [given, BinOptions(3), PairOptions("t")]


def test_flags_that_make_no_sense_together_are_one_line(capsys):
    argv = ["--optimizer-state", "x.pt"]
    assert run_probe("What is asked.", (MetricOptions,), lambda *_: pytest.fail("it was run"), argv) == 2
    assert capsys.readouterr().err.startswith("error: `optimizer_state` is read for the metric adam only")


def test_progress_is_lines_in_a_log_and_a_bar_on_a_terminal(capsys, monkeypatch):
    with progress("things", 2) as show:
        show(1)
        show(2)
    assert capsys.readouterr().err == "things: 2/2, 0 s left\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress("things", 2) as show:
        show(2)
    assert "100%" in capsys.readouterr().err
