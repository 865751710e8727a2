"""Hostile logits into the losses: value and gradients against the twin, whole and from hidden states."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geometry import (
    FourViews,
    HiddenViews,
    LMHead,
    Objective,
    TextView,
    Thresholds,
    objective_loss,
    objective_loss_from_hidden,
    token_log_probs_from_hidden,
    token_shares,
    top_ids,
    vds_from_hidden,
)
from tests.faults.distributions import Row, Token, buckets, centred, difference, kl, normalised
from tests.faults.hostile import Logits, logits, rounding
from tests.faults.judging import REFUSED, Close, Expected, covers, judge, pick

OBJECTIVES = (
    Objective("standard"),
    Objective("off-policy"),
    *(Objective("vgs", gamma=2.0, prior=prior) for prior in ("detached", "attached", "frozen")),
    *(Objective("vgs-lp", lambda_=0.5, prior=prior) for prior in ("detached", "attached", "frozen")),
    Objective("adaptive", lambda_=0.5),
    *(Objective("language-steering", lambda_=0.5, vp=vp, prior="attached") for vp in ("gated", "printed")),
    Objective("language-steering", lambda_=0.5, vp="printed", prior="frozen"),
)
Rows = list[list[float] | None]


@dataclass(frozen=True)
class Expectation:
    """The loss of the tokens and its gradients at the student's logits, with what rounding may do."""

    loss: float
    image: np.ndarray
    text: np.ndarray
    slack: float
    size: float

    @property
    def value(self) -> Close:
        """Of the loss."""
        return Close(self.loss, self.slack * (self.size + math.sqrt(self.size)) + self.slack**2)


def expectation(
    tokens: Sequence[Token], objective: Objective, edges: Thresholds, slack: float, n_ids: int
) -> Expectation:
    """Return the sum over tokens of `weight divergence / T`; where it is not finite, gradients are nan."""
    loss, size, images, texts = 0.0, 0.0, [], []
    for token in tokens:
        weights = {term: weight / len(tokens) for term, weight in _weights(objective, token, edges).items()}
        values = {term: _value(token, term) for term in weights}
        loss += sum(weights[term] * values[term] for term in weights)
        size += sum(abs(weights[term] * values[term]) for term in weights)
        images.append(_at_image(token, weights, n_ids))
        texts.append(_at_text(token, weights, objective.prior == "attached", n_ids))
    image, text = (np.array(rows).reshape(len(tokens), n_ids) for rows in (images, texts))
    unknown = not math.isfinite(loss)
    image, text = (np.full_like(rows, math.nan) if unknown else rows for rows in (image, text))
    return Expectation(loss, image, text, slack, 0.0 if unknown else size)


def _weights(objective: Objective, token: Token, edges: Thresholds) -> dict[str, float]:
    base, steered, kept = objective.terms
    vds = token.parts["vds"]
    gates = [math.nan if math.isnan(vds) else float(vds > edge) for edge in (edges.low, edges.high)]
    weights = {base: 1.0}
    if steered:
        gamma = objective.gamma * (0.5 * sum(gates) if objective.name == "adaptive" else 1.0)
        weights[steered] = weights.get(steered, 0.0) + gamma
    if kept:
        weights[kept] = weights.get(kept, 0.0) + objective.lambda_ * gates[1]
    return weights


def _value(token: Token, term: str) -> float:
    if term == "printed":
        return kl(token.p_text, token.target)
    return kl(token.q_image, token.p_image) if term == "forward" else token.parts[term]


def _total(n_ids: int, terms: Sequence[tuple[float, list[float] | None]]) -> np.ndarray:
    total = np.zeros(n_ids)
    for weight, row in terms:
        total = total + weight * (np.full(n_ids, math.nan) if row is None else np.array(row))
    return total


def _at_image(token: Token, weights: dict[str, float], n_ids: int) -> np.ndarray:
    rows = {
        "standard": lambda: centred(token.p_image, token.q_image),
        "visual": lambda: centred(token.p_image, token.target),
        "forward": lambda: difference(token.p_image, token.q_image),
    }
    return _total(n_ids, [(weights[term], row()) for term, row in rows.items() if term in weights])


def _at_text(token: Token, weights: dict[str, float], attached: bool, n_ids: int) -> np.ndarray:
    rows = {
        "language": lambda: centred(token.p_text, token.q_text),
        "printed": lambda: centred(token.p_text, token.target),
    }
    terms = [(weights[term], row()) for term, row in rows.items() if term in weights]
    if attached:
        shifts = {"visual": token.p_image, "printed": token.p_text}
        terms += [(weights[term], difference(token.target, p)) for term, p in shifts.items() if term in weights]
    return _total(n_ids, terms)


def apart_from(values: Sequence[float], rng: np.random.Generator) -> Thresholds:
    """Return thresholds that no rounding of these VDS crosses: below all, above all, or in their widest gap."""
    known = sorted(value for value in values if not math.isnan(value))
    gaps = [(b - a, (a + b) / 2) for a, b in zip(known, known[1:], strict=False) if b > 1.5 * a + 1e-3]
    between = [] if not gaps else [Thresholds(-1.0, max(gaps)[1]), Thresholds(max(gaps)[1], max(gaps)[1])]
    return pick(rng, [Thresholds(-1.0, -1.0), Thresholds(1e9, 1e9), *between])


def slack_of(views: Sequence[Tensor]) -> tuple[float, float]:
    """Return the relative rounding of probabilities, and that of gradients, times the widest logit."""
    slack = 4 * rounding(list(views))
    widest = max(
        (float(v.detach().double().nan_to_num(0.0, 0.0, 0.0).abs().max()) for v in views if v.numel()), default=0.0
    )
    return slack, slack * (1.0 + widest)


def _grown(close: np.ndarray, slack: float, dtype: torch.dtype) -> Close:
    """Expect gradients that are rounded to the logits' precision at the end."""
    eps = torch.finfo(dtype).eps
    return Close(close, 4.0 * slack + 2 * eps * np.nan_to_num(np.abs(close)) + torch.finfo(dtype).tiny)


@covers("objective_loss", "ObjectiveLoss", "Objective")
def fuzz_objective_loss(rng: np.random.Generator) -> tuple[str, str]:
    objective = pick(rng, OBJECTIVES)
    drawn = logits(rng, 5 if objective.needs_prior else 4)
    refused = drawn.unlike_masks or not drawn.n_ids
    tokens = [] if refused else drawn.tokens
    edges = apart_from([token.parts["vds"] for token in tokens], rng)
    slack, of_gradients = slack_of(drawn.views)
    expected: Expected = REFUSED
    if not refused:
        due = expectation(tokens, objective, edges, slack, drawn.n_ids)
        grown = [_grown(rows, of_gradients, drawn.views[0].dtype) for rows in (due.image, due.text)]
        expected = [due.value, *grown]
    leaves = [view.clone().requires_grad_() for view in drawn.views[:2]]
    shares = torch.full((len(drawn.views[0]),), 1.0 / max(len(drawn.views[0]), 1), dtype=torch.float64)

    def call() -> list[Tensor]:
        found = objective_loss(FourViews(*leaves, *drawn.views[2:]), objective, thresholds=edges, shares=shares)
        return [found.loss, *_gradients(found.loss, leaves, objective)]

    what = f"{drawn.kind}, {drawn.views[0].dtype}, {objective}"
    return drawn.kind, judge(call, _without(expected, objective), what)


def _gradients(loss: Tensor, leaves: Sequence[Tensor], objective: Objective) -> list[Tensor]:
    """The gradients of the views that the objective trains; those of the others are none."""
    trained = [objective.trains_image_view, objective.trains_text_view]
    chosen = [leaf for leaf, is_trained in zip(leaves, trained, strict=True) if is_trained]
    return list(torch.autograd.grad(loss, chosen))


def _without(expected: Expected, objective: Objective) -> Expected:
    if expected is REFUSED:
        return REFUSED
    trained = [True, objective.trains_image_view, objective.trains_text_view]
    return [close for close, is_there in zip(expected, trained, strict=True) if is_there]


@dataclass(frozen=True)
class Hidden:
    """Hidden states and heads whose logits are those drawn: the states are one-hot, so that products are exact."""

    student: HiddenViews
    teacher: HiddenViews
    prior: TextView | None
    leaves: list[Tensor]

    @classmethod
    def of(cls, drawn: Logits) -> "Hidden":
        """The student's text view has a second block of columns, as has the prior."""
        n, dtype = len(drawn.views[0]), drawn.views[0].dtype
        eye = torch.eye(2 * n, dtype=dtype)
        leaves = [eye[:n].clone().requires_grad_(), eye[n:].clone().requires_grad_()]
        heads = [LMHead(torch.cat(drawn.views[k : k + 2]).T.contiguous()) for k in (0, 2)]
        student, teacher = HiddenViews(*leaves, heads[0]), HiddenViews(eye[:n], eye[n:], heads[1])
        prior = (
            TextView(torch.eye(n, dtype=dtype), LMHead(drawn.views[4].T.contiguous())) if len(drawn.views) > 4 else None
        )
        return cls(student, teacher, prior, leaves)

    def seen(self) -> list[Tensor]:
        """The logits that the heads give: one that is nan or inf spoils all tokens of its head."""
        every = slice(None)
        with torch.no_grad():
            views = [*self.student.logits(every), *self.teacher.logits(every)]
            return views if self.prior is None else [*views, self.prior.logits(every)]


@covers("objective_loss_from_hidden", "vds_from_hidden", "HiddenViews", "LMHead", "TextView", "token_shares")
def fuzz_loss_from_hidden(rng: np.random.Generator) -> tuple[str, str]:
    objective, top_k = pick(rng, OBJECTIVES), pick(rng, (None, None, 1, 3))
    drawn = logits(rng, 5 if objective.needs_prior else 4, (torch.float64, torch.float32, torch.bfloat16))
    if not drawn.n_ids or not len(drawn.views[0]) or "masked" in drawn.kind:
        return "no id", judge(lambda: [LMHead(torch.zeros(0, 3))], REFUSED, "no id")
    hidden = Hidden.of(drawn)
    whole = replace(drawn, views=hidden.seen())
    tokens = whole.tokens if top_k is None else _in_buckets(whole, top_k)
    edges = apart_from([token.parts["vds"] for token in tokens], rng)
    slack, of_gradients = slack_of(drawn.views)
    due = expectation(tokens, objective, edges, slack, drawn.n_ids if top_k is None else min(top_k, drawn.n_ids) + 1)
    vds = np.array([token.parts["vds"] for token in tokens])
    expected = [due.value, Close(vds, slack * (np.nan_to_num(vds) + np.sqrt(np.nan_to_num(vds))) + slack**2)]
    if top_k is None:
        expected += _at_hidden(hidden, due, of_gradients, objective)
    shares = token_shares([len(vds)])

    def call() -> list[Tensor]:
        options = {"prior": hidden.prior, "top_k": top_k, "chunk": 2}
        found = objective_loss_from_hidden(
            hidden.student, hidden.teacher, objective, thresholds=edges, shares=shares, **options
        )
        gradients = _gradients(found.loss, hidden.leaves, objective) if top_k is None else []
        return [found.loss, vds_from_hidden(hidden.teacher, top_k=top_k), *gradients]

    return drawn.kind, judge(call, expected, f"{drawn.kind}, {drawn.views[0].dtype}, top_k {top_k}, {objective}")


def _in_buckets(drawn: Logits, top_k: int) -> list[Token]:
    """Each token over the teacher's ids and their tail."""
    ids = top_ids(drawn.views[2], top_k).tolist()
    made = []
    for token, own in zip(drawn.tokens, ids, strict=True):
        views: list[Row | None] = [token.p_image, token.p_text, token.q_image, token.q_text, token.prior]
        made.append(Token(*(buckets(view, own) for view in views)))
    return made


def _at_hidden(hidden: Hidden, due: Expectation, slack: float, objective: Objective) -> list[Close]:
    weight = hidden.student.head.weight.detach().double().numpy()
    eps, made = torch.finfo(hidden.student.head.weight.dtype).eps, []
    trained = [objective.trains_image_view, objective.trains_text_view]
    for rows in [rows for rows, is_trained in zip((due.image, due.text), trained, strict=True) if is_trained]:
        with np.errstate(invalid="ignore"):
            allowed = (4.0 * slack + 8 * eps * np.abs(rows)) @ np.abs(weight)
            made.append(Close(rows @ weight, np.nan_to_num(allowed) + 1e-30))
    return made


@covers("token_log_probs_from_hidden", "LMHead")
def fuzz_token_log_probs(rng: np.random.Generator) -> tuple[str, str]:
    """Value and gradient at the hidden states; tokens that could not be drawn are refused, at a masked row too."""
    drawn = logits(rng, 1, (torch.float64, torch.float32))
    view = drawn.views[0]
    if not drawn.n_ids or not len(view) or "masked" in drawn.kind:
        return "ids out of range", judge(
            lambda: _log_probs_of(torch.zeros(2, 3), torch.tensor([0, 3]), None), REFUSED, ""
        )
    kind = pick(rng, (drawn.kind, drawn.kind, "not allowed", "nothing allowed"))
    ids = torch.from_numpy(rng.integers(0, drawn.n_ids, len(view)))
    allowed = None if kind == drawn.kind else torch.zeros(len(view), drawn.n_ids, dtype=torch.bool)
    if kind == "not allowed" and allowed is not None:
        allowed.scatter_(1, ((ids + 1) % drawn.n_ids)[:, None], True)
        kind = drawn.kind if drawn.n_ids == 1 else kind
    seen = (torch.eye(len(view), dtype=view.dtype) @ view).double()
    rows = [normalised(row) for row in seen.tolist()]
    value = [math.nan if row is None else float(row[token]) for row, token in zip(rows, ids.tolist(), strict=True)]
    slack, of_gradients = slack_of([view])
    expected = REFUSED if kind.endswith("allowed") else [Close(value, slack), _pulled(rows, ids, seen, of_gradients)]
    return kind, judge(lambda: _log_probs_of(view, ids, allowed), expected, kind)


def _log_probs_of(view: Tensor, ids: Tensor, allowed: Tensor | None) -> list[Tensor]:
    hidden = torch.eye(len(view), dtype=view.dtype).requires_grad_()
    found = token_log_probs_from_hidden(hidden, LMHead(view.T.contiguous()), ids, allowed=allowed, chunk=2)
    return [found, torch.autograd.grad(found.sum(), hidden)[0]]


def _pulled(rows: Sequence[Row | None], ids: Tensor, seen: Tensor, slack: float) -> Close:
    made = []
    for row, token in zip(rows, ids.tolist(), strict=True):
        p = np.full(seen.shape[1], math.nan) if row is None else np.exp([float(x) for x in row])
        with np.errstate(invalid="ignore"):
            made.append((np.eye(seen.shape[1])[token] - p) @ seen.numpy().T)
    return Close(np.array(made), 4 * slack * seen.shape[1])


@covers("LMHead")
def fuzz_head(rng: np.random.Generator) -> tuple[str, str]:
    """Scales and caps against their definition; settings out of range."""
    kind = pick(rng, ("plain", "scaled", "capped", "scale", "softcap", "n_ids", "masked", "bias"))
    weight, hidden = torch.from_numpy(rng.standard_normal((5, 3))), torch.from_numpy(rng.standard_normal((4, 3)))
    bad = float(pick(rng, (math.nan, math.inf, 0.0, -1.0)))
    settings: dict = {
        "scaled": {"scale": 0.3},
        "capped": {"softcap": 2.0, "scale": 50.0},
        "scale": {"scale": bad},
        "softcap": {"softcap": bad},
        "n_ids": {"n_ids": pick(rng, (-1, 6))},
        "masked": {"masked": (pick(rng, (-1, 5)),)},
        "bias": {"bias": torch.zeros(4).double()},
    }.get(kind, {})
    value = settings.get("scale", 1.0) * (hidden @ weight.T).numpy()
    value = 2.0 * np.tanh(value / 2.0) if kind == "capped" else value
    expected = [Close(value, 1e-12)] if kind in ("plain", "scaled", "capped") else REFUSED
    return kind, judge(lambda: [LMHead(weight, **settings).logits(hidden)], expected, kind)
