"""Flags: what parses to what, with a configuration file and without, and what is refused."""

import pytest

from cli.errors import OptionError
from cli.options import checked, parser_for, pick
from probes.settings import BinOptions, OutputOptions, PairOptions, PromptOptions, UnitOptions
from probes.support import SupportOptions

GROUPS = (PairOptions, PromptOptions, BinOptions, UnitOptions, SupportOptions, OutputOptions)


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


@pytest.mark.parametrize(("word", "value"), [("8", 8), ("all", "all")])
def test_units_are_a_number_or_all(word, value):
    assert pick(parse("--per-bin", word), UnitOptions).per_bin == value


def test_a_list_is_several_words():
    assert pick(parse("ckpt", "--top-k", "4", "8", "--bins", "5"), SupportOptions).top_k == (4, 8)
    assert pick(parse("--top-k", "4"), SupportOptions).top_k == (4,)


def test_a_configuration_file_gives_way_to_flags(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("teacher: t\nlimit: 3\nper_bin: all\noverwrite: true\nbins: 4\ntop_k: [4, 8]\n")
    parsed = parse("ckpt", "--config", str(path), "--bins", "5")
    assert (parsed.checkpoint, parsed.teacher, parsed.limit, parsed.overwrite) == ("ckpt", "t", 3, True)
    assert (parsed.bins, parsed.per_bin, list(parsed.top_k)) == (5, "all", [4, 8])


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("--per-bin", "some"), "`--per-bin` must be a whole number above 0 or all, got 'some'"),
        (("--per-bin", "0"), "`--per-bin` must be"),
        (("--bins", "0"), "`--bins` must be a whole number above 0, got 0"),
        (("--seed", "-1"), "`--seed` must be a whole number of at least 0, got -1"),
        (("--text-view", "none"), "`--text-view` must be one of drop, blank, other, got none"),
        (("--dtype", "int8"), "`--dtype` must be one of"),
        (("--top-k", "4", "0"), "`--top-k` must be"),
        (("--what",), "--what"),
        (("--config", "none.yaml"), "none.yaml"),
    ],
)
def test_wrong_flags_are_named_in_one_line(argv, named, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*argv)
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert named in shown.err and shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1 and shown.out == ""


def test_help_shows_groups_and_flags(capsys):
    with pytest.raises(SystemExit) as caught:
        parse("--help")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for text in ("What is asked.", "The models", "what replaces the picture in the text view", "--per-bin"):
        assert text in shown


@pytest.mark.parametrize(
    "text", ["# Be brief", "null", "~", "&a", "", "a: b", "1e-3", " x ", 'it\'s\n"so"', "{}", "ü 漢"]
)
def test_text_that_may_be_left_out_is_taken_as_it_is(text):
    """Not as YAML, which knows comments and other words for none."""
    assert (
        pick(parser_for("probes.angles", "", [PairOptions]).parse_args(["--teacher", text]), PairOptions).teacher
        == text
    )
    assert checked(PairOptions, {"teacher": text}).teacher == text
    assert checked(PairOptions, {"teacher": None}).teacher is None
    with pytest.raises(OptionError, match="`teacher` must be text, got 3"):
        checked(PairOptions, {"teacher": 3})


@pytest.mark.parametrize(("given", "meant"), [("--per-bim", "--per-bin"), ("--per", "--per-bin"), ("--zzz", None)])
def test_a_flag_that_does_not_exist_names_the_one_that_is_most_alike(capsys, given, meant):
    with pytest.raises(SystemExit) as end:
        parser_for("probes.angles", None, (UnitOptions,)).parse_args([given, "4"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and f"unrecognized arguments: {given}" in said
    assert (f"; did you mean {meant}?; see" in said) if meant else "did you mean" not in said
