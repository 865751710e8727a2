"""Probes that estimate products of gradients: the error they state is that against exact records."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from figures import captions
from probes import angles, diagnose, layers, norms
from probes.text import errors_of, sketch_line, with_error
from records import ANGLES, OBJECTIVES, Measurement, read_record
from tests.probes.test_errors import complaint

ROOT = Path(__file__).resolve().parents[2]
STATE = ("--optimizer-state", __file__)  # any file: it is not read
SETTING = ("--dtype", "float64", "--per-bin", "4")  # 12 units, all of them checked


def differences(estimated: Measurement, exact: Measurement, scope: str) -> dict[str, np.ndarray]:
    """The errors of each unit's angles and norms, from two records' tables `units`."""
    one, other = (record.units[record.units["scope"] == scope].set_index("unit_id") for record in (estimated, exact))
    errors = {angle: (one[f"{angle}_deg"] - other[f"{angle}_deg"]).abs() for angle in ANGLES}
    norms_off = {f"norm_{name}": (one[f"norm_{name}"] / other[f"norm_{name}"] - 1).abs() for name in OBJECTIVES}
    return {name: values.to_numpy() for name, values in (errors | norms_off).items()}


@pytest.fixture(scope="module")
def sketched(flags, tmp_path_factory):
    out = tmp_path_factory.mktemp("sketch") / "record"
    assert angles.main([*flags, *SETTING, "--sketch", "4", "--out", str(out)]) == 0
    return read_record(out, "units", "bins", "sketch_error")


@pytest.fixture(scope="module")
def exact(angles_record):
    return read_record(angles_record, "units", "bins")


def test_the_stated_error_is_that_against_an_exact_record(sketched, exact):
    assert sketched.sketch_error["part"].tolist() == ["all", "language_model"]
    for row in sketched.sketch_error.to_dict("records"):
        assert row["n_units"] == 12
        for name, values in differences(sketched, exact, row["part"]).items():
            unit = "deg" if name in ANGLES else "share"
            assert row[f"{name}_error_mean_{unit}"] == pytest.approx(np.nanmean(values), abs=1e-7), name
            assert row[f"{name}_error_max_{unit}"] == pytest.approx(np.nanmax(values), abs=1e-7), name
        assert 0.01 < row["angle_language_visual_error_mean_deg"] < 30


def test_a_record_says_so_only_if_asked(sketched, exact):
    assert sketched.header["settings"]["sketch"] == 4
    assert "sketch" not in exact.header["settings"] and "sketch_error" not in exact.record["tables"]
    null = [name for name in exact.bins if "null" in name]
    np.testing.assert_allclose(sketched.bins[null], exact.bins[null])
    assert captions.sketch(exact) == ""
    row = sketched.sketch_error.set_index("part").loc["language_model"]
    most = max(row[f"angle_language_visual{kind}_error_mean_deg"] for kind in ("", "_attached"))
    said = captions.sketch(sketched, "language_model")
    assert said == f"a unit's angles \u00b1 {most:.2f}\u00b0 from the sketch of 4 columns"


def test_the_table_shows_the_error_of_each_angle(sketched):
    bins, errors = sketched.bins, sketched.sketch_error
    plain, stated = angles.angle_table(bins, "all"), angles.angle_table(bins, "all", errors=errors)
    *before, last, line, more = stated.splitlines()
    assert [row.split() for row in before] == [row.split() for row in plain.splitlines()]
    row = errors_of(errors, "all")
    shown = ("language_visual", "language_visual_attached", "standard_visual", "standard_language", "prior_language")
    errors_shown = [f"+-{row[f'angle_{name}_error_mean_deg']:.2f}" for name in shown]
    assert last.split() == ["sketch", "12", *errors_shown]
    assert f"{line}\n{more}" == sketch_line(row)


def test_words_of_an_error():
    row = {"n_units": 5, "norm_visual_error_mean_share": 0.004, "norm_standard_error_mean_share": 0.0123}
    for kind, mean, most in (("", 0.147, 1.0), ("_attached", 12.0, 20.0)):
        row |= {f"angle_language_visual{kind}_error_{word}_deg": e for word, e in (("mean", mean), ("max", most))}
    both = ("angle_language_visual", "angle_language_visual_attached")
    assert with_error(row, *both) == "+-12.00" and with_error(row, both[0]) == "+-0.15"
    assert with_error({"angle_x_error_mean_deg": float("nan")}, "angle_x") == ""
    line = sketch_line(row)
    assert "gradients of 5 units" in line and "0.15 degrees (at most 1.00) with q* detached" in line
    assert line.endswith("by 12.00 degrees (at most 20.00) with q* attached; norms by up to 1.2 %.")


@pytest.mark.slow
def test_layers_state_it_for_each_group(flags, tmp_path, capsys):
    estimated, plain = tmp_path / "sketch", tmp_path / "exact"
    assert layers.main([*flags, *SETTING, "--sketch", "4", "--out", str(estimated)]) == 0
    said = capsys.readouterr().out
    assert layers.main([*flags, *SETTING, "--out", str(plain)]) == 0
    one, other = (read_record(folder, "grams") for folder in (estimated, plain))
    errors = one.sketch_error.set_index("part")
    groups = list(one.grams["group"].unique())
    assert list(errors.index) == ["all", "language_model", *groups]
    for group in groups:
        squares = [record.grams.set_index("group").loc[group, "gram_visual_visual"] for record in (one, other)]
        off = np.abs(np.sqrt(squares[0] / squares[1]) - 1)
        assert errors.loc[group, "norm_visual_error_mean_share"] == pytest.approx(off.mean(), abs=1e-9), group
        (line,) = [line for line in said.splitlines() if line.split()[0] == group]
        assert line.split()[-1].startswith("+-")
    assert errors.loc["final_norm", "norm_visual_error_max_share"] < 1e-9
    assert errors.loc["layer_00.mlp", "norm_visual_error_mean_share"] > 1e-3


@pytest.mark.slow
def test_norms_state_it_for_each_checkpoint(flags, tmp_path, capsys):
    out = tmp_path / "record"
    assert norms.main([flags[0], flags[0], *flags[1:], "--per-bin", "2", "--sketch", "4", "--out", str(out)]) == 0
    errors = read_record(out, "norms").sketch_error
    assert errors[["checkpoint", "part"]].to_numpy().tolist() == [
        [number, part] for number in (0, 1) for part in ("all", "language_model")
    ]
    said = capsys.readouterr().out
    assert "a unit is off" in said
    titles, *rows = (line.split() for line in said.splitlines()[1:4])
    assert titles[-1] == "sketch" and all(row[-1].startswith("+-") for row in rows)


@pytest.mark.slow
def test_a_diagnosis_states_it_beside_its_angles(flags, tmp_path):
    out = tmp_path / "record"
    argv = [*flags, "--per-bin", "2", "--sketch", "4", "--skip-forecast", "--shown", "1", "--out", str(out)]
    assert diagnose.main(argv) == 0
    record = read_record(out, "findings", "sketch_error")
    reasons = record.findings[record.findings["measure"].str.startswith("language-visual angle")]["reason"]
    assert len(reasons) == 4 and reasons.str.contains("a unit's angle +- ", regex=False).all()
    page = (out / "report.html").read_text()
    assert page.count("Products of gradients were estimated: a unit&#39;s angles \u00b1") == 2


@pytest.mark.slow
def test_the_same_sketch_is_taken_for_the_check_of_the_dtype(flags, tmp_path):
    """A check in float64 of a sketch in float32 is one of rounding, not of the sketch."""
    out = tmp_path / "record"
    argv = [*flags, "--per-bin", "2", "--sketch", "4", "--precision-check", "3", "--out", str(out)]
    assert angles.main(argv) == 0
    record = read_record(out, "precision", "sketch_error")
    assert record.precision.filter(regex="_shift_max_deg$").max(axis=None) < 0.05
    assert record.sketch_error.filter(regex="_error_max_deg$").max(axis=None) > 0.5


def test_the_command_on_the_bundled_pair(tmp_path):
    out = tmp_path / "record"
    command = [sys.executable, "-m", "probes.angles", "--sketch", "16", "--limit", "4", "--per-bin", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--out", str(out)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    record = read_record(out, "sketch_error")
    assert record.header["settings"]["sketch"] == 16
    assert "\nsketch     20 " in done.stdout and "with exact gradients of 20 units" in done.stdout
    assert 0 < record.sketch_error["angle_language_visual_error_mean_deg"].max() < 3


@pytest.mark.parametrize(
    ("probe", "words", "said"),
    [
        (angles, ("--unit", "corpus-bin"), "`sketch` forms no gradients, and a corpus-bin's are held whole"),
        (layers, ("--unit", "corpus-bin"), "`sketch` forms no gradients, and a corpus-bin's are held whole"),
        (
            angles,
            ("--metric", "adam", *STATE),
            "`sketch` forms no gradients, which the metric adam weighs entry by entry",
        ),
        (
            layers,
            ("--metric", "adam", *STATE),
            "`sketch` forms no gradients, which the metric adam weighs entry by entry",
        ),
        (
            norms,
            ("--metric", "adam", *STATE),
            "`sketch` forms no gradients, which the metric adam weighs entry by entry",
        ),
    ],
)
def test_refusals(flags, tmp_path, capsys, probe, words, said):
    argv = [*flags, "--sketch", "4", *words, "--out", str(tmp_path / "record")]
    assert said in complaint(probe.main, argv, capsys)
    assert not (tmp_path / "record").exists()


def test_no_columns_are_refused(flags, capsys):
    with pytest.raises(SystemExit, match="2"):
        angles.main([*flags, "--sketch", "0"])
    assert capsys.readouterr().err.startswith("error: `--sketch` must be a whole number above 0, got 0")
