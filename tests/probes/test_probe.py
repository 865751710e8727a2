"""A probe as a command: its flags reach what it measures, and its record is one line below what it prints."""

import json

import pytest

from cli.errors import OptionError
from probes import command
from probes.probe import Plan, Probe
from probes.settings import BinOptions, MetricOptions, PairOptions, UnitOptions

READS, OPTIONS = (BinOptions, PairOptions), (UnitOptions,)


def probe(seen, **options):
    """A probe of nothing, which notes what it is handed."""

    def plan(analyzer, *values):
        seen.append((analyzer, *values))
        header = {"probe": "probes.vds", "pair": {}, "weights": {}, "settings": {"n": len(values)}}
        return Plan(header, lambda: {})

    options = {"reads": READS, "options": OPTIONS} | options
    return Probe("vds", pytest.fail, lambda measured, *values: f"measured {values}", plan=plan, **options)


@pytest.mark.parametrize(("series", "others"), [(False, ()), (True, ("second", "third"))])
def test_a_probe_is_run_on_the_values_of_each_group(tmp_path, capsys, series, others):
    seen, out = [], tmp_path / "record"
    argv = ["ckpt", *others, "--teacher", "t", "--bins", "3", "--per-bin", "2", "--out", str(out)]
    assert command.run(probe(seen, series=series), "What is asked.", argv) == 0
    [(analyzer, *values)] = seen
    assert values == [*others, UnitOptions(per_bin=2)]
    assert analyzer.checkpoint == "ckpt"
    assert (analyzer.bin_options, analyzer.pair_options) == (BinOptions(3), PairOptions("t"))
    assert capsys.readouterr().out == f"measured ({UnitOptions(per_bin=2)},)\nrecord: {out}\n"
    assert json.loads((out / "record.json").read_text())["complete"] is True


def test_without_a_folder_a_record_is_named_by_its_settings(here):
    assert command.run(probe([]), "What is asked.", []) == 0
    [folder] = (here / "runs").iterdir()
    assert folder.name == "vds-" + json.loads((folder / "record.json").read_text())["fingerprint"]


def test_flags_that_make_no_sense_together_are_one_line(here, capsys):
    seen = []
    assert command.run(probe(seen, reads=(MetricOptions,)), "What is asked.", ["--optimizer-state", "x.pt"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: `optimizer_state` is read for the metric adam only")
    assert shown.err.count("\n") == 1 and shown.out == ""
    assert not seen and not (here / "runs").exists()


def test_a_keyword_that_is_none_of_the_probes_is_named():
    with pytest.raises(OptionError, match="`bins` is no option of `vds`: it must be one of unit, per_bin, normalise"):
        probe([]).values({"bins": 3})
    assert probe([]).values({"per_bin": "all"}) == [UnitOptions(per_bin="all")]
