"""The probe of visual dependency: the tokens of the angles probe, without gradients."""

import pandas as pd
import pytest

from probes import vds
from records import read_record


@pytest.fixture(scope="module")
def out(flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vds") / "record"
    assert vds.main([*flags, "--dtype", "float64", "--out", str(folder)]) == 0
    return folder


def test_tokens_are_those_of_the_angles_probe(out, angles_record):
    ours, theirs = (read_record(folder, "tokens").tables["tokens"] for folder in (out, angles_record))
    pd.testing.assert_frame_equal(ours, theirs)


def test_it_draws_and_writes_no_units(out):
    assert {path.name for path in out.iterdir()} == {
        "record.json",
        "rollouts.parquet",
        "tokens.parquet",
        "vds.png",
        "vds.svg",
    }


def test_the_table_shows_quantiles_over_pictured_tokens():
    tokens = pd.DataFrame({name: [1.0, 3.0, 100.0] for name in vds._COLUMNS.values()})
    shown = vds.quantile_table(tokens.assign(has_image=[True, True, False])).splitlines()
    assert "over 2 tokens" in shown[0]
    rows = {line.split()[0]: line.split()[1:] for line in shown[2:]}
    assert rows["0"] == ["1"] * 5 and rows["0.5"] == rows["mean"] == ["2"] * 5 and rows["1"] == ["3"] * 5
