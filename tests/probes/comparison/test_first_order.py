"""A small way between two students is first-order, a long one is not; what is measured is what the comparison found."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from probes import compare
from records import read_record
from records.tables.comparison import LOSSES
from tests import models

LOSSES_ALONE = ("--limit", "8", "--max-response", "5", "--bins", "3", "--per-bin", "0", "--accuracy-prompts", "0")


@pytest.fixture
def compared(checkpoints, tmp_path):
    """Compare the small student with itself, its weights moved by `size` times noise."""

    def compared_with(size):
        folder = models.write_checkpoint(tmp_path / f"after-{size}", models.STUDENT, seed=0)
        model = AutoModelForImageTextToText.from_pretrained(checkpoints / "student", dtype=torch.float64)
        noise = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += size * torch.randn(parameter.shape, generator=noise, dtype=torch.float64)
        model.save_pretrained(folder)
        flags = ["--teacher", str(checkpoints / "teacher"), "--dtype", "float64", "--first-order", *LOSSES_ALONE]
        out = tmp_path / f"record-{size}"
        assert compare.main([str(checkpoints / "student"), str(folder), *flags, "--out", str(out)]) == 0
        return read_record(out, "changes", "step_changes", "step_fits").tables

    return compared_with


def test_a_small_way_is_first_order_and_a_long_one_is_not(compared):
    near, far = (compared(size)["step_fits"].set_index("loss") for size in (1e-4, 0.1))
    np.testing.assert_allclose(near["slope"], 1.0, atol=0.02)
    assert near["relative_error"].max() < 0.05 < 0.5 < far["relative_error"].min()


def test_what_was_measured_is_what_the_comparison_found(compared, capsys):
    tables = compared(1e-3)
    changes = tables["changes"].set_index("bin")
    for loss in LOSSES:
        rows = tables["step_changes"].query(f"loss == '{loss.removeprefix('kl_')}'").set_index("bin")
        for name in ("0", "1", "2", "all"):
            assert rows["measured_nats"][name] == pytest.approx(changes[f"{loss}_change_mean_nats"][name], rel=1e-9)
    assert "predicted to first order" in capsys.readouterr().out


def test_students_with_other_parameters_are_refused_before_anything_is_measured(checkpoints, tmp_path, capsys):
    flags = ["--teacher", str(checkpoints / "teacher"), "--first-order", *LOSSES_ALONE, "--out", str(tmp_path / "out")]
    assert compare.main([str(checkpoints / "student"), str(checkpoints / "teacher"), *flags]) == 2
    said = capsys.readouterr().err
    assert "`first_order`" in said and "rollouts" not in said
