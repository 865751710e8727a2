"""Tables from Gram matrices that are built from their angles."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from geometry import BASIS, OBJECTIVES, Gram
from probes.stages import Unit, bin_rows, gram_rows, layer_rows, norm_rows, unit_rows
from probes.stages.tables import gram_of_rows, product_rows
from records import ANGLES, TABLES


def units(n):
    return [Unit(i, "token", 0, f"p{i}", i, 0, {i: torch.tensor([0.0, 1.0])}) for i in range(n)]


def plane_gram(*units):
    """The Gram matrices of units, each given by its language, visual, prior and shift gradients in a plane."""
    vectors = [dict(zip(("language", "visual", "prior", "shift"), unit, strict=True)) for unit in units]
    rows = np.array([[unit[name] for name in BASIS] for unit in vectors], dtype=float)
    return Gram(rows @ rows.swapaxes(1, 2))


def tokens_of_one_bin():
    names = ("vds", "kl_standard", "kl_language", "kl_visual", "student_vds")
    return pd.DataFrame({"bin": [0, 0], **{f"{name}_nats": [1.0, 2.0] for name in names}})


def test_norms_and_angles_of_known_vectors():
    layer = plane_gram([(1, 0), (0, 2), (1, -1), (2, -1)])
    vision = plane_gram([(0, 0), (0, 1), (1, 0), (0, 0)])
    table = unit_rows(units(1), {"layer_00": layer, "vision_tower": vision})
    TABLES["units"].check(table)
    rows = table.set_index("scope")
    language = rows.loc["language_model"]
    assert math.isclose(language["norm_visual"], 2)
    assert math.isclose(language["norm_standard"], math.sqrt(2))  # visual + prior, (1, 1)
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
    grams = plane_gram([(1, 0), (1, 1), (0, 1), (0, 0)], [(0, 0), (1, 1), (0, 1), (0, 0)])
    members = units(2)
    table = unit_rows(members, {"layer_00": grams})
    assert table["angle_language_visual_deg"].isna().tolist() == [False, True] * 2
    null = pd.DataFrame({"bin": [0], "scope": ["all"], "detached_deg": [90.0], "attached_deg": [80.0]})
    bins = bin_rows(tokens_of_one_bin(), table, pd.DataFrame(), null, seed=0).set_index("scope")
    assert math.isclose(bins.loc["all", "angle_language_visual_mean_deg"], 45)
    assert bins.loc["all", "angle_language_visual_null_mean_deg"] == 90
    assert bins.loc["all", "angle_language_visual_attached_null_mean_deg"] == 80
    assert math.isnan(bins.loc["language_model", "angle_language_visual_null_mean_deg"])
    assert all(bins.loc["all", f"{angle}_obtuse_share"] == 0 for angle in ANGLES)


def test_signed_bins_are_averaged_before_any_angle():
    """Two units at 0 and 90 degrees, their visual gradients of length 1 and 3: the mean is at neither angle."""
    members = [replace(unit, kind="signed-bin") for unit in units(2)]
    grams = {"layer_00": plane_gram([(1, 0), (1, 0), (0, 1), (0, 0)], [(1, 0), (0, 3), (0, 1), (0, 0)])}
    table, written = unit_rows(members, grams), gram_rows(members, grams)
    null = pd.DataFrame({"bin": [], "scope": [], "detached_deg": [], "attached_deg": []})
    row = bin_rows(tokens_of_one_bin(), table, written, null, seed=0).set_index("scope").loc["all"]
    product, squares = (1 + 0) / 2, ((1 + 1) / 2) * ((1 + 9) / 2)
    assert math.isclose(row["angle_language_visual_mean_deg"], math.degrees(math.acos(product / math.sqrt(squares))))
    assert math.isclose(row["angle_language_visual_low_deg"], 0, abs_tol=1e-5)
    assert math.isclose(row["angle_language_visual_high_deg"], 90)
    assert row["angle_language_visual_std_deg"] > 10  # its standard error
    assert math.isclose(row["effective_units_language"], 2)
    assert math.isclose(row["effective_units_visual"], (1 + 9) ** 2 / (1 + 81))


def test_signed_bins_are_pooled_by_group_and_by_checkpoint():
    """The angle of a bin is that of the summed matrices in `layers` and `norms` too, and `all` sums over the bins."""
    members = [replace(unit, kind="signed-bin", bin=bin_) for unit, bin_ in zip(units(3), (0, 0, 1), strict=True)]
    gram = plane_gram(
        [(1, 0), (1, 0), (0, 1), (0, 0)], [(1, 0), (0, 3), (0, 1), (0, 0)], [(2, 0), (-1, 0), (0, 1), (0, 0)]
    )
    table, written = unit_rows(members, {"layer_00": gram}), gram_rows(members, {"layer_00": gram})
    tokens = tokens_of_one_bin().assign(bin=[0, 1])
    by_group = layer_rows(table, written, seed=0).set_index("bin")
    by_checkpoint = norm_rows(tokens, table, 0, written).query("scope == 'all'").set_index("bin")
    for bin_, chosen in (("0", [0, 1]), ("1", [2]), ("all", [0, 1, 2])):
        pooled = float(Gram(gram.values[chosen].sum(axis=0)).angle_deg("language", "visual"))
        mean = gram[chosen].angle_deg("language", "visual").mean()
        for rows in (by_group, by_checkpoint):
            assert math.isclose(rows.loc[bin_, "angle_language_visual_mean_deg"], pooled, rel_tol=1e-9)
        assert len(chosen) == 1 or abs(pooled - mean) > 5
    tokens_alone = norm_rows(tokens, table.assign(unit="token"), 0).query("scope == 'all'").set_index("bin")
    assert math.isclose(tokens_alone.loc["0", "angle_language_visual_mean_deg"], 45)


def test_products_between_bins_say_whose_they_are():
    members = [replace(unit, kind="corpus-bin", bin=bin_) for unit, bin_ in zip(units(2), (3, 5), strict=True)]
    products = torch.arange(64, dtype=torch.float64).reshape(2, 4, 2, 4)
    table = product_rows(members, {"a": products, "b": -products})
    TABLES["bin_grams"].check(table)
    rows = table.set_index(["group", "bin_a", "objective_a", "bin_b", "objective_b"])["product"]
    place = {name: number for number, name in enumerate(BASIS)}
    assert rows[("b", 5, "language", 3, "shift")] == -products[1, place["language"], 0, place["shift"]]
    halves = [products[0, place[name], 1, place["language"]] for name in ("visual", "prior")]
    assert rows[("a", 3, "standard", 5, "language")] == sum(halves)  # standard = visual + prior
    assert len(rows) == rows.index.nunique() == 2 * (2 * len(OBJECTIVES)) ** 2 == 200


def test_a_gram_row_holds_the_fifteen_entries():
    gram = plane_gram([(1, 0), (0, 2), (1, -1), (1, -2)])
    table = gram_rows(units(1), {"a": gram, "b": Gram(2 * gram.values)})
    TABLES["grams"].check(table)
    assert table.shape == (2, 17)
    assert table["group"].tolist() == ["a", "b"]
    assert table["gram_standard_visual"].tolist() == [2.0, 4.0]
    assert table["gram_visual_shift"].tolist() == [-4.0, -8.0]


def test_gram_rows_are_read_back(generator):
    members = [Unit(i, "token", 0, "p", 0, i, {0: torch.ones(3)}) for i in range(3)]
    vectors = torch.randn(3, 4, 7, dtype=torch.float64, generator=generator)
    products = vectors @ vectors.mT
    products = ((products + products.mT) / 2).numpy()
    assert np.array_equal(gram_of_rows(gram_rows(members, {"a": Gram(products)})).values, products)
