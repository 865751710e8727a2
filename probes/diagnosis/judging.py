"""How a setting that was tried is judged against standard distillation: it passes, fails, or is undecided.

Losses of the upper three tenths of the bins are judged. Each has a margin (`probes.stages.trial_steps.MARGIN_SHARE`)
and the interval of its difference from standard. A setting

    passes   if every upper bound lies below the margin, and one loss that the setting is for lies surely lower than
             standard's by more than the margin
    fails    if one lower bound lies above the margin, or if no loss that the setting is for can lie lower by more
    else it is undecided

The interval alone decides, so that a wider one turns no other verdict into a pass. Steering is for the visual or the
standard loss, and preservation without steering for the language loss. What would settle an undecided setting follows
from the interval and the margin: its half width shrinks with the square root of the number of prompts, and differences
are taken to grow in proportion to the steps. The next estimate will be another one, so that the prompts are as many as
decide in four of five cases.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from geometry.objective_settings import Prior
from probes.stages.trial_steps import CONFIDENCE
from stats import Interval

_SURE = 1 + NormalDist().inv_cdf(0.8) / NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""How many half widths an estimate must lie from a boundary to be decided with a power of 80 %."""
PASSES, UNDECIDED, NO_GAIN = "passes", "undecided", "no gain"
STEERING_IS_FOR, PRESERVATION_IS_FOR = ("standard", "visual"), ("standard", "language")


@dataclass(frozen=True)
class Needs:
    """How many times the prompts, or the steps, would settle a setting; inf where no number does."""

    prompts: float
    steps: float


@dataclass(frozen=True)
class Difference:
    """How far one loss stands from where standard distillation leaves it, in nats; bounds of nan decide nothing."""

    interval: Interval
    margin_nats: float

    @property
    def is_above(self) -> bool:
        """Whether it is surely above standard's by more than the margin."""
        return self.interval.low > self.margin_nats

    @property
    def is_not_above(self) -> bool:
        """Whether it is surely not above standard's by more than the margin."""
        return self.interval.high < self.margin_nats

    @property
    def is_below(self) -> bool:
        """Whether it is surely below standard's by more than the margin."""
        return self.interval.high < -self.margin_nats

    @property
    def is_not_below(self) -> bool:
        """Whether it is surely not below standard's by more than the margin."""
        return self.interval.low > -self.margin_nats

    def needs(self, boundary_nats: float) -> Needs:
        """Return what would move the whole interval to one side of a boundary that lies inside it."""
        low, high, estimate = self.interval.low, self.interval.high, self.interval.estimate
        half, distance = (high - low) / 2, abs(estimate - boundary_nats)
        prompts = (_SURE * half / distance) ** 2 if distance > 0.0 and half > 0.0 else math.inf
        sure = low if boundary_nats > 0.0 else -high  # the least difference toward the boundary
        return Needs(prompts, abs(boundary_nats) / sure if sure > 0.0 else math.inf)


@dataclass(frozen=True)
class Tried:
    """A setting whose steps were taken, and the differences of its losses by name."""

    gamma: float
    lambda_: float
    prior: Prior
    differences: Mapping[str, Difference]

    @property
    def gains(self) -> list[Difference]:
        """The losses that the setting is for."""
        return [self.differences[loss] for loss in (STEERING_IS_FOR if self.gamma else PRESERVATION_IS_FOR)]

    @property
    def verdict(self) -> str:
        """Return a word or two for the table `trial`."""
        above = [loss for loss, difference in self.differences.items() if difference.is_above]
        if above:
            return f"{' and '.join(above)} above standard"
        if all(gain.is_not_below for gain in self.gains):
            return NO_GAIN
        no_harm = all(difference.is_not_above for difference in self.differences.values())
        return PASSES if no_harm and any(gain.is_below for gain in self.gains) else UNDECIDED

    @property
    def heads_to_pass(self) -> bool:
        """Whether it would pass if the estimates were sure."""
        sure = {loss: replace(one, interval=_sure(one.interval)) for loss, one in self.differences.items()}
        return replace(self, differences=sure).verdict == PASSES

    @property
    def needs(self) -> Needs:
        """What would settle an undecided setting if the estimates stay as they are.

        One loss that heads above its margin settles it, and so do all that it is for if none heads below; else every
        open question has to be settled.
        """
        harms = {one: one.needs(one.margin_nats) for one in self.differences.values() if not one.is_not_above}
        gains = {gain: gain.needs(-gain.margin_nats) for gain in self.gains if not gain.is_not_below}
        if above := [need.prompts for one, need in harms.items() if one.interval.estimate > one.margin_nats]:
            prompts = min(above)
        elif below := [need.prompts for one, need in gains.items() if one.interval.estimate < -one.margin_nats]:
            least = 1.0 if any(gain.is_below for gain in gains) else min(below)
            prompts = max([least, *(need.prompts for need in harms.values())])
        else:
            prompts = max((need.prompts for need in gains.values()), default=math.inf)
        return Needs(prompts, self._steps(list(harms.values()), list(gains.values())))

    def _steps(self, harms: Sequence[Needs], gains: Sequence[Needs]) -> float:
        """A loss that surely rises decides in time, and so does one that surely falls where no harm is open."""
        if any(gain.is_below for gain in self.gains):
            gains = []
        return min((need.steps for need in (harms or gains)), default=math.inf)

    @property
    def words(self) -> str:
        """All differences with their intervals."""
        return ", ".join(f"{signed(one.interval)} nats of {loss} loss" for loss, one in self.differences.items())


def _sure(interval: Interval) -> Interval:
    return Interval(interval.estimate, interval.estimate, interval.estimate)


def signed(interval: Interval) -> str:
    """Return the number with its sign and interval.

    >>> signed(Interval(-0.001, 0.02, 0.0123))
    '+0.012 (-0.001 to 0.02)'
    """
    return f"{interval.estimate:+.2g} ({interval.low:.2g} to {interval.high:.2g})"
