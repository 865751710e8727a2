"""Scores of tokens that are compared block by block, against `decompose` and the entropy by definition."""

import importlib
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geometry import FourViews, TokenScores, decompose, log_probs, token_scores
from tests.geometry.problems import four_views

MODULE = importlib.import_module("geometry.token_scores")


def expected(views):
    parts = decompose(views)
    return vars(parts) | {"entropy": torch.special.entr(log_probs(views.student_image).exp()).sum(dim=-1)}


def numbers(scores):
    return vars(scores.parts) | {"entropy": scores.entropy}


def assert_equal(scores, views, **tolerance):
    for name, values in expected(views).items():
        torch.testing.assert_close(numbers(scores)[name], values, msg=name, **tolerance)


@given(
    seed=st.integers(0, 1000),
    n_tokens=st.integers(1, 9),
    n_ids=st.integers(2, 40),
    scale=st.sampled_from([1e-4, 1.0, 8.0, 80.0]),
    block_bytes=st.sampled_from([1, 64, 500, 1 << 20]),
)
def test_equal_to_the_definition_however_tokens_are_cut(seed, n_tokens, n_ids, scale, block_bytes):
    views = FourViews(*four_views(seed, n_tokens, n_ids, scale=scale))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULE, "BLOCK_BYTES", block_bytes)
        assert_equal(token_scores(views), views, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_is_compared_in_float32(dtype):
    views = FourViews(*four_views(0, 6, 50)).map(lambda view: view.to(dtype))
    found = token_scores(views)
    assert found.entropy.dtype == found.parts.vds.dtype == torch.float32
    assert_equal(found, views, rtol=1e-5, atol=1e-6)


def test_a_teacher_in_another_precision():
    student, text, *teacher = four_views()
    views = FourViews(student.float(), text.float(), *teacher)
    assert_equal(token_scores(views), views, rtol=1e-6, atol=1e-9, check_dtype=False)
    assert token_scores(views).parts.standard.dtype == torch.float64


def test_masked_ids_take_no_part():
    views = FourViews(*four_views(1, 4, 9))
    masked = views.map(lambda view: torch.cat([view, torch.full((4, 3), -torch.inf)], dim=1))
    assert_equal(token_scores(masked), views, rtol=1e-10, atol=1e-15)


def test_equal_views_have_exactly_nothing_between_them():
    image, _, teacher, _ = four_views(2, 5, 30)
    parts = token_scores(FourViews(image, image, teacher, teacher)).parts
    assert parts.vds.eq(0).all() and parts.student_vds.eq(0).all()
    assert torch.equal(parts.visual, parts.student_vds)


def test_a_gap_beyond_any_probability_is_infinite():
    """As logits, the least probable id of the teacher's is at -1e38 or so, which leaves it no probability."""
    views = [view.float() for view in four_views(0, 2, 5)]
    views[2][1, 3] = -3e38
    found = token_scores(FourViews(*views)).parts
    assert found.standard[0].isfinite() and found.standard[1] == math.inf
    assert found.language.isfinite().all()


def test_views_that_mask_other_ids_are_refused():
    views = four_views()
    views[2][3, 1] = -math.inf
    with pytest.raises(ValueError, match="`teacher_image` must mask"):
        token_scores(FourViews(*views))


def test_stretches_put_together_are_the_whole():
    views = FourViews(*four_views(0, 7, 11))
    whole = token_scores(views)
    cut = [token_scores(views.map(lambda view, part=part: view[part])) for part in (slice(0, 3), slice(3, 7))]
    for name, values in numbers(TokenScores.joined(cut)).items():
        assert torch.equal(values, numbers(whole)[name])
