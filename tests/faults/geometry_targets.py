"""Hostile inputs to the steered target, the first student's language loss, the halfway gamma and means of prompts."""

import math

import numpy as np
import torch

from geometry import (
    FourViews,
    Gram,
    HiddenViews,
    LMHead,
    TextView,
    halfway_gamma,
    language_from_hidden,
    steered_target,
)
from stats import prompt_mean
from tests.faults.judging import REFUSED, Close, covers, judge


def _one_of(rng: np.random.Generator, kinds: tuple[str, ...]) -> str:
    return kinds[int(rng.integers(len(kinds)))]


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@covers("steered_target")
def fuzz_steered_target(rng: np.random.Generator) -> tuple[str, str]:
    kind = _one_of(rng, ("ordinary", "large", "gamma of nan", "negative gamma", "one id"))
    n_ids = 1 if kind == "one id" else 5
    p_image, p_text, q_image, q_text = rng.normal(size=(4, 3, n_ids)) * (1e4 if kind == "large" else 1.0)
    gamma = {"gamma of nan": math.nan, "negative gamma": -0.5}.get(kind, float(rng.exponential(2.0)))
    views = FourViews(*(torch.from_numpy(view) for view in (p_image, p_text, q_image, q_text)))
    damped = gamma / (1 + gamma) * (_log_softmax(p_text) - _log_softmax(q_text))
    expected = _log_softmax(_log_softmax(q_image) + damped)
    bad = kind in ("gamma of nan", "negative gamma")
    allowed = 1e-12 * (1 + np.abs(expected))
    return kind, judge(lambda: [steered_target(views, gamma)], REFUSED if bad else [Close(expected, allowed)], kind)


@covers("language_from_hidden", "TextView")
def fuzz_language_from_hidden(rng: np.random.Generator) -> tuple[str, str]:
    kind = _one_of(rng, ("ordinary", "equal", "fewer tokens", "other ids", "chunk of 0"))
    own, text, image = (torch.from_numpy(rng.normal(size=(4, 3))) for _ in range(3))
    weight = torch.from_numpy(rng.normal(size=(6, 3)))
    other = weight if kind == "equal" else torch.from_numpy(rng.normal(size=(6, 3)))
    text = own.clone() if kind == "equal" else text
    student = TextView(
        own[:2] if kind == "fewer tokens" else own, LMHead(weight, n_ids=5 if kind == "other ids" else 6)
    )
    teacher = HiddenViews(image, text, LMHead(other))
    p, q = (_log_softmax((h @ w.T).numpy()) for h, w in ((own, weight), (text, other)))
    expected = (np.exp(p) * (p - q)).sum(axis=-1)
    bad = kind in ("fewer tokens", "other ids", "chunk of 0")
    call = lambda: [language_from_hidden(student, teacher, chunk=0 if kind == "chunk of 0" else 2)]  # noqa: E731
    return kind, judge(call, REFUSED if bad else [Close(expected, 1e-12)], kind)


@covers("halfway_gamma")
def fuzz_halfway_gamma(rng: np.random.Generator) -> tuple[str, str]:
    kind = _one_of(rng, ("ordinary", "no visual gradient", "capped"))
    standard, visual = rng.normal(size=(2, 4))
    visual = visual * (kind != "no visual gradient")
    prior = standard - visual
    vectors = torch.from_numpy(np.stack([visual, prior, rng.normal(size=4), rng.normal(size=4)]))
    most = 0.5 if kind == "capped" else math.inf
    length = float(np.linalg.norm(visual))
    expected = min(float(np.linalg.norm(standard)) / length, most) if length else 0.0
    gram = Gram(vectors @ vectors.T)
    return kind, judge(lambda: [[halfway_gamma(gram, most)]], [Close([expected], 1e-9 * (1 + expected))], kind)


@covers("prompt_mean")
def fuzz_prompt_mean(rng: np.random.Generator) -> tuple[str, str]:
    kind = _one_of(rng, ("one for each prompt", "one prompt", "confidence"))
    n = 1 if kind == "one prompt" else int(rng.integers(3, 9))
    values, prompts = rng.normal(size=n), np.arange(n)
    confidence = 1.5 if kind == "confidence" else 0.95

    def call() -> list[list[float]]:
        interval = prompt_mean(values, prompts, confidence)
        return [[interval.estimate], [interval.low, interval.high]]

    from scipy.stats import t

    half = math.nan
    if n > 1 and kind != "confidence":
        half = float(t.ppf(0.975, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    mean = float(values.mean())
    expected = [Close([mean], 1e-12), Close([mean - half, mean + half], 1e-9)]
    return kind, judge(call, REFUSED if kind == "confidence" else expected, kind)
