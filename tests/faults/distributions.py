"""The definitions of arXiv:2606.00564 over one token's ids in mpmath: a twin that neither rounds nor underflows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mpmath import mp, mpf

mp.dps = 40
Row = list
"""Log-probabilities of the ids of one token, -inf for a masked one; a token without a distribution has None."""


def normalised(logits: Sequence[float]) -> Row | None:
    """Return log-probabilities; None where a logit is nan or inf, or all are masked."""
    finite = [mpf(x) for x in logits if x != -math.inf]
    if not finite or any(math.isnan(x) or x == math.inf for x in logits):
        return None
    return shifted([mp.ninf if x == -math.inf else mpf(x) for x in logits])


def shifted(row: Row) -> Row:
    """Return a row minus the logarithm of its sum."""
    largest = max(row)
    total = largest + mp.log(mp.fsum(mp.exp(x - largest) for x in row if x != mp.ninf))
    return [x - total if x != mp.ninf else x for x in row]


def ratio(a: Row, b: Row) -> Row:
    """Return log a - log b, 0 at masked ids."""
    return [mpf(0) if x == mp.ninf else x - y for x, y in zip(a, b, strict=True)]


def kl(a: Row | None, b: Row | None) -> float:
    """Return KL(a || b) in nats."""
    if a is None or b is None:
        return math.nan
    return max(float(mp.fsum(mp.exp(x) * r for x, r in zip(a, ratio(a, b), strict=True))), 0.0)


def entropy(a: Row | None) -> float:
    """Return the entropy in nats."""
    return math.nan if a is None else float(-mp.fsum(mp.exp(x) * x for x in a if x != mp.ninf))


def target(prior: Row | None, q_image: Row | None, q_text: Row | None) -> Row | None:
    """Return log q* (Eq. 10)."""
    if prior is None or q_image is None or q_text is None:
        return None
    use = ratio(q_image, q_text)
    return shifted([x if x == mp.ninf else x + u for x, u in zip(prior, use, strict=True)])


def centred(a: Row | None, b: Row | None) -> list[float] | None:
    """Return `p (r - E[r])` with p of `a` and r = log a - log b."""
    return centred_at(a, a, b)


def centred_at(at: Row | None, a: Row | None, b: Row | None) -> list[float] | None:
    """Return `p (r - E[r])` with p of `at` and r = log a - log b."""
    if a is None or b is None or at is None:
        return None
    r, p = ratio(a, b), [mp.exp(x) for x in at]
    mean = mp.fsum(x * y for x, y in zip(p, r, strict=True))
    return [float(x * (y - mean)) for x, y in zip(p, r, strict=True)]


def difference(a: Row | None, b: Row | None) -> list[float] | None:
    """Return a - b, of probabilities."""
    if a is None or b is None:
        return None
    return [float(mp.exp(x) - mp.exp(y)) for x, y in zip(a, b, strict=True)]


def buckets(row: Row | None, ids: Sequence[int]) -> Row | None:
    """Return the log-probabilities at some ids, and that of all others together."""
    if row is None:
        return None
    others = [x for place, x in enumerate(row) if place not in set(ids) and x != mp.ninf]
    tail = mp.log(mp.fsum(mp.exp(x) for x in others)) if others else mp.ninf
    return [*(row[place] for place in ids), tail]


@dataclass(frozen=True)
class Token:
    """The distributions of one token under the four views, the prior of q*, and q*."""

    p_image: Row | None
    p_text: Row | None
    q_image: Row | None
    q_text: Row | None
    prior: Row | None

    @classmethod
    def of_logits(cls, *views: Sequence[float]) -> "Token":
        """Make a token from the logits of four views, or five with another prior."""
        rows = [normalised(view) for view in views]
        return cls(*rows[:4], rows[4] if len(rows) > 4 else rows[1])

    @property
    def target(self) -> Row | None:
        """log q*."""
        return target(self.prior, self.q_image, self.q_text)

    @property
    def parts(self) -> dict[str, float]:
        """The divergences that `decompose` returns."""
        return {
            "standard": kl(self.p_image, self.q_image),
            "language": kl(self.p_text, self.q_text),
            "visual": kl(self.p_image, self.target),
            "vds": kl(self.q_image, self.q_text),
            "student_vds": kl(self.p_image, self.p_text),
        }

    @property
    def cotangents(self) -> dict[str, list[float] | None]:
        """The gradients at the logits that `cotangents` returns, with the student's own prior in q*."""
        return {
            "standard": centred(self.p_image, self.q_image),
            "language": centred(self.p_text, self.q_text),
            "visual": centred(self.p_image, self.target),
            "prior": centred_at(self.p_image, self.prior, self.q_text),
            "shift": difference(self.target, self.p_image),
        }
