"""Divergences over K ids against what buckets can and cannot do, and the bins of either support."""

import numpy as np
import pandas as pd
import pytest
import torch

from geometry import FourViews
from probes.stages import support_rows
from probes.stages.top_k import binned_tokens, compared
from records import TABLES
from records.tables.support import COMPARED


def test_the_visual_loss_may_grow():
    """A teacher whose use of the picture lies within the tail, and a student that has made it its own."""
    p_text, q_image, q_text = (torch.tensor([p]).log() for p in ([0.4, 0.1, 0.5], [0.5, 0.4, 0.1], [0.5, 0.1, 0.4]))
    views = FourViews(p_text + q_image - q_text, p_text, q_image, q_text)
    assert compared(views, None).visual.item() == pytest.approx(0.0, abs=1e-6)
    p, target = 0.4 / 0.925, 0.4
    expected = p * np.log(p / target) + (1 - p) * np.log((1 - p) / (1 - target))
    assert compared(views, 1).visual.item() == pytest.approx(expected, rel=1e-3) and expected > 1e-3


def test_bins_are_of_equal_frequency_under_either_vds():
    """Ten tokens with a picture and one without; over K the order is turned round except for the middle pair."""
    n = 10
    frame = pd.DataFrame({"has_image": [True] * n + [False], "top_k": 2})
    for name in COMPARED:
        frame[f"{name}_full_nats"] = [*np.arange(n) / n, 0.0]
        frame[f"{name}_top_nats"] = [*np.arange(n)[::-1] / n, 0.0]
    found = binned_tokens(frame, 5)
    assert found["bin"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, -1]
    assert found["bin_top"].tolist() == [4, 4, 3, 3, 2, 2, 1, 1, 0, 0, -1]
    rows = support_rows(found)
    TABLES["support"].check(rows)
    shares = rows.set_index("bin")["same_bin_share"]
    assert shares[["0", "2", "all"]].tolist() == [0.0, 1.0, 0.2] and np.isnan(shares["text"])
