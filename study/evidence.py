"""What the runs of two arms say about their difference in one quantity, by the one rule of `study.rules`.

Everything that judges runs of training goes through here: `study.comparison` and `study.claims`.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from geometry.objective_settings import GAMMA, LAMBDA, READ_BY
from stats.bootstrap import Array
from stats.planning import detectable, power, seeds_needed
from stats.welch import Difference, Prior, Sample, compare, constant, sample
from study.arms import ARMS, INITIAL
from study.rules import ACCURACY_MARGIN, ALPHA, POOLED_BELOW, POWER, PRESERVED_FROM, PRIOR_DF, STABLE_SD, UNSTABLE_SD


@dataclass(frozen=True)
class Evidence:
    """Two samples of runs, and what is asked of their difference; all numbers in the unit of the values."""

    ours: Sample
    theirs: Sample
    least: float
    """Our least seed minus the mean of the other arm; shown, and not judged by."""
    greatest: float
    margin: float
    """Arms closer than this are equivalent."""
    paper_effect: float = math.nan
    """The difference that the paper publishes; nan if it has none."""
    n_tests: int = 1
    """Size of the family of primary contrasts that the difference belongs to; 1 for an exploratory one."""
    p_holm: float = math.nan
    """The adjusted p-value of a primary contrast; nan for an exploratory one."""

    @property
    def difference(self) -> Difference:
        """Ours minus theirs."""
        return compare(self.ours, self.theirs)

    @property
    def judged(self) -> bool:
        """Whether both arms have two seeds, or one is a constant."""
        return min(one.n for one in (self.ours, self.theirs) if math.isfinite(one.df)) > 1

    @property
    def primary(self) -> bool:
        """Whether the difference is one of the primary contrasts."""
        return self.n_tests > 1

    @property
    def p(self) -> float:
        """The p-value that counts: Holm's for a primary contrast."""
        return self.p_holm if self.primary else self.difference.p_value()

    @property
    def equivalent(self) -> bool:
        """Whether two one-sided tests put the difference inside the margin."""
        return self.difference.p_equivalent(self.margin) < ALPHA

    @property
    def alpha(self) -> float:
        """The level that power is stated at: of a primary contrast the strictest that Holm asks for."""
        return ALPHA / self.n_tests

    @property
    def detectable(self) -> float:
        """The smallest true difference that these runs would find with a chance of `POWER`."""
        return detectable(self.difference, POWER, self.alpha)

    @property
    def power(self) -> float:
        """The chance that these runs find the paper's effect; nan if it has none."""
        return math.nan if math.isnan(self.paper_effect) else power(self.paper_effect, self.difference, self.alpha)

    @property
    def seeds_needed(self) -> float:
        """The seeds in each arm that find a difference as large as the margin with a chance of `POWER`."""
        return seeds_needed(self.margin, self.ours, self.theirs, POWER, self.alpha)

    def verdict(self, above: str, below: str) -> str:
        """Return `above` or `below` for a difference that counts, else equivalent, undecided or not judged."""
        if not self.judged:
            return "not judged"
        if self.p < ALPHA:
            return above if self.difference.value > 0 else below
        return "equivalent" if self.equivalent else "undecided"


@dataclass(frozen=True)
class Terms:
    """What a quantity is judged by: the margin, the prior SD of each arm, and what the paper has."""

    margin: float
    priors: tuple[float | None, float | None] = (None, None)
    paper_effect: float = math.nan
    n_tests: int = 1


def between(ours: Float[Array, " seeds"], theirs: Float[Array, " others"] | float, terms: Terms) -> Evidence:
    """Return the evidence of two arms: one number for each seed, or one constant in place of the second arm."""
    ours = np.asarray(ours, dtype=float)
    first = _sample(ours, terms.priors[0])
    second = constant(theirs) if isinstance(theirs, float) else _sample(np.asarray(theirs), terms.priors[1])
    ends = float(ours.min()) - second.mean, float(ours.max()) - second.mean
    return Evidence(first, second, *ends, terms.margin, terms.paper_effect, terms.n_tests)


def _sample(values: np.ndarray, prior_sd: float | None) -> Sample:
    few = prior_sd is not None and len(values) < POOLED_BELOW
    return sample(values, Prior(prior_sd, PRIOR_DF) if few and prior_sd else None)


def accuracy_terms(arm: str, other: str, paper_effect: float = math.nan, n_tests: int = 1) -> Terms:
    """Return the terms of an accuracy in points on scenes that need the picture."""
    return Terms(ACCURACY_MARGIN, (prior_sd(arm), prior_sd(other)), paper_effect, n_tests)


def prior_sd(arm: str) -> float:
    """Return the prior SD of an arm's accuracy in points: by whether it is steered without preservation.

    An arm that is not in `study.arms` counts as one that is.
    """
    if arm == INITIAL:
        return STABLE_SD
    flags = ARMS.get(arm)
    if flags is None:
        return UNSTABLE_SD
    objective = str(flags["objective"]).removeprefix("grpo+")
    steered = objective in READ_BY["gamma"] and flags.get("gamma", GAMMA) > 0
    preserved = objective in READ_BY["lambda_"] and flags.get("lambda_", LAMBDA) >= PRESERVED_FROM
    return UNSTABLE_SD if steered and not preserved else STABLE_SD
