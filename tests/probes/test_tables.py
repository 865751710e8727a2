"""Tables from Gram matrices that are built from their angles."""

import math
from dataclasses import replace

import pandas as pd
import torch
from probes.tables import bin_rows, gram_rows, product_rows, unit_rows
from probes.terminal import angle_table
from probes.units import Unit

from cli.tables import aligned
from records import ANGLES


def units(n):
    return [Unit(i, "token", 0, f"p{i}", i, 0, {i: torch.tensor([0.0, 1.0])}) for i in range(n)]


def plane_gram(*vectors):
    """The Gram matrix `[1, 5, 5]` of language, visual, prior and shift in a plane; standard is visual + prior."""
    language, visual, prior, shift = (torch.tensor(v, dtype=torch.float64) for v in vectors)
    rows = torch.stack([visual + prior, language, visual, prior, shift])
    return (rows @ rows.T)[None]


def test_norms_and_angles_of_known_vectors():
    layer = plane_gram((1, 0), (0, 2), (1, -1), (2, -1))
    vision = plane_gram((0, 0), (0, 1), (1, 0), (0, 0))
    rows = unit_rows(units(1), {"layer_00": layer, "vision_tower": vision}).set_index("scope")
    language = rows.loc["language_model"]
    assert math.isclose(language["norm_visual"], 2)
    assert math.isclose(language["angle_language_visual_deg"], 90)
    assert math.isclose(language["angle_standard_visual_deg"], 45)
    assert math.isclose(language["angle_standard_language_deg"], 45)
    assert math.isclose(language["angle_prior_language_deg"], 45)
    lean_deg = math.degrees(math.atan2(1, 2))  # of visual + shift, (2, 1)
    assert math.isclose(language["angle_language_visual_attached_deg"], lean_deg)
    assert math.isclose(language["angle_standard_visual_attached_deg"], 45 - lean_deg)
    assert math.isclose(rows.loc["all"]["norm_visual"], math.sqrt(5))
    assert rows.loc["all"]["n_tokens"] == 1


def test_a_gradient_of_zero_has_no_angle_and_no_part_in_a_mean():
    grams = torch.cat([plane_gram((1, 0), (1, 1), (0, 1), (0, 0)), plane_gram((0, 0), (1, 1), (0, 1), (0, 0))])
    members = units(2)
    table = unit_rows(members, {"layer_00": grams})
    assert table["angle_language_visual_deg"].isna().tolist() == [False, True] * 2
    names = ("vds", "kl_standard", "kl_language", "kl_visual", "student_vds")
    tokens = pd.DataFrame({"bin": [0, 0], **{f"{name}_nats": [1.0, 2.0] for name in names}})
    null = pd.DataFrame({"bin": [0], "scope": ["all"], "detached_deg": [90.0], "attached_deg": [80.0]})
    bins = bin_rows(tokens, table, pd.DataFrame(), null, seed=0).set_index("scope")
    assert math.isclose(bins.loc["all", "angle_language_visual_mean_deg"], 45)
    assert bins.loc["all", "angle_language_visual_null_mean_deg"] == 90
    assert bins.loc["all", "angle_language_visual_attached_null_mean_deg"] == 80
    assert math.isnan(bins.loc["language_model", "angle_language_visual_null_mean_deg"])
    assert all(bins.loc["all", f"{angle}_obtuse_share"] == 0 for angle in ANGLES)


def test_signed_bins_are_averaged_before_any_angle():
    """Two units at right angles whose mean is not: 0 and 90 degrees, with lengths 1 and 3 along the second."""
    first, second = plane_gram((1, 0), (1, 0), (0, 1), (0, 0)), plane_gram((1, 0), (0, 3), (0, 1), (0, 0))
    members = [replace(unit, kind="signed-bin") for unit in units(2)]
    grams = {"layer_00": torch.cat([first, second])}
    table, written = unit_rows(members, grams), gram_rows(members, grams)
    names = ("vds", "kl_standard", "kl_language", "kl_visual", "student_vds")
    tokens = pd.DataFrame({"bin": [0, 0], **{f"{name}_nats": [1.0, 2.0] for name in names}})
    null = pd.DataFrame({"bin": [], "scope": [], "detached_deg": [], "attached_deg": []})
    row = bin_rows(tokens, table, written, null, seed=0).set_index("scope").loc["all"]
    mean = (first + second)[0] / 2
    expected = math.degrees(math.acos(mean[1, 2] / math.sqrt(mean[1, 1] * mean[2, 2])))
    assert math.isclose(row["angle_language_visual_mean_deg"], expected)
    assert math.isclose(row["angle_language_visual_low_deg"], 0, abs_tol=1e-5)
    assert math.isclose(row["angle_language_visual_high_deg"], 90)
    assert row["angle_language_visual_std_deg"] > 10  # its standard error
    assert math.isclose(row["effective_units_language"], 2)
    assert math.isclose(row["effective_units_visual"], (1 + 9) ** 2 / (1 + 81))


def test_products_between_bins_say_whose_they_are():
    members = [replace(unit, kind="corpus-bin", bin=bin_) for unit, bin_ in zip(units(2), (3, 5), strict=True)]
    products = torch.arange(100, dtype=torch.float64).reshape(2, 5, 2, 5)
    rows = product_rows(members, {"a": products, "b": -products})
    keys = ["group", "bin_a", "objective_a", "bin_b", "objective_b"]
    assert rows.set_index(keys).loc[("b", 5, "language", 3, "shift"), "product"] == -products[1, 1, 0, 4]
    assert len(rows) == 200


def test_a_gram_row_holds_the_fifteen_entries():
    gram = plane_gram((1, 0), (0, 2), (1, -1), (1, -2))
    table = gram_rows(units(1), {"a": gram, "b": 2 * gram})
    assert table.shape == (2, 17)
    assert table["group"].tolist() == ["a", "b"]
    assert table["gram_standard_visual"].tolist() == [2.0, 4.0]
    assert table["gram_visual_shift"].tolist() == [-4.0, -8.0]


def test_the_terminal_shows_mean_interval_and_null(angles_record):
    bins = pd.read_csv(angles_record / "bins.csv")
    lines = angle_table(bins, "language_model").splitlines()
    assert "language_model" in lines[0] and lines[1].split()[0] == "bin"
    assert len(lines) == 5 and len({len(line) for line in lines[1:]}) == 1
    row = bins[(bins["scope"] == "language_model") & (bins["bin"] == 0)].iloc[0]
    assert f"{row['angle_language_visual_mean_deg']:.0f}+-" in lines[2]


def test_columns_are_aligned_to_the_right():
    assert aligned([["a", "long"], ["bbb", "c"]]) == "  a  long\nbbb     c"
