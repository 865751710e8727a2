"""The stored pair is what its card says, on scenes drawn by a seed that neither the recipe nor the card uses."""

import json
from pathlib import Path

import pytest
import torch

from bundled import blind, card
from bundled.prompts import bundled_prompts, group_prompts
from geometry import bin_edges, decompose, equal_frequency_bins
from vlm.checkpoints.pair import Pair, load_pair
from vlm.responses.evaluation import accuracy, evaluate
from vlm.responses.rollouts import Sampling, generate
from vlm.responses.scoring import score
from vlm.views.view import view_pairs

SEED = 31_337
GREEDY = Sampling(max_response=64, greedy=True, batch=120)
N = {"high": 240, "low": 60, "text": 60}
SPREAD = {"high": 0.08, "low": 0.1, "text": 0.1}  # about 2.5 standard errors of a share at these numbers
CARD = json.loads((Path(card.__file__).parent / "card.json").read_text())


@pytest.fixture(scope="module")
def pair() -> Pair:
    return load_pair("bundled")


@pytest.mark.parametrize("side", ["teacher", "student"])
def test_accuracy_is_that_of_the_card(pair: Pair, side: str) -> None:
    loaded = getattr(pair, side)
    prompts = [prompt for group, n in N.items() for prompt in group_prompts(group, n, SEED)]
    found = accuracy(evaluate(loaded, prompts, GREEDY), "dependency")
    for group, n in N.items():
        assert found[group] == pytest.approx(CARD["accuracy"][loaded.name][group], abs=SPREAD[group]), (group, n)


def test_the_card_speaks_of_the_stored_weights(pair: Pair) -> None:
    sides = (pair.teacher, pair.student)
    assert CARD["fingerprints"] == {side.name: side.fingerprint for side in sides}
    assert CARD["parameters"] == {side.name: sum(p.numel() for p in side.model.parameters()) for side in sides}
    assert (Path(card.__file__).parent / "README.md").read_text() == card.page(CARD)


def test_the_pair_keeps_its_bounds() -> None:
    teacher, student = CARD["accuracy"].values()
    parameters = list(CARD["parameters"].values())
    assert parameters[0] <= 6e6 and parameters[1] <= 2.5e6
    assert teacher["high"] >= 0.90 and teacher["low"] >= 0.95 and teacher["text"] >= 0.95
    assert 0.45 <= student["high"] <= 0.70 and student["low"] >= 0.85 and student["text"] >= 0.85
    assert CARD["capacity"]["high"] >= 0.85
    assert all(v["teacher"] - v["constant guess"] <= 0.10 for v in CARD["without_picture"].values())
    assert CARD["headroom"]["gain"] >= 0.08 and CARD["headroom"]["interval"][0] > 0
    files = list(Path(card.__file__).parent.glob("*/model.safetensors"))
    assert len(files) == 2 and sum(f.stat().st_size for f in files) <= 18 * 2**20


def test_the_dependency_is_not_degenerate(pair: Pair) -> None:
    prompts = [prompt for prompt in bundled_prompts(50, SEED) if prompt.has_image]
    rollouts = generate(pair.student, prompts, Sampling(max_response=64))
    views = score(pair, view_pairs(prompts, "drop"), rollouts)
    parts = [decompose(v) for v in views]
    vds = torch.cat([part.vds for part in parts])
    bins = equal_frequency_bins(vds)
    top = bins >= 7
    assert vds.median() >= 2e-5
    assert len(set(bin_edges(vds, bins).tolist())) == 9
    assert (
        torch.cat([part.visual for part in parts])[top].mean()
        > torch.cat([part.language for part in parts])[top].mean()
    )


def test_the_blind_teacher_does_not_see(tmp_path: Path) -> None:
    assert blind.main([str(tmp_path / "blind")]) == 0
    pair = load_pair("bundled", str(tmp_path / "blind"))
    prompts = [prompt for prompt in bundled_prompts(20, SEED) if prompt.has_image]
    rollouts = generate(pair.student, prompts, Sampling(max_response=64, batch=32))
    for views in score(pair, view_pairs(prompts, "blank"), rollouts):
        found = decompose(views)
        assert found.vds.max() < 1e-6
        torch.testing.assert_close(found.visual, found.student_vds, atol=1e-5, rtol=0)
    assert blind.main([str(tmp_path / "blind")]) == 2
