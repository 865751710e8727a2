"""The loss from hidden states against the loss of whole logits by autograd."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from geometry import (
    FourViews,
    HiddenViews,
    LMHead,
    Objective,
    ObjectiveLoss,
    Thresholds,
    decompose,
    kl_nats,
    log_probs,
    objective_loss_from_hidden,
    token_shares,
    top_ids,
    topk_log_probs,
    vds_from_hidden,
)
from geometry.chunked_loss.closed_form import Distribution, Workspace, kl_of
from geometry.objective_settings import READ_BY
from tests.geometry.plain_loss import plain_objective_loss
from tests.geometry.problems import normal
from tests.geometry.test_objectives import EVERY, HAS_IMAGE, LENGTHS, OBJECTIVES

EXACT = {"rtol": 0.0, "atol": 1e-10}
EDGES = Thresholds(low=1.0, high=3.3)
N_TOKENS, N_ROWS, SUPPORT, MASKED = sum(LENGTHS), 11, 9, (2, 10)


class Problem:
    """Hidden states of eight tokens and two heads of other widths, both with rows that do not count."""

    def __init__(
        self, *, bias: bool = True, dtype: torch.dtype = torch.float64, scale: float = 1.0, softcap: float | None = None
    ) -> None:
        self.student = [normal(N_TOKENS, 4, seed=k).to(dtype).requires_grad_() for k in (0, 1)]
        self.teacher = [normal(N_TOKENS, 5, seed=k).to(dtype) for k in (2, 3)]
        self.weight = normal(N_ROWS, 4, seed=4).to(dtype).requires_grad_()
        self.bias = normal(N_ROWS, seed=5).to(dtype).requires_grad_() if bias else None
        self.scale, self.softcap, ids = scale, softcap, {"n_ids": SUPPORT, "masked": MASKED}
        self.head = LMHead(self.weight, self.bias, **ids, scale=scale, softcap=softcap)
        self.teacher_head = LMHead(normal(N_ROWS + 2, 5, seed=6).to(dtype), **ids, scale=scale)
        self.leaves = [*self.student, self.weight, *([] if self.bias is None else [self.bias])]

    def plain(self, objective: Objective, **options: Any) -> ObjectiveLoss:
        """From whole logits, written out."""
        bias = 0.0 if self.bias is None else self.bias
        views = [self.scale * (hidden @ self.weight.T + bias) for hidden in self.student]
        views = views if self.softcap is None else [self.softcap * (view / self.softcap).tanh() for view in views]
        views += [self.scale * (hidden @ self.teacher_head.weight.T) for hidden in self.teacher]
        kept = [id for id in range(SUPPORT) if id not in MASKED]
        four = FourViews(*(view[:, kept] for view in views))
        return plain_objective_loss(four, objective, **self.options(objective, options))

    def from_hidden(self, objective: Objective, chunk: int | None = None, **options: Any) -> ObjectiveLoss:
        inputs = *self.student, self.head, *self.teacher, self.teacher_head
        return objective_loss_from_hidden(*models(inputs), objective, chunk=chunk, **self.options(objective, options))

    def heads_and_hidden(self) -> list[tuple[LMHead, Tensor]]:
        return [*((self.head, h) for h in self.student), *((self.teacher_head, h) for h in self.teacher)]

    def options(self, objective: Objective, options: dict) -> dict:
        return {
            "thresholds": EDGES,
            "shares": token_shares(LENGTHS, objective.average),
            "has_image": HAS_IMAGE,
            **options,
        }

    def gradients(self, loss: Tensor) -> list[Tensor]:
        return list(
            torch.autograd.grad(loss, self.leaves, retain_graph=True, allow_unused=True, materialize_grads=True)
        )


ENDS: dict[str, dict[str, Any]] = {
    "bias": {},
    "no-bias": {"bias": False},
    "scaled": {"scale": 0.25},
    "capped": {"softcap": 1.5},
    "scaled-and-capped": {"scale": 3.0, "softcap": 2.0, "bias": False},
}
every_end = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)


@EVERY
@every_end
def test_equals_the_plain_loss(objective: Objective, end: dict[str, Any]) -> None:
    problem = Problem(**end)
    found, expected = problem.from_hidden(objective, chunk=3), problem.plain(objective)
    torch.testing.assert_close(found.loss, expected.loss, **EXACT)
    for got, want in zip(problem.gradients(found.loss), problem.gradients(expected.loss), strict=True):
        torch.testing.assert_close(got, want, **EXACT)
    for record in ("parts", "weights"):
        for name, values in vars(getattr(expected, record)).items():
            torch.testing.assert_close(getattr(getattr(found, record), name), values, **EXACT)


@EVERY
@pytest.mark.parametrize("top_k", [1, 3, 7, 20])
@pytest.mark.parametrize("end", [{}, {"scale": 0.5, "softcap": 2.0}], ids=["plain", "capped"])
def test_top_k_equals_the_loss_of_buckets(objective: Objective, top_k: int, end: dict[str, Any]) -> None:
    """Of nine ids one is masked: seven leave a tail of one, twenty of none."""
    problem = Problem(**end)
    views = [head.logits(hidden) for head, hidden in problem.heads_and_hidden()]
    ids = top_ids(views[2], top_k)
    reduced = [topk_log_probs(view, ids) for view in views]
    expected = plain_objective_loss(FourViews(*reduced), objective, **problem.options(objective, {}))
    found = problem.from_hidden(objective, chunk=3, top_k=top_k)
    torch.testing.assert_close(found.loss, expected.loss, **EXACT)
    for got, want in zip(problem.gradients(found.loss), problem.gradients(expected.loss), strict=True):
        torch.testing.assert_close(got, want, **EXACT)
    for name, values in vars(expected.parts).items():
        torch.testing.assert_close(getattr(found.parts, name), values, **EXACT)
    vds = vds_from_hidden(HiddenViews(*problem.teacher, problem.teacher_head), chunk=3, top_k=top_k)
    assert torch.equal(vds, found.parts.vds)


def test_blocks_within_a_chunk_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, objective = Problem(), OBJECTIVES["vgs-lp attached"]
    whole = problem.from_hidden(objective)
    monkeypatch.setattr("geometry.chunked_loss.blocks.BLOCK_BYTES", 3 * SUPPORT * 4)
    found = problem.from_hidden(objective, chunk=7)
    torch.testing.assert_close(found.loss, whole.loss, **EXACT)
    for got, want in zip(problem.gradients(found.loss), problem.gradients(whole.loss), strict=True):
        torch.testing.assert_close(got, want, **EXACT)


def test_a_blind_teacher_and_a_missing_picture_leave_exactly_nothing() -> None:
    """Equal hidden states give equal logits, and the target of a blind teacher is the text view bit for bit."""
    problem = Problem(dtype=torch.float32)
    problem.teacher[1] = problem.teacher[0]
    assert (problem.from_hidden(OBJECTIVES["vgs"]).parts.vds == 0).all()
    problem.student[1] = problem.student[0]
    parts = problem.from_hidden(OBJECTIVES["vgs"], chunk=3).parts
    assert (parts.visual == 0).all() and (parts.student_vds == 0).all()
    assert torch.equal(parts.standard, parts.language)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_divergences_in_float32_are_those_of_kl_nats(scale: float) -> None:
    """Near ratios and far ones, and probabilities that are 0 in float32."""
    views = [(scale * normal(6, 40, seed=seed)).float() for seed in (0, 1)]
    work = Workspace()
    found = kl_of(*(Distribution.normalised(view, work, name) for view, name in zip(views, "ab", strict=True)), work)
    torch.testing.assert_close(found, kl_nats(*map(log_probs, views)), rtol=1e-4, atol=0)


def test_the_gates_are_open_for_some_tokens_only() -> None:
    """Else the test above says little."""
    vds = Problem().from_hidden(Objective("standard")).parts.vds[HAS_IMAGE]
    assert 0 < (vds > EDGES.high).sum() < (vds > EDGES.low).sum() < len(vds)


@EVERY
def test_chunks_change_nothing(objective: Objective) -> None:
    problem = Problem()
    whole = problem.from_hidden(objective)
    for chunk in (1, 5, 8, 100):
        found = problem.from_hidden(objective, chunk)
        torch.testing.assert_close(found.loss, whole.loss, **EXACT)
        for got, want in zip(problem.gradients(found.loss), problem.gradients(whole.loss), strict=True):
            torch.testing.assert_close(got, want, **EXACT)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), chunk=st.integers(1, 9), name=st.sampled_from(sorted(OBJECTIVES)))
def test_gradient_is_that_of_a_small_step(seed: int, chunk: int, name: str) -> None:
    """For objectives with a target that moves; a target held fixed is no function of the student."""
    objective = OBJECTIVES[name]
    if objective.prior == "detached" and objective.name in READ_BY["prior"]:
        objective = Objective(objective.name, lambda_=objective.lambda_, prior="attached", vp=objective.vp)
    problem, step = Problem(), 1e-5
    direction = [normal(*leaf.shape, seed=seed + k) for k, leaf in enumerate(problem.leaves)]
    slopes = problem.gradients(problem.from_hidden(objective, chunk).loss)
    slope = sum((g * d).sum().item() for g, d in zip(slopes, direction, strict=True))
    losses = []
    for sign in (1.0, -1.0):
        for leaf, d in zip(problem.leaves, direction, strict=True):
            leaf.data.add_(d, alpha=sign * step)
        losses.append(problem.from_hidden(objective, chunk).loss.item())
        for leaf, d in zip(problem.leaves, direction, strict=True):
            leaf.data.sub_(d, alpha=sign * step)
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-7)


@EVERY
def test_tied_head_gets_both_contributions(objective: Objective) -> None:
    """The head is also the embedding that the hidden states come from."""
    problem = Problem()

    def gradient(method: Any) -> Tensor:
        problem.student = [(problem.weight[:N_TOKENS] * scale).tanh() for scale in (1.0, 0.5)]
        return torch.autograd.grad(method(objective).loss, problem.weight)[0]

    torch.testing.assert_close(gradient(problem.from_hidden), gradient(problem.plain), **EXACT)


@pytest.mark.parametrize("scale", [1.0, -3.0])
def test_the_incoming_gradient_scales_and_the_graph_can_be_walked_twice(scale: float) -> None:
    problem, objective = Problem(), OBJECTIVES["vgs-lp"]
    loss = problem.from_hidden(objective).loss
    once, twice = problem.gradients(scale * loss), problem.gradients(scale * loss)
    for got, again, want in zip(once, twice, problem.gradients(problem.plain(objective).loss), strict=True):
        torch.testing.assert_close(got, scale * want, **EXACT)
        assert torch.equal(got, again)


def test_micro_batches_accumulate_in_grad() -> None:
    problem, objective = Problem(), OBJECTIVES["vgs-lp"]
    shares = token_shares(LENGTHS)
    for rows in (slice(0, 3), slice(3, 8)):
        student = HiddenViews(*(h[rows] for h in problem.student), problem.head)
        teacher = HiddenViews(*(h[rows] for h in problem.teacher), problem.teacher_head)
        options = {"thresholds": EDGES, "shares": shares[rows], "has_image": HAS_IMAGE[rows]}
        objective_loss_from_hidden(student, teacher, objective, **options).loss.backward()
    for leaf, want in zip(problem.leaves, problem.gradients(problem.plain(objective).loss), strict=True):
        torch.testing.assert_close(leaf.grad, want, **EXACT)


@EVERY
def test_text_view_is_left_alone_where_nothing_trains_it(objective: Objective) -> None:
    problem = Problem()
    problem.from_hidden(objective).loss.backward()
    assert problem.student[0].grad is not None
    assert (problem.student[1].grad is not None) == objective.trains_text_view


def test_frozen_parts_get_no_gradient() -> None:
    problem, objective = Problem(), OBJECTIVES["vgs-lp"]
    want = problem.gradients(problem.plain(objective).loss)[1]
    for leaf in (problem.student[0], problem.weight, problem.bias):
        assert leaf is not None
        leaf.requires_grad_(False)
    problem.from_hidden(objective).loss.backward()
    assert problem.student[1].grad is not None and problem.weight.grad is None
    torch.testing.assert_close(problem.student[1].grad, want, **EXACT)


def test_without_grad_mode_there_is_the_loss_alone() -> None:
    problem, objective = Problem(), OBJECTIVES["vgs-lp"]
    with torch.no_grad():
        found = problem.from_hidden(objective, chunk=2)
    assert not found.loss.requires_grad
    torch.testing.assert_close(found.loss, problem.plain(objective).loss.detach(), **EXACT)


@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_vds_is_that_of_the_loss_bit_for_bit(chunk: int | None) -> None:
    """A token that sits on a threshold falls on the same side of it."""
    problem = Problem(dtype=torch.float32)
    vds = vds_from_hidden(HiddenViews(*problem.teacher, problem.teacher_head), chunk=chunk)
    assert torch.equal(vds, problem.from_hidden(OBJECTIVES["vgs"], chunk).parts.vds)
    views = [problem.teacher_head.logits(hidden) for hidden in problem.teacher]
    torch.testing.assert_close(vds, decompose(FourViews(*views, *views)).vds)


def test_bfloat16_is_computed_in_float32_from_the_logits_on() -> None:
    problem, objective = Problem(dtype=torch.bfloat16), OBJECTIVES["vgs-lp"]
    inputs = [
        [head.logits(h) for h in hs]
        for head, hs in ((problem.head, problem.student), (problem.teacher_head, problem.teacher))
    ]
    expected = plain_objective_loss(FourViews(*inputs[0], *inputs[1]), objective, **problem.options(objective, {}))
    found = problem.from_hidden(objective, chunk=3)
    assert found.loss.dtype == torch.float32
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-2, atol=0)
    for got, want in zip(problem.gradients(found.loss), problem.gradients(expected.loss), strict=True):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got, want, rtol=3e-2, atol=3e-3)


def test_float32_is_close_to_float64() -> None:
    objective = OBJECTIVES["vgs-lp attached"]
    single, double = Problem(dtype=torch.float32), Problem()
    pairs = zip(
        single.gradients(single.from_hidden(objective).loss),
        double.gradients(double.plain(objective).loss),
        strict=True,
    )
    for got, want in pairs:
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-6)


def models(inputs: Sequence[Any]) -> tuple[HiddenViews, HiddenViews]:
    """Student and teacher from their hidden states and heads, one after the other."""
    return HiddenViews(*inputs[:3]), HiddenViews(*inputs[3:])


class Largest(TorchDispatchMode):
    """Notes the most bytes of any tensor that an operation makes."""

    n_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [leaf.numel() * leaf.element_size() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.n_bytes = max([self.n_bytes, *made])
        return result


def hidden_problem(n_tokens: int, n_ids: int) -> tuple[list[Any], dict]:
    student = [normal(n_tokens, 2, seed=k).float().requires_grad_() for k in (0, 1)]
    teacher = [normal(n_tokens, 2, seed=k).float() for k in (2, 3)]
    heads = [LMHead(normal(n_ids, 2, seed=k).float().requires_grad_(k == 4)) for k in (4, 5)]
    inputs = [*student, heads[0], *teacher, heads[1]]
    return inputs, {"thresholds": EDGES, "shares": token_shares([n_tokens])}


def test_the_entropy_is_that_of_the_image_view_over_all_ids() -> None:
    problem, objective = Problem(softcap=2.0), OBJECTIVES["vgs-lp"]
    own = log_probs(problem.head.logits(problem.student[0])).nan_to_num(neginf=-1e3)
    expected = -(own.exp() * own).sum(dim=-1)
    for top_k in (None, 3):
        found = problem.from_hidden(objective, chunk=3, top_k=top_k).entropy
        torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("top_k", [None, 3])
def test_a_vds_that_was_measured_before_is_taken_as_it_is(top_k: int | None) -> None:
    problem, objective = Problem(), OBJECTIVES["vgs-lp"]
    vds = vds_from_hidden(HiddenViews(*problem.teacher, problem.teacher_head), top_k=top_k)
    found, again = (problem.from_hidden(objective, vds=v, top_k=top_k) for v in (vds, None))
    assert torch.equal(found.parts.vds, vds) and torch.equal(found.loss, again.loss)
    closed = problem.from_hidden(objective, vds=torch.zeros_like(vds))
    assert float(closed.weights.language.abs().sum()) == 0.0 < float(found.weights.language.abs().sum())


def test_the_head_carries_back_the_text_view_of_preserved_tokens_alone() -> None:
    """Four views forward; back to the hidden states, each token with a gradient. torch counts no product in place."""

    def counted_to_expected(objective: Objective) -> float:
        problem = Problem(bias=False)
        with FlopCounterMode(display=False) as counter:
            weights = problem.from_hidden(objective, chunk=3).weights
        n_text = int((weights.language != 0).sum())
        assert 0 < n_text < N_TOKENS or objective.name != "vgs-lp"
        of_student, of_teacher = 2 * SUPPORT * 4, 2 * SUPPORT * 5
        expected = 2 * N_TOKENS * (of_student + of_teacher) + (N_TOKENS + n_text) * of_student
        return counter.get_total_flops() / expected

    assert counted_to_expected(OBJECTIVES["vgs-lp"]) == counted_to_expected(OBJECTIVES["vgs"]) == 1.0


@EVERY
def test_never_holds_all_logits(objective: Objective) -> None:
    n_tokens, n_ids, chunk = 60, 500, 4
    inputs, options = hidden_problem(n_tokens, n_ids)
    with Largest() as made:
        objective_loss_from_hidden(*models(inputs), objective, chunk=chunk, **options).loss.backward()
        vds_from_hidden(HiddenViews(*inputs[3:6]), chunk=chunk)
    assert made.n_bytes == chunk * n_ids * 4


def test_default_chunk_keeps_to_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geometry.lm_head.CHUNK_BYTES", 7 * 500 * 4 + 1)
    inputs, options = hidden_problem(60, 500)
    with Largest() as made:
        objective_loss_from_hidden(*models(inputs), OBJECTIVES["vgs"], **options).loss.backward()
    assert made.n_bytes == 7 * 500 * 4


def test_no_tokens_no_loss() -> None:
    """A rank without tokens still takes part in the backward pass."""
    inputs, _ = hidden_problem(4, 5)
    none = [value if isinstance(value, LMHead) else value[:0] for value in inputs]
    loss = objective_loss_from_hidden(*models(none), OBJECTIVES["vgs"], shares=torch.zeros(0)).loss
    loss.backward()
    assert loss == 0 and (inputs[2].weight.grad == 0).all()


def test_refuses_heads_that_do_not_fit() -> None:
    weight = normal(5, 2)
    with pytest.raises(ValueError, match=r"`bias` must have one number a row of `weight`, got 4 and 5"):
        LMHead(weight, normal(4))
    with pytest.raises(ValueError, match=r"`n_ids` must lie in 1\.\.5, the rows of `weight`, got 6"):
        LMHead(weight, n_ids=6)
    with pytest.raises(ValueError, match=r"`masked` must hold ids in 0\.\.4, got \[5\]"):
        LMHead(weight, masked=(5,))


def test_refuses_what_does_not_fit() -> None:
    inputs, options = hidden_problem(6, 5)
    vgs = Objective("vgs")

    def call(place: int, value: Any, **changed: Any) -> None:
        changed_inputs = [*inputs[:place], value, *inputs[place + 1 :]]
        objective_loss_from_hidden(*models(changed_inputs), vgs, **{**options, **changed})

    with pytest.raises(ValueError, match=r"`student_text_hidden` must have the shape of `student_image_hidden`"):
        call(1, inputs[1][:3])
    with pytest.raises(ValueError, match=r"`teacher_image_hidden` must have the shape of `student_image_hidden`"):
        call(3, inputs[3][:3])
    with pytest.raises(
        ValueError, match=r"`student_image_hidden` must have the width .* got 2 of torch.float32 and 3 of"
    ):
        call(2, LMHead(normal(5, 3).float()))
    with pytest.raises(ValueError, match=r"`student_image_hidden` must have the width and dtype .* torch.float64"):
        call(2, LMHead(normal(5, 2)))
    with pytest.raises(ValueError, match=r"`teacher_head` must have the ids of `student_head`, got 4 and 5\. Set"):
        call(5, LMHead(inputs[5].weight, n_ids=4))
    with pytest.raises(ValueError, match=r"`teacher_image` must mask \(-inf\) the ids that `student_image` masks"):
        call(5, LMHead(inputs[5].weight, masked=(1,)))
    with pytest.raises(ValueError, match=r"`chunk` must be at least 1 token, got 0"):
        call(0, inputs[0], chunk=0)
    with pytest.raises(ValueError, match=r"`shares` must have one number a token"):
        call(0, inputs[0], shares=token_shares([4]))


def test_a_cap_bounds_logits_and_leaves_masked_ids() -> None:
    problem = Problem(softcap=1.5)
    logits = problem.head.logits(100 * problem.student[0])
    kept = [id for id in range(SUPPORT) if id not in MASKED]
    assert logits[:, kept].abs().max() <= 1.5 and logits[:, MASKED[0]].isneginf().all()
    pulled = problem.head.before_cap(torch.zeros_like(logits), logits)
    assert (pulled == 0).all()  # not nan


@pytest.mark.parametrize(("name", "number"), [("scale", 0.0), ("softcap", -1.0), ("softcap", float("nan"))])
def test_refuses_a_scale_or_cap_that_is_not_positive(name: str, number: float) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be a positive number, got {number}"):
        LMHead(normal(3, 2), **{name: number})
