"""The tables `layers` and `norms` from units and Gram matrices that are built from their answer."""

import numpy as np
import pandas as pd
import pytest
import torch

from geometry import OBJECTIVES, Gram
from probes.stages import Unit, gram_rows, layer_rows, norm_rows, unit_rows
from records import ANGLES, LAYER_ANGLES


def test_a_unit_without_a_gradient_has_no_part_in_a_share():
    members = [Unit(i, "token", 0, f"p{i}", i, 0, {i: torch.ones(1)}) for i in range(2)]
    some, none = np.eye(4), np.zeros((4, 4))
    grams = {"layer_00.mlp": Gram(np.stack([some, none])), "final_norm": Gram(np.stack([3 * some, none]))}
    rows = layer_rows(unit_rows(members, grams), gram_rows(members, grams), seed=0).set_index(["group", "bin"])
    assert rows.loc[("layer_00.mlp", "all"), "share_visual_mean"] == pytest.approx(0.25)
    assert rows.loc[("final_norm", "0"), "share_visual_mean"] == pytest.approx(0.75)
    assert rows.loc[("final_norm", "0"), "norm_visual_mean"] == pytest.approx(np.sqrt(3) / 2)
    assert set(LAYER_ANGLES) == {name.removesuffix("_mean_deg") for name in rows if name.endswith("_mean_deg")}


def test_without_a_visual_gradient_there_is_no_ratio():
    units = pd.DataFrame({"scope": "all", "bin": 0, "prompt_id": ["p", "q"]})
    units = units.assign(**{f"norm_{name}": [1.0, 3.0] for name in OBJECTIVES}, **{f"{a}_deg": 60.0 for a in ANGLES})
    names = ("vds", "student_vds", "kl_standard", "kl_language", "kl_visual")
    tokens = pd.DataFrame({"bin": [0, -1], **{f"{name}_nats": [1.0, 9.0] for name in names}})
    blind = units.assign(norm_visual=0.0, norm_language=3.0)
    assert norm_rows(tokens, blind, seed=0)["norm_ratio_language_visual"].isna().all()
    rows = norm_rows(tokens, units.assign(norm_language=3.0), seed=0)
    assert rows["norm_ratio_language_visual"].tolist() == [1.5, 1.5]
    assert rows["bin"].tolist() == ["0", "all"] and rows["vds_mean_nats"].tolist() == [1.0, 1.0]
