"""Every test that docs/theory.md names is there, and its numbers are those of the command that it names."""

import re
from pathlib import Path

import numpy as np
import pytest

from geometry import NEAR_STANDARD_DEG
from probes.stages.steering import steered_angles
from records import read_record
from tests.benchmarks import identity

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "figures/gallery"
TEXT = (ROOT / "docs/theory.md").read_text()


def test_every_test_exists():
    file, count = Path(), 0
    for name, test in re.findall(r"`(test_\w+\.py)?::(test_\w+)`", TEXT):
        file = ROOT / "tests/geometry" / name if name else file  # a test without a file is of the one before it
        assert f"def {test}(" in file.read_text(), test
        count += 1
    assert count > 25


def test_every_statement_of_the_tests_is_linked():
    """All of `test_identity.py` and `test_moving_anchor.py` stand on the page."""
    for name in ("test_identity.py", "test_moving_anchor.py"):
        tests = re.findall(r"^def (test_\w+)", (ROOT / "tests/geometry" / name).read_text(), re.MULTILINE)
        assert [test for test in tests if f"::{test}`" not in TEXT] == []


def test_formulas_hold_no_signs_that_markdown_takes_away():
    """Between dollars GitHub reads a backslash before a comma or a semicolon as that sign alone."""
    outside = re.sub(r"```math\n.*?\n```", "", TEXT, flags=re.DOTALL)
    assert TEXT.count("```math") > 5 and not re.search(r"\\[,;!]", outside)


def test_the_threshold_is_that_of_the_code():
    assert f"Below {NEAR_STANDARD_DEG:g} degrees" in TEXT


def test_the_angles_of_the_bundled_pair_are_those_of_the_records():
    steering = read_record(GALLERY / "sensitivity", "steering").steering.query("gamma == 2 and `lambda` == 0")
    whole = steering.set_index("prior")["angle_standard_deg"]
    record = read_record(GALLERY / "angles", "units", "grams")
    pooled = steered_angles(record.units, record.grams, "all").set_index("bin")
    assert f"`steering` | {whole['detached']:.1f} | {whole['attached']:.1f} |" in TEXT
    for words, bin_ in (("all bins", -1), ("bin 9", 9)):
        row = f"{words} | `probes.angles` | {pooled.loc[bin_, 'detached_deg']:.0f} | "
        assert f"{row}{pooled.loc[bin_, 'attached_deg']:.0f} |" in TEXT
    assert f"is {steering.set_index('prior')['eta']['detached']:.2f}, close to the 1/3" in TEXT


def test_the_shares_in_which_a_first_order_constraint_binds_are_those_of_the_record():
    table = read_record(GALLERY / "study", "gradients").gradients.query("scope == 'all'")
    cosine = {name: np.cos(np.radians(table[f"angle_{name}_deg"])) for name in ("standard_language", "language_visual")}
    along = table["norm_standard"] * cosine["standard_language"] + 2 * table["norm_visual"] * cosine["language_visual"]
    binds = along < 0  # the common factor, the norm of the language gradient, is above 0
    assert f"| all arms | {len(binds)} | {100 * binds.mean():.0f} % |" in TEXT
    for arm in ("vgs", "vgs-lp", "standard"):
        own = binds[table["arm"] == arm]
        assert f"| {arm} | {len(own)} | {100 * own.mean():.0f} % |" in TEXT


def test_the_rows_of_steering_are_those_of_the_command():
    rows = identity.arm_lines(identity.SEEDS, ("standard", "gamma 2, prior frozen", "gamma 2"))
    assert "\n".join(rows[:2]) in TEXT and all(row in TEXT for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("lines", [identity.arm_lines, identity.preserved_lines])
def test_the_tables_are_those_of_the_command(lines):
    assert "\n".join(lines(identity.SEEDS)) in TEXT, "run `python -m tests.benchmarks.identity`"
