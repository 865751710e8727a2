"""Pairs of unrelated units: two units of one bin and two prompts, for the null distribution of an angle."""

import numpy as np
from jaxtyping import Int, Shaped

from stats._checks import names_of
from stats.bootstrap import Array


def chain_order(
    bins: Int[Array, " n"], prompts: Shaped[Array, " n"], generator: np.random.Generator
) -> Int[np.ndarray, "pairs 2"]:
    """Return pairs (i, j) of tokens of one bin and two prompts, as chains: each j is the next i if it can be.

    Each bin's tokens form a ring in random order, laid out so that neighbours differ in prompt. Where one
    prompt holds more than half of a bin some neighbours cannot; further rings, shuffled again, then make up
    for the dropped pairs. A bin with tokens of two prompts or more has at least as many pairs as tokens,
    all distinct; a bin with one prompt has none. Tokens in no bin (-1) are left out.

    Raises:
        ValueError: a token has no bin or no prompt: other lengths, or nan.
    """
    bins = names_of(bins, len(bins), "bins")
    prompts = names_of(prompts, len(bins), "prompts")
    pairs: list[tuple[int, int]] = []
    for b in np.unique(bins[bins >= 0]):
        pairs += _bin_pairs(np.flatnonzero(bins == b), prompts, generator)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _bin_pairs(tokens: np.ndarray, prompts: np.ndarray, generator: np.random.Generator) -> list[tuple[int, int]]:
    if len(np.unique(prompts[tokens])) < 2:
        return []
    pairs: dict[tuple[int, int], None] = {}  # in order of insertion, without repeats
    while len(pairs) < len(tokens):
        ring = _ring(tokens, prompts, generator).tolist()
        for i, j in zip(ring, ring[1:] + ring[:1], strict=True):
            if prompts[i] != prompts[j]:
                pairs.setdefault((i, j))
    return list(pairs)


def _ring(tokens: np.ndarray, prompts: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Order tokens in a ring: prompt by prompt, the most frequent first, in places 0, 2, 4, ..., 1, 3, 5, ...

    If no prompt holds more than half of the tokens, no two neighbours, the ends included, are of the same
    prompt: a prompt that wraps from the even into the odd places would need more tokens than the first to
    meet itself.
    """
    shuffled = generator.permutation(tokens)
    _, member, counts = np.unique(prompts[shuffled], return_inverse=True, return_counts=True)
    tie_break = generator.permutation(len(counts))
    by_prompt = shuffled[np.lexsort((tie_break[member], -counts[member]))]
    ring = np.empty_like(by_prompt)
    n_even = (len(ring) + 1) // 2
    ring[0::2], ring[1::2] = by_prompt[:n_even], by_prompt[n_even:]
    return _stirred(ring, np.unique(prompts[ring], return_inverse=True)[1], generator)


def _stirred(ring: np.ndarray, members: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Swap places at random, never adding neighbours of one prompt: else two prompts would meet all along."""
    n = len(ring)
    order, member = list(range(n)), members.tolist()

    def clashes(*places: int) -> int:
        links = {(place + step) % n for place in places for step in (0, 1)}
        return sum(member[order[link - 1]] == member[order[link]] for link in links)

    for a, b in generator.integers(n, size=(10 * n, 2)).tolist():
        before = clashes(a, b)
        order[a], order[b] = order[b], order[a]
        if clashes(a, b) > before:
            order[a], order[b] = order[b], order[a]
    return ring[order]
