"""The rules by which differences between arms count: constants, stated before the runs that they judge.

**Test.** Two arms are compared by Welch's t over seeds, unpaired: an arm gives one number for each seed. The range of
the seeds is shown, and nothing is judged by it. An arm needs two seeds. The untrained student is a constant.

**Few seeds.** With fewer than `POOLED_BELOW` seeds, the variance of an arm's accuracy on scenes `PRIMARY_GROUP` is

    (PRIOR_DF * prior_sd^2 + (n - 1) * s^2) / (PRIOR_DF + n - 1)

where `s` is the SD of its `n` seeds and `prior_sd` is that of its kind, `STABLE_SD` or `UNSTABLE_SD`. It has
`PRIOR_DF + n - 1` degrees of freedom. Two arms may share a prior. If a prior is used, the test therefore takes the
smaller degrees of freedom of the two arms, and else Welch-Satterthwaite's. Other quantities have no prior: their SD is
that of the seeds. False positives stay at or below 5 % while the true SD is at most 1.25 times the prior; at 1.5 times
they are 7 %. The tests of this module hold both by simulation.

**Primary contrasts.** `PRIMARY` names three, by accuracy on scenes `PRIMARY_GROUP`, seeds `PRIMARY_SEEDS`. Holm adjusts
their p-values for three tests; a contrast that is not measured yet counts with p = 1. All other comparisons are
exploratory: unadjusted, and marked so.

**No difference.** Two arms are equivalent if two one-sided tests at `ALPHA` put the difference inside the margin.
A difference that is neither shown nor excluded is undecided.

**Pairs with set gaps.** The primary endpoint is the change of the standard loss in the upper bins over a run, on the
first student's responses. It is compared by Student's t over the seeds' differences, because arms of a seed share their
prompts and these responses: in a pilot, seeds `PILOT_SEEDS`, the SD of a difference was a sixth of that of a change.
Grid points are judged by seeds `GRID_SEEDS`.

**Right answers on such pairs.** Runs `LONG_RUN` of `LONG_ARMS` on `LONG_PAIRS`, seeds `GRID_SEEDS`, answer the prompts
with the average of their last weights, as those of the primary contrasts do; runs on the grid answer with their last
weights. Each arm is compared with standard, and the two arms of a primary contrast with each other, by Student's t over
the seeds' differences in accuracy on scenes `PRIMARY_GROUP`. All of it is exploratory: unadjusted, and each pair judged
by itself.

**Speed.** "VGS lowers the visual loss faster" is about arms `SPEED_ARMS`. It is judged by the mean of the visual loss
on the rollouts of training over steps `SPEED_STEPS`, for seeds from `SPEED_FROM_SEED` on. The standard loss over the
same steps is stated with it. Earlier seeds were seen before the rule and are marked so.
"""

from typing import Final

STANDARD: Final = "standard"
"""The arm that most others are compared with."""
PRIMARY: Final = (
    ("vgs", "standard"),
    ("vgs-frozen", "standard"),
    ("vgs-lp-lambda-1", "vgs-lp-gamma-0-lambda-1"),
)
"""The primary contrasts: gamma 2, gamma 2 with a frozen prior, and gamma 2 with lambda 1 against lambda 1 alone."""
PRIMARY_GROUP: Final = "high"
"""The scenes of the primary endpoint: those that need the picture."""
PRIMARY_SEEDS: Final = range(8)
ALPHA: Final = 0.05
"""Of a two-sided test, and of each of two one-sided tests of equivalence."""
POWER: Final = 0.8
"""The power at which the smallest detectable effect and the number of seeds are stated."""

POOLED_BELOW: Final = 6
"""Number of seeds of an arm from which on its own SD is used alone."""
STABLE_SD: Final = 2.0
"""Points: prior SD over seeds of an arm that is preserved (lambda at least 1) or not steered (gamma 0)."""
UNSTABLE_SD: Final = 4.6
"""Points: prior SD over seeds of an arm that is steered without preservation."""
PRESERVED_FROM: Final = 1.0
"""The lambda from which on a steered arm counts as preserved."""
PRIOR_DF: Final = 4
"""Degrees of freedom that the prior SD counts for."""

ACCURACY_MARGIN: Final = 2.0
"""Points: arms closer than this are equivalent in accuracy."""
LOSS_MARGIN: Final = 0.02
"""Nats: arms closer than this are equivalent in a loss."""

SPEED_ARMS: Final = ("vgs", "standard")
SPEED_STEPS: Final = range(10, 151)
SPEED_FROM_SEED: Final = 4

PILOT_SEEDS: Final = range(30, 36)
GRID_SEEDS: Final = range(8)

LONG_PAIRS: Final = ("language", "both", "conflict")
LONG_ARMS: Final = ("standard", *dict.fromkeys(arm for two in PRIMARY for arm in two if arm != STANDARD))
LONG_RUN: Final = {"steps": 150, "lr": 3e-5, "answers": 4000, "weight_average": 1 / 3}
"""Rate times steps is 0.0045; on the grid it is 0.0048."""

TRIAL_ARM: Final = "standard"
"""The arm on which ways to lessen the noise of a run are tried."""
TRIAL_SEEDS: Final = range(20, 26)
TRIAL_TIE: Final = 1.1
"""The average of the weights is chosen if its SD is at most this many times the smallest SD."""
