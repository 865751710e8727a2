"""Two processes do what one does."""

from dataclasses import asdict

import pytest
import torch

from records.journal import read_journal
from records.journal_lines import LOSSES
from tests.launch import accelerate_launch
from tests.train import both


@pytest.fixture(scope="module")
def folders(checkpoints, tmp_path_factory):
    """What one process wrote, and what two that accelerate launched."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    ended = accelerate_launch(2, "tests.train.both", str(checkpoints), str(two))
    assert ended.code == 0, ended.err[-3000:]
    both.main(checkpoints, one)
    return one, two


def test_two_processes_sum_to_the_gradient_of_one(folders):
    one, two = (torch.load(folder / "step.pt", weights_only=True) for folder in folders)
    assert (one["processes"], two["processes"]) == (1, 2)
    assert (one["gradient"] - two["gradient"]).norm() < 1e-5 * one["gradient"].norm()
    assert (one["rewarded"] - two["rewarded"]).norm() < 1e-4 * one["rewarded"].norm()
    assert one["rewarded"].norm() > 0.1
    assert (one["suppressing"] - two["suppressing"]).norm() < 1e-4 * one["suppressing"].norm()
    torch.testing.assert_close(two["about"], one["about"], rtol=1e-5, atol=0.0)
    torch.testing.assert_close(two["gram"], one["gram"], rtol=1e-4, atol=1e-6 * one["gram"].abs().max().item())


def test_processes_have_the_strengths_of_one(folders):
    """Bit by bit the same in both, and those of one process up to rounding."""
    one, two = folders
    alone, first, second = (torch.load(path) for path in (one / "strengths-0.pt", *sorted(two.glob("strengths-*"))))
    assert torch.equal(first, second)
    torch.testing.assert_close(first, alone, rtol=1e-3, atol=1e-5)
    assert alone[0] > 0.0 and alone[-1] > alone[-2] > 0.01


def test_one_process_whose_memory_runs_out_halves_by_itself(folders):
    for folder in folders:
        saved = torch.load(folder / "step.pt", weights_only=True)
        assert (saved["halved"] - saved["gradient"]).norm() < 1e-5 * saved["gradient"].norm()


def test_two_processes_write_the_journal_of_one(folders):
    """The first step, before rounding can change a response."""
    one, two = (read_journal(folder / "run") for folder in folders)
    for ours, theirs in ((one.steps[0], two.steps[0]), (one.evaluations[0], two.evaluations[0])):
        assert theirs.losses == pytest.approx(ours.losses, rel=1e-5)
    mine, shared = (asdict(journal.evaluations[0]) | {"seconds": 0.0} for journal in (one, two))
    assert shared == mine  # bit by bit: the weights are the same, and so are the micro-batches
    assert (folders[1] / "run" / "held_out.json").read_bytes() == (folders[0] / "run" / "held_out.json").read_bytes()
    for name in LOSSES:
        found = two.steps[0].losses_by_step_bin[name]
        assert found == pytest.approx(one.steps[0].losses_by_step_bin[name], rel=1e-4)
    assert [line.step for line in two.steps] == [0, 1, 2, 3]
    assert [line.step for line in two.evaluations] == [0, 2, 4]
