"""What the dtype costs, by the probe's own account and by hand."""

import pandas as pd
import pytest

from cli.errors import OptionError
from probes import Analyzer, angles
from probes.settings import PairOptions
from probes.stages import Unit, reference_dtype, sample_units
from records import ANGLES, read_record


def checked(flags, tmp_path, *argv):
    assert angles.main([*flags, "--per-bin", "2", "--out", str(tmp_path / "record"), *argv]) == 0
    return read_record(tmp_path / "record", "precision").precision


def test_a_float32_measurement_is_hardly_off_and_says_so(flags, tmp_path, capsys):
    rows = checked(flags, tmp_path, "--precision-check", "6")
    assert "precision: against float64, 100.0 % of" in capsys.readouterr().out
    assert rows["bin"].tolist() == [0, 1, 2] and rows["n_units"].tolist() == [2, 2, 2]
    assert (rows["same_bin_share"] == 1).all()
    shifts = rows[[f"{angle}_shift_max_deg" for angle in ANGLES]].to_numpy()
    assert 0 < shifts.max() < 0.1


def test_bfloat16_moves_angles(flags, tmp_path):
    rows = checked(flags, tmp_path, "--precision-check", "3", "--dtype", "bfloat16")
    assert rows["n_units"].tolist() == [1, 1, 1]
    assert rows["angle_standard_language_shift_mean_deg"].max() > 0.01


def test_there_is_nothing_to_check_in_the_reference_dtype(flags, tmp_path, capsys):
    argv = [*flags, "--dtype", "float64", "--precision-check", "4", "--out", str(tmp_path / "record")]
    assert angles.main(argv) == 2 and not (tmp_path / "record").exists()
    assert "error: `precision_check` compares with float64, which `dtype` is already" in capsys.readouterr().err
    with pytest.raises(OptionError):
        reference_dtype(PairOptions(dtype="float32", device="cuda"))
    assert reference_dtype(PairOptions()) == reference_dtype(PairOptions(dtype="bfloat16")) == "float64"
    assert reference_dtype(PairOptions(dtype="bfloat16", device="cuda")) == "float32"


def test_units_of_no_single_response_are_not_checked(flags, tmp_path, capsys):
    argv = [*flags, "--unit", "corpus-bin", "--precision-check", "4", "--out", str(tmp_path / "record")]
    assert angles.main(argv) == 2 and not (tmp_path / "record").exists()
    shown = capsys.readouterr().err
    assert shown.startswith("error: `precision_check` measures units of one response") and shown.count("\n") == 1


def test_the_reference_measures_the_same_responses_in_its_dtype(checkpoints):
    """Both models are in float64, whatever each of them was in, and the bins stay as they were made."""
    student, teacher = (str(checkpoints / name) for name in ("student", "teacher"))
    analyzer = Analyzer(student, teacher=teacher, limit=2, max_response=3, bins=2, teacher_dtype="bfloat16")
    tokens = analyzer.tokens
    exact = analyzer.in_dtype(reference_dtype(analyzer.pair_options))
    dtypes = [str(loaded.model.dtype) for pair in (exact.pair, analyzer.pair) for loaded in pair.models]
    assert dtypes == ["torch.float64"] * 2 + ["torch.float32", "torch.bfloat16"]
    assert exact.tokens is tokens and exact.rollouts is analyzer.rollouts


def test_the_sample_takes_as_many_of_each_bin():
    units = [Unit(number, "token", number % 3, "p", number, 0, {}) for number in range(30)]
    drawn = sample_units(units, 7, seed=0)
    assert pd.Series([unit.bin for unit in drawn]).value_counts().tolist() == [3, 3, 3]
    assert [unit.unit_id for unit in drawn] == sorted({unit.unit_id for unit in drawn})
