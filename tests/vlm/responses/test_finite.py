"""Logits that are no distribution: refused where tokens are drawn and scored, by name and in one line."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import models
from vlm.checkpoints.checkpoint import load_model
from vlm.checkpoints.pair import pair_of
from vlm.responses.evaluation import evaluate
from vlm.responses.finite import NotFiniteError, refuse_gradients, refuse_logits
from vlm.responses.rollouts import Rollout, Sampling, _Chooser, generate
from vlm.responses.scoring import score
from vlm.views.view import view_pairs

NAN, INF = math.nan, math.inf


def drawn(logits, banned=(), n=1, **settings):
    chooser = _Chooser(range(n), list(banned), Sampling(max_response=1, **settings))
    rows = torch.tensor(logits, dtype=torch.float32).expand(n, -1)
    return chooser(torch.zeros(n, 1), rows).argmax(dim=1), chooser.banned_mass[0]


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize(
    ("logits", "kind"),
    [
        ([0.0, NAN, 1.0, 2.0], "(nan)"),
        ([NAN] * 4, "(nan)"),
        ([0.0, 1.0, 2.0, NAN], "(nan)"),  # at the banned id
        ([0.0, INF, 1.0, 2.0], "(inf)"),
        ([INF, INF, -INF, NAN], "(nan)"),
        ([-INF] * 4, "(-inf at every id)"),
        ([-INF, -INF, -INF, 5.0], "(-inf at every id)"),  # nothing is left to be drawn
    ],
)
def test_what_is_no_distribution_is_not_drawn_from(logits, kind, greedy):
    with pytest.raises(NotFiniteError) as caught:
        drawn(logits, banned=[3], greedy=greedy)
    said = str(caught.value)
    assert kind in said and "float32, or bfloat16 in place of float16" in said and "\n" not in said


@pytest.mark.parametrize("top_p", [1.0, 0.9])
@pytest.mark.parametrize("gap", [50.0, 1e4, 1e38])
def test_a_banned_id_with_nearly_all_of_the_mass_is_not_drawn(gap, top_p):
    """The others keep their proportions, however small their part in the whole is."""
    n = 4000
    ids, mass = drawn([0.0, 0.0, gap, math.log(2.0)], banned=[2], n=n, top_p=top_p)
    counts = torch.bincount(ids, minlength=4)
    assert counts[2] == 0 and mass[0] == pytest.approx(1.0)
    assert counts[3] / n == pytest.approx(0.5, abs=0.04)
    assert counts[0] / n == pytest.approx(0.25, abs=0.04)


def test_ids_that_the_model_rules_out_are_no_error():
    ids, mass = drawn([-INF, 0.0, -INF, 0.0], banned=[3], n=50)
    assert set(ids.tolist()) == {1} and mass[0] == pytest.approx(0.5)


def test_equal_logits_under_top_p():
    """Of four equal ids the two lower ones have half of the mass."""
    ids, _ = drawn([1.0] * 5, banned=[0], n=500, top_p=0.5)
    assert set(ids.tolist()) == {1, 2}


@given(st.lists(st.floats(-30, 30, width=32), min_size=3, max_size=8), st.integers(0, 2), st.floats(0.01, 1.0))
def test_a_drawn_id_is_never_banned_and_the_mass_is_that_of_the_whole_distribution(logits, banned, top_p):
    ids, mass = drawn(logits, banned=[banned], n=20, top_p=top_p)
    exact = np.exp(np.array(logits) - max(logits))
    assert banned not in ids.tolist()
    assert mass[0] == pytest.approx(exact[banned] / exact.sum(), rel=1e-6)


def test_a_row_alone_is_enough():
    with pytest.raises(NotFiniteError):
        refuse_logits(torch.tensor([[0.0, -INF], [-INF, -INF]]), "it")
    refuse_logits(torch.tensor([[0.0, -INF], [-INF, 3.0]]), "it")
    refuse_logits(torch.zeros(0, 5), "it")


def test_gradients():
    refuse_gradients(np.zeros((2, 2)), "it")
    for broken in (NAN, INF, -INF):
        with pytest.raises(NotFiniteError, match="it gives gradients that are not finite: check its weights"):
            refuse_gradients(np.array([1.0, broken]), "it")


@pytest.fixture(params=["weight", "hidden"])
def broken(request, checkpoints):
    """A student with a weight that is not a number, and one whose hidden states overflow."""
    loaded = load_model(str(checkpoints / "student"))
    if request.param == "weight":
        with torch.no_grad():
            next(loaded.model.parameters()).view(-1)[0] = NAN
            loaded.model.get_output_embeddings().weight[9, 3] = NAN
    else:
        loaded.model.get_output_embeddings().register_forward_hook(lambda module, inputs, output: output * 1e39)
    return loaded


def test_a_model_is_named_where_it_speaks_and_where_it_is_scored(broken, checkpoints):
    prompts = models.scenes(2)
    for greedy in (False, True):
        with pytest.raises(NotFiniteError, match=r"`checkpoint` .*/student, in float32, gives logits"):
            generate(broken, prompts, Sampling(max_response=3, greedy=greedy))
    with pytest.raises(NotFiniteError, match="student"):
        evaluate(broken, prompts, Sampling(max_response=3, greedy=True))
    pair = pair_of(broken, load_model(str(checkpoints / "teacher")))
    said = [Rollout(prompt.prompt_id, 0, (20, 2), "", False) for prompt in prompts]
    with pytest.raises(NotFiniteError, match="student"):
        list(score(pair, view_pairs(prompts, "drop"), said))


def test_float16_that_overflows_is_told_to_take_another_dtype(checkpoints):
    loaded = load_model(str(checkpoints / "student"), dtype="float16")
    loaded.model.get_output_embeddings().register_forward_hook(lambda module, inputs, output: output * 6e4 * 6e4)
    with pytest.raises(NotFiniteError, match="in float16, gives logits that are not finite"):
        generate(loaded, models.scenes(1), Sampling(max_response=3))
