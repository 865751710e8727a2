"""Eq. 1 and 13-25 against a slow twin: plain probabilities, plain loops, plain autograd, in float64."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from geometry import (
    Coefficients,
    FourViews,
    Objective,
    Thresholds,
    coefficients,
    cotangents,
    decompose,
    objective_loss,
    token_shares,
    vds_quantile,
)
from geometry.objective_settings import MOST_WEIGHT
from tests.geometry.problems import four_views

EXACT = {"rtol": 0.0, "atol": 1e-12}
LENGTHS = [3, 1, 4]  # of three responses; the prompt of the second has no image
HAS_IMAGE = torch.tensor([True] * 3 + [False] + [True] * 4)

OBJECTIVES = {
    "standard": Objective("standard"),
    "off-policy": Objective("off-policy"),
    "vgs": Objective("vgs", eta=0.41),
    "vgs attached": Objective("vgs", prior="attached"),
    "vgs by token": Objective("vgs", gamma=0.7, average="token"),
    "vgs-lp": Objective("vgs-lp", lambda_=0.3, eta=0.5),
    "vgs-lp attached": Objective("vgs-lp", lambda_=0.3, prior="attached"),
    "vgs-lp as printed": Objective("vgs-lp", lambda_=0.3, eta=0.5, eta_scales="loss"),
    "adaptive": Objective("adaptive", lambda_=0.3, eta=0.5),
    "vds-weighted": Objective("vds-weighted", eta=0.6),
    "adaptive attached": Objective("adaptive", quantile=0.8, low_quantile=0.1, lambda_=0.3, prior="attached"),
    "language-steering": Objective("language-steering", lambda_=0.3, eta=0.6),
    "language-steering as printed": Objective("language-steering", lambda_=0.3, eta=0.6, eta_scales="loss"),
    "language-steering attached": Objective("language-steering", lambda_=0.3, prior="attached"),
    "language-steering printed": Objective("language-steering", lambda_=0.3, vp="printed"),
    "language-steering printed attached": Objective("language-steering", lambda_=0.3, vp="printed", prior="attached"),
}
EVERY = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


def leaves(seed: int = 0) -> list[Tensor]:
    """Logits of eight tokens, those of the student with gradients; the caller joins views with `views_of`."""
    drawn = four_views(seed, sum(LENGTHS), 7)
    return [drawn[0].requires_grad_(), drawn[1].requires_grad_(), *drawn[2:]]


def views_of(drawn: list[Tensor], has_image: Tensor = HAS_IMAGE) -> list[Tensor]:
    """The four views: the text view is the image view where there is no image."""
    image, text, teacher_image, teacher_text = drawn
    seen = has_image.unsqueeze(-1)
    return [image, torch.where(seen, text, image), teacher_image, torch.where(seen, teacher_text, teacher_image)]


def plain_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum()


def twin_of_token(rows: list[Tensor], objective: Objective, edges: Thresholds, has_image: bool) -> Tensor:
    """The loss of one token, from the equations."""
    p_image, p_text, q_image, q_text = (row.log_softmax(-1) for row in rows)
    target = (p_text + q_image - q_text).log_softmax(-1)
    if objective.prior == "detached":
        target = target.detach()
    standard, language, visual = plain_kl(p_image, q_image), plain_kl(p_text, q_text), plain_kl(p_image, target)
    vds = float(plain_kl(q_image, q_text))
    low, high = edges.low, edges.high
    gate = float(has_image and vds > high)
    eta, gamma, lambda_ = objective.eta, objective.gamma, objective.lambda_
    if objective.eta_scales == "loss":  # eta (standard + gamma steered + lambda preserved), Eq. 18
        lambda_ = eta * lambda_
    if objective.name == "off-policy":
        return plain_kl(q_image, p_image)
    if objective.name == "standard":
        return standard
    if objective.name == "vds-weighted":
        return eta * (min(vds / edges.mean, MOST_WEIGHT) if has_image else 1.0) * standard
    if objective.name == "vgs":
        return eta * (standard + gamma * visual)
    if objective.name == "vgs-lp":
        return eta * (standard + gamma * visual) + lambda_ * gate * language
    if objective.name == "adaptive":
        strength = 0.0 if vds <= low else gamma / 2 if vds <= high else gamma
        return eta * (standard + strength * visual) + lambda_ * gate * language
    preserved = plain_kl(p_text, target) if objective.vp == "printed" else visual
    return eta * (standard + gamma * language) + lambda_ * gate * preserved


def twin(views: list[Tensor], objective: Objective, edges: Thresholds, has_image: Tensor = HAS_IMAGE) -> Tensor:
    """The loss of the three responses."""
    per_token = []
    for t in range(sum(LENGTHS)):
        rows = [view[t] for view in views]
        per_token.append(twin_of_token(rows, objective, edges, bool(has_image[t])))
    if objective.average == "token":
        return sum(per_token) / len(per_token)
    means = [sum(per_token[start:stop]) / (stop - start) for start, stop in ((0, 3), (3, 4), (4, 8))]
    return sum(means) / 3


def edges_of(objective: Objective, views: list[Tensor]) -> Thresholds:
    return objective.thresholds(decompose(FourViews(*views)).vds.detach()[HAS_IMAGE])


def gradients(loss: Tensor, of: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, of[:2], retain_graph=True, allow_unused=True, materialize_grads=True))


def loss_of(views: list[Tensor], objective: Objective, **options) -> Tensor:
    """The loss of three responses, all with images unless told."""
    edges = objective.thresholds(decompose(FourViews(*views)).vds.detach())
    shares = token_shares(LENGTHS, objective.average)
    return objective_loss(FourViews(*views), objective, **{"thresholds": edges, "shares": shares, **options}).loss


@EVERY
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_twin(objective: Objective, seed: int) -> None:
    drawn = leaves(seed)
    views = views_of(drawn)
    edges = edges_of(objective, views)
    shares = token_shares(LENGTHS, objective.average)
    found = objective_loss(FourViews(*views), objective, thresholds=edges, shares=shares, has_image=HAS_IMAGE)
    expected = twin(views, objective, edges)
    torch.testing.assert_close(found.loss, expected, **EXACT)
    for got, want in zip(gradients(found.loss, drawn), gradients(expected, drawn), strict=True):
        torch.testing.assert_close(got, want, **EXACT)


@EVERY
def test_parts_are_the_decomposition_without_a_graph(objective: Objective) -> None:
    views = views_of(leaves())
    shares = token_shares(LENGTHS)
    found = objective_loss(FourViews(*views), objective, thresholds=Thresholds(0.1, 0.5), shares=shares)
    expected = decompose(FourViews(*views))
    for name in ("standard", "language", "visual", "vds", "student_vds"):
        torch.testing.assert_close(getattr(found.parts, name), getattr(expected, name), **EXACT)
        assert not getattr(found.parts, name).requires_grad


@EVERY
def test_weights_times_divergences_are_the_loss(objective: Objective) -> None:
    views = [view.detach() for view in views_of(leaves())]
    edges, shares = edges_of(objective, views), token_shares(LENGTHS)
    found = objective_loss(FourViews(*views), objective, thresholds=edges, shares=shares, has_image=HAS_IMAGE)
    p_image, _, q_image, _ = (view.log_softmax(-1) for view in views)
    forward = torch.stack([plain_kl(q, p) for q, p in zip(q_image, p_image, strict=True)])
    printed = decompose(FourViews(views[1], *views[1:])).visual
    w, parts = found.weights, found.parts
    total = w.standard * parts.standard + w.language * parts.language + w.visual * parts.visual
    torch.testing.assert_close(found.loss, (total + w.printed * printed + w.forward * forward).sum(), **EXACT)


@pytest.mark.parametrize("name", ["vgs", "vgs-lp", "adaptive", "language-steering"])
@pytest.mark.parametrize("prior", ["detached", "attached"])
def test_without_strengths_all_are_standard(name: str, prior: str) -> None:
    drawn = leaves()
    objective = Objective(name, gamma=0.0, lambda_=0.0, prior=prior)
    assert not objective.is_gated and not objective.trains_text_view
    found, expected = loss_of(drawn, objective, thresholds=None), loss_of(drawn, Objective("standard"))
    assert torch.equal(found, expected)
    for got, want in zip(gradients(found, drawn), gradients(expected, drawn), strict=True):
        assert torch.equal(got, want)


def test_vgs_lp_without_preservation_is_vgs() -> None:
    drawn = leaves()
    assert torch.equal(loss_of(drawn, Objective("vgs-lp", lambda_=0.0)), loss_of(drawn, Objective("vgs")))


@EVERY
def test_teacher_equal_to_student_leaves_nothing_to_learn_but_for_eq_21_as_printed(objective: Objective) -> None:
    """Q* is then p(.|I,x): the gated term is 0, KL(p(.|x) || q*) is the student's use of the picture."""
    drawn = leaves()
    views = [*drawn[:2], *(view.detach() for view in drawn[:2])]
    loss = loss_of(views, objective)
    image, text = gradients(loss, views)
    torch.testing.assert_close(image, torch.zeros_like(image), **EXACT)
    if objective.vp == "printed":
        assert loss > 0.01 and text.norm() > 0.01
    else:
        torch.testing.assert_close(loss.detach(), torch.zeros_like(loss), **EXACT)
        torch.testing.assert_close(text, torch.zeros_like(text), **EXACT)


def test_blind_teacher_punishes_looking() -> None:
    """Against the paper: visual steering pulls along KL(p(.|I,x) || p(.|x)), not along the standard gradient."""
    drawn = leaves()
    views = [*drawn[:2], drawn[2], drawn[2]]
    standard, steered = (gradients(loss_of(views, Objective(name)), views)[0] for name in ("standard", "vgs"))
    visual = ((steered - standard) / 2.0).flatten()
    p_image, p_text = (view.log_softmax(-1) for view in drawn[:2])
    use = [plain_kl(a, b.detach()) for a, b in zip(p_image, p_text, strict=True)]
    (own,) = torch.autograd.grad((token_shares(LENGTHS) * torch.stack(use)).sum(), drawn[0])
    assert torch.cosine_similarity(visual, own.flatten(), dim=0).item() == pytest.approx(1.0, abs=1e-12)
    assert torch.cosine_similarity(visual, standard.flatten(), dim=0) < 0.9


@EVERY
@pytest.mark.parametrize("cut", [3, 4])
def test_micro_batches_add_up(objective: Objective, cut: int) -> None:
    drawn = leaves()
    views = views_of(drawn)
    edges = edges_of(objective, views)
    whole = twin(views, objective, edges)
    first = LENGTHS[: 1 if cut == 3 else 2]
    total: Tensor | float = 0.0
    for rows, lengths in ((slice(0, cut), first), (slice(cut, 8), LENGTHS[len(first) :])):
        part = [view[rows] for view in views]
        shares = token_shares(lengths, objective.average, n_trajectories=3, n_tokens=8)
        seen = HAS_IMAGE[rows]
        total = (
            total + objective_loss(FourViews(*part), objective, thresholds=edges, shares=shares, has_image=seen).loss
        )
    torch.testing.assert_close(total, whole, **EXACT)
    for got, want in zip(gradients(total, drawn), gradients(whole, drawn), strict=True):
        torch.testing.assert_close(got, want, **EXACT)


@EVERY
def test_needs_a_graph_through_the_text_view_only_where_it_says_so(objective: Objective) -> None:
    drawn = leaves()
    _, text = torch.autograd.grad(loss_of(drawn, objective), drawn[:2], allow_unused=True)
    assert (text is not None) == objective.trains_text_view


def test_which_objectives_train_the_text_view() -> None:
    trains = {name for name, objective in OBJECTIVES.items() if objective.trains_text_view}
    assert trains == set(OBJECTIVES) - {"standard", "off-policy", "vgs", "vgs by token", "vds-weighted"}


@EVERY
def test_without_images_thresholds_and_text_views_do_not_matter(objective: Objective) -> None:
    """A prompt without an image: language is standard, the rest 0, and the text view gets no gradient."""
    drawn = leaves()
    none = torch.zeros_like(HAS_IMAGE)
    views = [drawn[0], drawn[1], drawn[2], drawn[2]]
    found = loss_of(views, objective, thresholds=Thresholds(-1.0, -1.0), has_image=none)
    expected = twin([drawn[0], drawn[0], drawn[2], drawn[2]], objective, Thresholds(-1.0, -1.0), none)
    torch.testing.assert_close(found, expected, **EXACT)
    torch.testing.assert_close(gradients(found, drawn)[1], torch.zeros_like(drawn[1]), **EXACT)


def test_coefficients_pinned() -> None:
    vds = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.9], dtype=torch.float64)
    seen = torch.tensor([True, True, True, True, False])
    edges = Thresholds(low=0.1, high=0.3)

    def rows(name: str, **options) -> dict[str, list[float]]:
        found = coefficients(Objective(name, lambda_=0.5, eta=0.5, **options), vds, edges, seen)
        named = {field: getattr(found, field) for field in Coefficients.__dataclass_fields__}
        return {field: values.tolist() for field, values in named.items() if values.any()}

    lp = [0.0, 0.0, 0.0, 0.5, 0.0]
    assert rows("vgs-lp") == {"standard": [0.5] * 5, "visual": [1.0] * 4 + [0.0], "language": lp}
    assert rows("adaptive") == {"standard": [0.5] * 5, "visual": [0.0, 0.5, 0.5, 1.0, 0.0], "language": lp}
    steered = {"standard": [0.5] * 4 + [1.5], "language": [1.0] * 4 + [0.0]}
    assert rows("language-steering") == {**steered, "visual": lp}
    assert rows("language-steering", vp="printed") == {**steered, "printed": lp}


def test_weights_by_vds_have_the_mean_1_and_a_cap() -> None:
    vds = torch.tensor([0.0, 0.1, 0.3, 100.0, 0.5], dtype=torch.float64)
    seen, objective = torch.tensor([True, True, True, True, False]), Objective("vds-weighted")
    edges = objective.thresholds(vds[seen][:3])
    assert edges.mean == pytest.approx(0.4 / 3)
    weights = coefficients(objective, vds, edges, seen)
    assert weights.standard.tolist() == pytest.approx([0.0, 0.75, 2.25, MOST_WEIGHT, 1.0])
    assert weights.standard[:3].mean() == pytest.approx(1.0)
    blind = coefficients(objective, torch.zeros(3), objective.thresholds(torch.zeros(3)))
    assert blind.standard.tolist() == [1.0, 1.0, 1.0]


def test_thresholds_are_the_quantiles_and_none_opens_without_tokens() -> None:
    vds = decompose(FourViews(*four_views(0, 50, 7))).vds
    edges = Objective("adaptive", quantile=0.8, low_quantile=0.3).thresholds(vds)
    assert (edges.low, edges.high) == (vds_quantile(vds, 0.3).item(), vds_quantile(vds, 0.8).item())
    assert Objective("vgs-lp").thresholds(vds[:0]) == Thresholds(math.inf, math.inf)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    average=st.sampled_from(["trajectory", "token"]),
    cut=st.integers(0, 6),
)
def test_shares_sum_to_one_and_split(lengths: list[int], average: str, cut: int) -> None:
    whole = token_shares(lengths, average)
    assert whole.sum().item() == pytest.approx(1.0, abs=1e-14)
    size = {"n_trajectories": len(lengths), "n_tokens": sum(lengths)}
    parts = [token_shares(part, average, **size) for part in (lengths[:cut], lengths[cut:])]
    assert torch.equal(torch.cat(parts), whole)


def test_shares_pinned() -> None:
    assert token_shares([1, 2]).tolist() == [0.5, 0.25, 0.25]
    assert token_shares(torch.tensor([1, 3]), "token").tolist() == [0.25] * 4


@given(seed=st.integers(0, 1000), gamma=st.floats(0.0, 5.0), eta=st.floats(0.1, 2.0), lambda_=st.floats(0.0, 2.0))
def test_is_linear_in_its_strengths_and_eta_spares_the_preservation(
    seed: int, gamma: float, eta: float, lambda_: float
) -> None:
    views = four_views(seed, sum(LENGTHS), 7)
    base = Objective("vgs-lp", gamma=gamma, eta=eta, lambda_=lambda_)
    options = {"thresholds": base.thresholds(decompose(FourViews(*views)).vds)}
    standard, vgs, preserved = (
        loss_of(views, objective, **options)
        for objective in (
            Objective("standard"),
            Objective("vgs", gamma=1.0),
            Objective("vgs-lp", gamma=0.0, lambda_=1.0),
        )
    )
    expected = eta * (standard + gamma * (vgs - standard)) + lambda_ * (preserved - standard)
    torch.testing.assert_close(loss_of(views, base, **options), expected)


@given(seed=st.integers(0, 1000), low=st.floats(0.0, 1.0), high=st.floats(0.0, 1.0))
def test_adaptive_steers_between_nothing_and_vgs(seed: int, low: float, high: float) -> None:
    views = four_views(seed, sum(LENGTHS), 7)
    objective = Objective("adaptive", low_quantile=min(low, high), quantile=max(low, high), lambda_=0.0)
    losses = [loss_of(views, o) for o in (Objective("standard"), objective, Objective("vgs"))]
    assert losses == sorted(losses)


def test_extreme_quantiles_of_the_adaptive_objective() -> None:
    drawn = leaves()
    adaptive = Objective("adaptive", lambda_=0.0)
    for edge, twin_objective in ((-1.0, Objective("vgs")), (math.inf, Objective("standard"))):
        found = loss_of(drawn, adaptive, thresholds=Thresholds(edge, edge))
        torch.testing.assert_close(found, loss_of(drawn, twin_objective), **EXACT)


def test_masked_ids_have_no_part() -> None:
    objective = OBJECTIVES["vgs-lp attached"]
    drawn = leaves()
    masked = [view.index_fill(1, torch.tensor([2]), -math.inf) for view in drawn]
    sliced = [view[:, [0, 1, 3, 4, 5, 6]] for view in drawn]
    losses = [loss_of(views, objective) for views in (masked, sliced)]
    torch.testing.assert_close(*losses, **EXACT)
    for got, want in zip(*(gradients(loss, drawn) for loss in losses), strict=True):
        torch.testing.assert_close(got, want, **EXACT)


def test_leading_axes_are_allowed() -> None:
    views, objective = four_views(0, 6, 7), OBJECTIVES["vgs-lp"]
    options = {"thresholds": Thresholds(0.1, 0.5), "shares": token_shares([2, 4])}
    flat = objective_loss(FourViews(*views), objective, **options)
    options["shares"] = options["shares"].view(2, 3)
    found = objective_loss(FourViews(*(view.view(2, 3, 7) for view in views)), objective, **options)
    torch.testing.assert_close(found.loss, flat.loss, **EXACT)
    assert found.parts.vds.shape == (2, 3)


def test_bfloat16_is_computed_in_float32() -> None:
    views = [view.bfloat16() for view in four_views(0, 8, 7)]
    found = objective_loss(FourViews(*views), OBJECTIVES["vgs"], shares=token_shares(LENGTHS))
    assert found.loss.dtype == torch.float32


def test_gradient_is_the_weighted_cotangents() -> None:
    drawn = leaves()
    objective, shares = OBJECTIVES["vgs attached"], token_shares(LENGTHS).unsqueeze(-1)
    image, text = gradients(loss_of(drawn, objective), drawn)
    c = cotangents(FourViews(*drawn))
    torch.testing.assert_close(image, shares * (c.standard + 2.0 * c.visual), **EXACT)
    torch.testing.assert_close(text, shares * 2.0 * c.shift, **EXACT)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "vgs", "gamma": -1.0}, r"`gamma` must be at least 0, got -1\.0\. Give 0"),
        ({"name": "vgs-lp", "lambda_": math.nan}, r"`lambda_` must be at least 0, got nan"),
        ({"name": "vgs", "eta": 0.0}, r"`eta` must be positive and finite, got 0\.0"),
        ({"name": "vgs-lp", "quantile": 70.0}, r"must lie in \[0, 1\], got \(0\.4, 70\.0\)"),
        ({"name": "adaptive", "low_quantile": 0.8}, r"`low_quantile` must be at most `quantile`, got 0\.8 and 0\.7"),
        ({"name": "vgs-lp", "vp": "printed"}, "`vp` must be left at 'gated' for 'vgs-lp', .* belongs to language-st"),
        ({"name": "vgs", "lambda_": 0.1}, "`lambda_` must be left at 0.01 for 'vgs', .* got 0.1. It belongs to vgs-lp"),
        ({"name": "standard", "gamma": 1.0}, "`gamma` must be left at 2.0 for 'standard'"),
        ({"name": "off-policy", "prior": "attached"}, "`prior` must be left at 'detached' for 'off-policy'"),
        ({"name": "vgs-lp", "low_quantile": 0.2}, "`low_quantile` must be left at 0.4 for 'vgs-lp', .* to adaptive"),
    ],
)
def test_refuses_settings(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Objective(**fields)
    with pytest.raises(ValueError, match=message):
        replace(Objective(fields["name"]), **fields)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "grpo", r"`name` must be one of \('standard', .*\), got 'grpo'"),
        ("prior", "fixed", r"`prior` must be one of \('detached', .*\), got 'fixed'"),
        ("vp", "none", "`vp` must be one of"),
        ("average", "batch", "`average` must be one of"),
    ],
)
def test_refuses_unknown_choices(field: str, value: str, message: str) -> None:
    """Set behind the type checker's back: it runs in the tests only."""
    objective = Objective("vgs")
    object.__setattr__(objective, field, value)
    with pytest.raises(ValueError, match=message):
        objective.__post_init__()


def test_refuses_what_does_not_fit() -> None:
    views, shares = four_views(0, 8, 7), token_shares(LENGTHS)
    with pytest.raises(ValueError, match=r"`thresholds` must be given for 'vgs-lp', got None\. Take"):
        objective_loss(FourViews(*views), Objective("vgs-lp"), shares=shares)
    with pytest.raises(ValueError, match=r"`shares` must have one number a token, got shape \(7,\) for \(8,\)"):
        objective_loss(FourViews(*views), Objective("vgs"), shares=shares[:7])
    with pytest.raises(ValueError, match="`has_image` must have one number a token"):
        objective_loss(FourViews(*views), Objective("vgs"), shares=shares, has_image=HAS_IMAGE[:5])
    with pytest.raises(ValueError, match="`teacher_text` must have the shape"):
        objective_loss(FourViews(*views[:3], views[3][:, :5]), Objective("vgs"), shares=shares)


def test_refuses_shares_of_too_small_a_batch() -> None:
    with pytest.raises(ValueError, match=r"`lengths` must be at least 1 token each, got 0\. Leave"):
        token_shares([2, 0])
    with pytest.raises(ValueError, match=r"`n_trajectories` must be at least 2, those here, got 1\. Count the"):
        token_shares([2, 1], n_trajectories=1)
    with pytest.raises(ValueError, match="`n_tokens` must be at least 3, those here, got 2"):
        token_shares([2, 1], "token", n_tokens=2)


def test_eta_of_the_whole_loss_is_a_factor_of_it() -> None:
    """Eq. 18 as printed: the loss with eta is eta times the loss without, and so is its gradient."""
    drawn = leaves()
    views = views_of(drawn)
    losses = [loss_of(views, Objective("vgs-lp", lambda_=0.3, eta=eta, eta_scales="loss")) for eta in (0.5, 1.0)]
    torch.testing.assert_close(losses[0], 0.5 * losses[1], **EXACT)
    for half, whole in zip(*(gradients(loss, drawn) for loss in losses), strict=True):
        torch.testing.assert_close(half, 0.5 * whole, **EXACT)
    spared = loss_of(views, Objective("vgs-lp", lambda_=0.3, eta=0.5))
    assert float((spared - losses[0]).detach()) > 1e-3
