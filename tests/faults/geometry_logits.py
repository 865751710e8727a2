"""Hostile logits into the functions of one response: divergences, cotangents, scores, top K, sensitivity."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from geometry import (
    Cotangents,
    cotangents,
    decompose,
    kl_nats,
    log_probs,
    sensitivity,
    token_lengths,
    token_scores,
    top_ids,
    topk_log_probs,
    visual_target,
    with_tail,
)
from tests.faults.distributions import Row, Token, buckets, centred, difference, entropy, kl, normalised
from tests.faults.hostile import DTYPES, Logits, logits
from tests.faults.judging import REFUSED, Close, Expected, covers, judge, pick

PARTS = ("standard", "language", "visual", "vds", "student_vds")


def of_divergences(values: Sequence[float], rounding: float) -> Close:
    """Expect divergences: `p (e^-r - 1 + r)` has a relative error of 2 / r times that of r."""
    value = np.array(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return Close(value, rounding * (value + np.sqrt(value)) + rounding**2)


def rows_of(rows: Sequence[Sequence[float] | None], n_ids: int) -> np.ndarray:
    """Return rows `[T, V]`, nan for a token that has none."""
    return np.array([[math.nan] * n_ids if row is None else [float(x) for x in row] for row in rows]).reshape(
        len(rows), n_ids
    )


def of_log_probs(rows: Sequence[Row | None], drawn: Logits, n_ids: int) -> Close:
    return Close(rows_of(rows, n_ids), drawn.rounding)


def of_cotangents(rows: Sequence[Sequence[float] | None], drawn: Logits) -> Close:
    """Expect `p (r - E[r])`, which is as exact as r times the largest r."""
    return Close(rows_of(rows, drawn.n_ids), drawn.rounding * (1.0 + _widest(drawn)))


def _widest(drawn: Logits) -> float:
    finite = [view.double().nan_to_num(0.0, 0.0, 0.0).abs() for view in drawn.views]
    return 6.0 * max((float(view.max()) for view in finite if view.numel()), default=0.0)


def refused_or(drawn: Logits, expected: Sequence[Close]) -> Expected:
    """What all functions of four views expect: other masks and no id are refused."""
    return REFUSED if drawn.unlike_masks or not drawn.n_ids else expected


@covers("log_probs")
def fuzz_log_probs(rng: np.random.Generator) -> tuple[str, str]:
    drawn = logits(rng, 1)
    rows = [normalised(row) for row in drawn.views[0].double().tolist()]
    return drawn.kind, judge(lambda: [log_probs(drawn.views[0])], [of_log_probs(rows, drawn, drawn.n_ids)], drawn.kind)


@covers("kl_nats")
def fuzz_kl(rng: np.random.Generator) -> tuple[str, str]:
    """Both arguments as log-probabilities; other masks have a divergence, if an infinite one."""
    drawn = logits(rng, 2, DTYPES[:2])
    a, b = (log_probs(view) for view in drawn.views)
    pairs = zip(*(view.double().tolist() for view in drawn.views), strict=True)
    values = [_kl_of_unlike(normalised(one), normalised(two)) for one, two in pairs]
    expected = [of_divergences(values, drawn.rounding)] if drawn.n_ids else REFUSED
    return drawn.kind, judge(lambda: [kl_nats(a, b)], expected, drawn.kind)


def _kl_of_unlike(a: Row | None, b: Row | None) -> float:
    """The Bregman form, whose terms are non-negative: where p is 0 the term is q."""
    if a is None or b is None:
        return math.nan
    masked = [x == -math.inf for x in map(float, a)], [x == -math.inf for x in map(float, b)]
    if any(there and not here for here, there in zip(*masked, strict=True)):
        return math.inf
    kept = [place for place, mask in enumerate(masked[0]) if not mask]
    return kl([a[place] for place in kept], [b[place] for place in kept])


@covers("decompose", "Decomposition", "FourViews")
def fuzz_decompose(rng: np.random.Generator) -> tuple[str, str]:
    drawn = logits(rng)
    parts = [token.parts for token in drawn.tokens] if not drawn.unlike_masks else []
    expected = [of_divergences([part[name] for part in parts], drawn.rounding * 4) for name in PARTS]
    call = lambda: [getattr(decompose(drawn.four), name) for name in PARTS]  # noqa: E731
    return drawn.kind, judge(call, refused_or(drawn, expected), drawn.kind)


@covers("token_scores", "TokenScores")
def fuzz_token_scores(rng: np.random.Generator) -> tuple[str, str]:
    drawn = logits(rng)
    tokens = drawn.tokens if not drawn.unlike_masks else []
    expected = [of_divergences([token.parts[name] for token in tokens], drawn.rounding * 4) for name in PARTS]
    entropies = Close(np.array([entropy(token.p_image) for token in tokens]), 4 * drawn.rounding)

    def call() -> list[Tensor]:
        scores = token_scores(drawn.four)
        return [*(getattr(scores.parts, name) for name in PARTS), scores.entropy]

    return drawn.kind, judge(call, refused_or(drawn, [*expected, entropies]), drawn.kind)


@covers("visual_target")
def fuzz_visual_target(rng: np.random.Generator) -> tuple[str, str]:
    drawn = logits(rng)
    rows = [] if drawn.unlike_masks else [token.target for token in drawn.tokens]
    expected = refused_or(drawn, [Close(rows_of(rows, drawn.n_ids), 4 * drawn.rounding)])
    return drawn.kind, judge(lambda: [visual_target(drawn.four)], expected, drawn.kind)


@covers("cotangents", "Cotangents")
def fuzz_cotangents(rng: np.random.Generator) -> tuple[str, str]:
    drawn = logits(rng)
    tokens = [] if drawn.unlike_masks else [token.cotangents for token in drawn.tokens]
    names = ("standard", "language", "visual", "prior", "shift")
    expected = refused_or(drawn, [of_cotangents([token[name] for token in tokens], drawn) for name in names])
    call = lambda: [getattr(cotangents(drawn.four), name) for name in names]  # noqa: E731
    return drawn.kind, judge(call, expected, drawn.kind)


@covers("token_lengths")
def fuzz_token_lengths(rng: np.random.Generator) -> tuple[str, str]:
    """Rows whose squares are 0 or inf have a length all the same."""
    dtype, kind = (
        pick(rng, DTYPES[:2]),
        pick(rng, ("ordinary", "underflow", "overflow", "zero", "nan", "inf", "no token")),
    )
    row = rng.standard_normal((0 if kind == "no token" else 3, 5))
    scale = {"underflow": 1e-30, "overflow": 1e30, "zero": 0.0}.get(kind, 1.0)
    rows = torch.from_numpy(scale * row).to(dtype)
    if kind in ("nan", "inf"):
        rows[1, 2] = {"nan": math.nan, "inf": math.inf}[kind]
    squares = rows.double().square().sum(-1).sqrt().numpy()
    expected = np.fmax(squares, torch.finfo(dtype).tiny) if kind != "nan" else squares
    made = Cotangents(*[rows] * 5)
    close = Close(expected, 16 * torch.finfo(dtype).eps * np.nan_to_num(expected, posinf=0.0))
    return kind, judge(lambda: [token_lengths(made)], [close], kind)


@covers("sensitivity", "Sensitivity")
def fuzz_sensitivity(rng: np.random.Generator) -> tuple[str, str]:
    drawn = logits(rng)
    shape = drawn.views[0].shape
    still = rng.random() < 0.2
    image, text = (torch.from_numpy(rng.standard_normal(shape) * (not still)).float() for _ in range(2))
    names = ("standard", "language", "visual", "visual_held", "student_vds")
    tokens = [] if drawn.unlike_masks else drawn.tokens
    rows = [
        _slopes(token.cotangents, token, i, t)
        for token, i, t in zip(tokens, image.double(), text.double(), strict=False)
    ]
    slack = drawn.rounding * (1.0 + _widest(drawn)) * 20.0 * max(drawn.n_ids, 1)
    expected = refused_or(drawn, [Close(np.array([row[name] for row in rows]), slack) for name in names])

    def call() -> list[Tensor]:
        found = sensitivity(drawn.four, image, text)
        return [getattr(found, name) for name in names]

    return f"{drawn.kind}{', still' * still}", judge(call, expected, drawn.kind)


def _slopes(at: dict, token: Token, image: Tensor, text: Tensor) -> dict[str, float]:
    """The derivatives by their table in `geometry.first_order`."""

    def along(row: Sequence[float] | None, tangent: Tensor) -> float:
        return math.nan if row is None else math.fsum(x * y for x, y in zip(row, tangent.tolist(), strict=True))

    p_image, p_text = token.p_image, token.p_text
    held = along(at["visual"], image)
    return {
        "standard": along(at["standard"], image),
        "language": along(at["language"], text),
        "visual": held + along(at["shift"], text),
        "visual_held": held,
        "student_vds": along(centred(p_image, p_text), image) + along(difference(p_text, p_image), text),
    }


@covers("top_ids", "topk_log_probs")
def fuzz_top_k(rng: np.random.Generator) -> tuple[str, str]:
    drawn, k = logits(rng, 1), int(rng.integers(0, 9))
    view = drawn.views[0]
    if not k or not drawn.n_ids:
        bad = view if drawn.n_ids else torch.zeros(2, 3)
        ids = torch.full((2, 1), 3) if not drawn.n_ids else None
        call = (lambda: [top_ids(bad, 0)]) if ids is None else (lambda: [topk_log_probs(bad, ids)])
        return f"{drawn.kind}, bad ids", judge(call, REFUSED, drawn.kind)
    ids = top_ids(view, k)
    chosen = np.sort(np.take_along_axis(view.double().numpy(), ids.numpy(), -1), -1)
    largest = np.sort(view.double().numpy(), -1)[..., max(drawn.n_ids - k, 0) :]
    rows = [buckets(normalised(row), own) for row, own in zip(view.double().tolist(), ids.tolist(), strict=True)]
    value = rows_of(rows, ids.shape[-1] + 1)
    if k >= drawn.n_ids:
        value[:, -1] = -math.inf  # there is no other id, whatever the others are
    expected = [Close(largest), Close(value, 2 * drawn.rounding)]
    return drawn.kind, judge(lambda: [chosen, topk_log_probs(view, ids)], expected, drawn.kind)


@covers("with_tail")
def fuzz_with_tail(rng: np.random.Generator) -> tuple[str, str]:
    kind = pick(rng, ("ordinary", "probability 1", "underflow", "nan", "too much", "nothing", "no id", "no token"))
    n_tokens, n_ids = (0 if kind == "no token" else 2), (0 if kind == "no id" else 3)
    kept = torch.log(torch.from_numpy(rng.dirichlet(np.ones(4), n_tokens)[:, :n_ids])).float()
    for name, row in {"probability 1": 0.0, "nan": math.nan, "too much": 0.5, "nothing": -math.inf}.items():
        if kind == name:
            kept[0] = torch.tensor([row, -math.inf, -math.inf])
    if kind == "underflow":
        kept[0] = -200.0
    eps = float(torch.finfo(torch.float32).eps)
    mass = kept.double().exp().sum(-1, keepdim=True)
    whole = torch.cat([kept.double(), (1.0 - mass).clamp_min(eps).log()], -1)
    value = whole.log_softmax(-1).numpy()
    with np.errstate(over="ignore"):
        loose = np.minimum(1e-5 + 1e-6 * np.exp(-value), 0.2)  # the tail of a mass near 1 is what rounding leaves
    expected = REFUSED if kind == "too much" else [Close(value, loose)]
    return kind, judge(lambda: [with_tail(kept)], expected, kind)
