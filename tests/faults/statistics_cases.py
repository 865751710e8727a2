"""Hostile numbers into the statistics; the twins are the definitions in plain numpy."""

import math
import warnings

import numpy as np
from scipy.stats import ttest_ind

import stats
from tests.faults.judging import REFUSED, Close, covers, judge, pick

NOT_CONFIDENCES = (0.0, 1.0, 2.0, 95.0, -0.5, math.nan)


def drawn(rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """Draw some values."""
    kind = pick(rng, ("ordinary", "equal", "nan", "inf", "none", "one", "huge"))
    values = rng.standard_normal({"none": 0, "one": 1}.get(kind, 6)) * (1e150 if kind == "huge" else 1.0)
    if kind == "equal":
        values[:] = 0.1
    elif kind in ("nan", "inf"):
        values[2] = {"nan": math.nan, "inf": math.inf}[kind]
    return kind, values


@covers("bootstrap_interval", "bootstrap_of_mean", "Interval")
def fuzz_bootstrap(rng: np.random.Generator) -> tuple[str, str]:
    """Bounds of nan by rule, else bounds that the plain resamples have; the draws are those of scipy's generator."""
    kind, values = drawn(rng)
    bad = pick(rng, ("", "", "", "confidence", "resamples", "length", "names"))
    confidence = float(pick(rng, NOT_CONFIDENCES)) if bad == "confidence" else 0.9
    prompts: np.ndarray = np.arange(len(values)) // 2 * 1.0
    prompts = prompts[:-1] if bad == "length" and len(values) else prompts
    if bad == "names" and len(values):
        prompts[0] = math.nan
    of_mean, options = bool(rng.integers(2)), {"confidence": confidence, "n_resamples": 1 if bad == "resamples" else 50}

    def call() -> list[list[float]]:
        if of_mean:
            found = stats.bootstrap_of_mean(values, prompts, lambda means: means, **options)
        else:
            found = stats.bootstrap_interval(values, prompts, **options)
        return [[found.low, found.estimate, found.high]]

    refused = bad in ("confidence", "resamples") or (bad and len(values))
    expected = (
        REFUSED if refused else [Close(_plain(values, of_mean), 1e-9 * np.nan_to_num(np.abs(values)).max(initial=1.0))]
    )
    return f"{kind} {bad}", judge(call, expected, kind)


def _plain(values: np.ndarray, of_mean: bool) -> list[float]:
    kept = values if of_mean else values[~np.isnan(values)]
    prompts = (np.arange(len(values)) // 2)[slice(None) if of_mean else ~np.isnan(values)]
    names = np.unique(prompts)
    estimate = float(np.mean(kept)) if len(kept) else math.nan
    if len(names) < 2 or not np.isfinite(kept).all():
        return [math.nan, estimate, math.nan]
    draws = np.random.default_rng(0).integers(0, len(names), (50, len(names)))
    means = [np.concatenate([kept[prompts == names[k]] for k in row]).mean() for row in draws]
    low, high = np.quantile(means, [0.05, 0.95])
    return [float(low), estimate, float(high)]


@covers("sample", "Sample", "Prior", "constant", "compare", "Difference")
def fuzz_welch(rng: np.random.Generator) -> tuple[str, str]:
    """Means, SDs and p-values against scipy's Welch test."""
    kind, values = drawn(rng)
    bad = pick(rng, ("", "", "confidence", "axes", "margin", "prior"))
    confidence = float(pick(rng, NOT_CONFIDENCES)) if bad == "confidence" else 0.95
    margin = float(pick(rng, (-1.0, math.nan))) if bad == "margin" else 0.5
    given, other = (np.ones((2, 2)) if bad == "axes" else values), np.array([0.0, 1.0, 3.0])

    def call() -> list[list[float]]:
        prior = stats.Prior(float(pick(rng, (math.nan, -1.0, math.inf))), 3) if bad == "prior" else None
        own = stats.sample(given, prior)
        found = stats.compare(own, stats.sample(other))
        against = stats.compare(own, stats.constant(0.25)).value
        low, high = found.interval(confidence)
        return [[own.mean, own.sd, against, high - low], [found.p_value(), float(found.p_equivalent(margin) > 0.5)]]

    if bad or not len(values):
        return f"{kind} {bad}", judge(call, REFUSED, kind)
    return kind, judge(call, _welch(values, other), kind)


def _welch(values: np.ndarray, other: np.ndarray) -> list[Close]:
    mean, sd, width, p, apart = float(np.mean(values)), math.nan, math.nan, math.nan, 0.0
    if len(values) > 1 and np.isfinite(values).all():
        unit = np.abs(values).max()  # scipy's own squares overflow
        with warnings.catch_warnings(action="ignore"):  # of equal values
            twin = ttest_ind(values / unit, other / unit, equal_var=False)
        ends = twin.confidence_interval(0.95)
        sd, width, p = float(np.std(values, ddof=1)), float(unit * (ends.high - ends.low)), float(twin.pvalue)
        apart = float(abs(mean - other.mean()) > 0.5)
    size = np.abs(values[np.isfinite(values)]).max(initial=1.0)
    return [Close([mean, sd, mean - 0.25, width], 1e-7 * size), Close([p, apart], 1e-7)]


@covers("power", "detectable", "seeds_needed")
def fuzz_planning(rng: np.random.Generator) -> tuple[str, str]:
    """The smallest effect that is found, and the seeds for it, have the power asked for; settings out of range."""
    kind = pick(rng, ("ordinary", "no error", "unknown", "chance", "alpha", "order", "effect"))
    chance, alpha, effect = 0.8, 0.05, 1.0
    if kind in ("chance", "alpha"):
        chance, alpha = (float(pick(rng, NOT_CONFIDENCES)), 0.05) if kind == "chance" else (0.8, 2.0)
    elif kind == "order":
        chance = 0.01
    elif kind == "effect":
        effect = float(pick(rng, (0.0, math.nan, math.inf)))
    sd = {"no error": 0.0, "unknown": math.nan}.get(kind, float(rng.uniform(0.3, 2.0)))
    own = stats.Sample(0.0, sd, 4, 3)

    def call() -> list[float]:
        seeds = stats.seeds_needed(effect, own, own, chance, alpha)
        difference = stats.compare(own, own)
        least = stats.detectable(difference, chance, alpha)
        here, below = (stats.Sample(0.0, sd, int(n), int(n) - 1) for n in (np.nan_to_num(seeds, nan=2.0), 2))
        enough = stats.power(effect, stats.compare(here, here), alpha) >= chance
        fewer = stats.power(effect, stats.compare(below, below), alpha) < chance or seeds == 2
        return [stats.power(least, difference, alpha), float(enough and fewer)]

    due = {"unknown": [Close(math.nan), Close(0.0)], "no error": [Close(0.05), Close(1.0)]}
    usual = due.get(kind, [Close(0.8, 1e-4), Close(1.0)])
    return kind, judge(call, REFUSED if kind in ("chance", "alpha", "order", "effect") else usual, kind)


@covers("holm", "ratio_of_sds")
def fuzz_families(rng: np.random.Generator) -> tuple[str, str]:
    """Adjusted p-values by their definition, and a ratio of SDs; what is no chance, no arm, no spread."""
    kind = pick(rng, ("ordinary", "nan", "none", "beyond", "family", "no seed", "no spread", "inf", "confidence"))
    p = rng.random(0 if kind == "none" else 5)
    if kind in ("nan", "beyond"):
        p[1] = {"nan": math.nan, "beyond": 1.5}[kind]
    order = np.argsort(np.where(np.isnan(p), 1.0, p), kind="stable")
    due = np.full(len(p), math.nan)
    for place in range(len(p)):
        steps = [min(1.0, (len(p) - k) * p[order[k]]) for k in range(list(order).index(place) + 1)]
        due[place] = math.nan if np.isnan(p[place]) else np.nanmax(steps)
    arms = [rng.standard_normal(4), rng.standard_normal(3)]
    other = {"no seed": np.zeros(0), "no spread": np.ones(3), "inf": np.array([1.0, math.inf])}.get(kind, arms[1])
    confidence = float(pick(rng, NOT_CONFIDENCES)) if kind == "confidence" else 0.9
    n_tests = 4 if kind == "family" else None
    ratio = math.nan if kind in ("no spread", "inf") else float(arms[0].std(ddof=1) / arms[1].std(ddof=1))
    call = lambda: [stats.holm(p, n_tests), stats.ratio_of_sds([arms[0]], [other], confidence).estimate]  # noqa: E731
    refused = kind in ("beyond", "family", "no seed", "confidence")
    return kind, judge(call, REFUSED if refused else [Close(due, 1e-12), Close(ratio, 1e-9)], kind)


@covers("wilson", "share_interval")
def fuzz_shares(rng: np.random.Generator) -> tuple[str, str]:
    """The ends solve the score test's quadratic; shares and sizes out of range."""
    kind = pick(rng, ("ordinary", "none right", "all right", "nan", "no trial", "share", "size", "nothing", "unpaired"))
    share, size = {"none right": 0.0, "all right": 1.0, "nan": math.nan, "share": 1.5}.get(kind, rng.random()), 40.0
    size = {"no trial": 0.0, "size": float(pick(rng, (-1.0, math.nan)))}.get(kind, size)
    if kind == "nothing":
        call = lambda: [[(s := stats.share_interval([], [])).low, s.estimate, s.high]]  # noqa: E731
        return kind, judge(call, [Close([math.nan] * 3)], kind)
    if kind == "unpaired":
        return kind, judge(lambda: [stats.share_interval([1, 0], [0])], REFUSED, kind)
    z2 = 1.959964**2
    ends = [math.nan, math.nan]
    if kind not in ("nan", "no trial", "share", "size"):
        ends = sorted(np.roots([1 + z2 / size, -(2 * share + z2 / size), share**2]).real)
    expected = REFUSED if kind in ("share", "size") else [Close(ends, 1e-6)]
    return kind, judge(lambda: [np.array(stats.wilson(share, size))], expected, kind)


@covers("chain_order")
def fuzz_chain(rng: np.random.Generator) -> tuple[str, str]:
    """Pairs are distinct, of one bin and two prompts, at least as many as the tokens of bins with two prompts."""
    kind, n = pick(rng, ("ordinary", "one prompt", "no bin", "none", "unpaired", "nan prompts", "nan bins")), 12
    bins, prompts = rng.integers(-1, 3, n).astype(float), rng.integers(0, 4, n).astype(float)
    if kind == "one prompt":
        prompts[:] = 7.0
    elif kind == "no bin":
        bins[:] = -1.0
    elif kind == "none":
        bins, prompts = bins[:0], prompts[:0]
    elif kind == "unpaired":
        prompts = prompts[1:]
    elif kind.startswith("nan"):
        (prompts if kind == "nan prompts" else bins)[0] = math.nan

    def call() -> list[float]:
        pairs = stats.chain_order(bins, prompts, np.random.default_rng(1))
        one, two = pairs.T if len(pairs) else (np.zeros(0, int), np.zeros(0, int))
        due = sum(np.sum(bins == b) for b in set(bins[bins >= 0]) if len(set(prompts[bins == b])) > 1)
        right = (bins[one] == bins[two]).all() and (prompts[one] != prompts[two]).all() and (bins[one] >= 0).all()
        return [float(right and len(set(map(tuple, pairs.tolist()))) == len(pairs) >= due)]

    bad = kind in ("unpaired", "nan prompts", "nan bins")
    return kind, judge(call, REFUSED if bad else [Close(1.0)], kind)


@covers("upper_bins", "bins_label")
def fuzz_bins_in_words(rng: np.random.Generator) -> tuple[str, str]:
    kind = pick(rng, ("ordinary", "no bins", "nan bins", "no label", "gap"))
    n_bins = {"no bins": 0, "nan bins": math.nan}.get(kind, int(rng.integers(1, 30)))
    bins = {"no label": [], "gap": [1, 5]}.get(kind)
    if bins is not None:
        return kind, judge(lambda: [stats.bins_label(bins)], REFUSED, kind)
    upper = [k for k in range(int(n_bins) if kind == "ordinary" else 0) if k >= min(round(0.7 * n_bins), n_bins - 1)]
    call = lambda: [list(stats.upper_bins(n_bins)), int(stats.bins_label(upper).split("-")[-1].split()[-1])]  # noqa: E731
    return kind, judge(call, [Close(upper), Close(upper[-1])] if upper else REFUSED, kind)
