"""How many responses are cut at the greatest length, and from which share on nothing should be measured on them.

A response that is cut has no end: nothing measured on it says how the student finishes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.errors import UserError
from cli.visible import print_err

if TYPE_CHECKING:
    from vlm.responses.rollouts import Rollout

WARNED, REFUSED = 0.2, 0.8
"""Shares of truncated responses above which a user is warned, and above which work ends."""


class TruncatedError(UserError):
    """Nearly all responses are cut; the message says how many, and how to go on."""


@dataclass(frozen=True)
class Truncation:
    """How many of some responses are cut.

    at: the longest response, tokens; None for responses from elsewhere, which then have no end token.
    """

    n_cut: int
    n_responses: int
    at: int | None = None

    @property
    def share(self) -> float:
        """Share of the responses that are cut; 0 without any response."""
        return self.n_cut / self.n_responses if self.n_responses else 0.0

    @property
    def is_refused(self) -> bool:
        """Whether so many are cut that nothing should be measured on them."""
        return self.share > REFUSED

    def __str__(self) -> str:
        how = "of `rollouts` have no end token" if self.at is None else f"are truncated at `max_response` {self.at}"
        return f"{self.n_cut} of {self.n_responses} responses ({100 * self.share:.0f} %) {how}"

    def say(self) -> None:
        """Print the number on stderr, as a warning where it is large; nothing where none is cut."""
        if not self.n_cut:
            return
        if self.share > WARNED:
            print_err(f"warning: {self}: {self._way_out}")
        else:
            print_err(f"note: {self}")

    def settle(self, *, allowed: bool) -> None:
        """Say how many are cut, and refuse to go on where these are nearly all.

        Raises:
            TruncatedError: more than `REFUSED` are, and this is not allowed.
        """
        if self.is_refused and not allowed:
            raise TruncatedError(
                f"{self}, above {100 * REFUSED:.0f} %: {self._way_out}, or add --allow-truncated to go on with these"
            )
        self.say()

    @property
    def _way_out(self) -> str:
        return "give responses with their end token" if self.at is None else "raise `max_response`"


def truncation(rollouts: "Iterable[Rollout]", at: int | None = None) -> Truncation:
    """Count the responses that are cut; `at` as in `Truncation`."""
    cut = [rollout.truncated for rollout in rollouts]
    return Truncation(sum(cut), len(cut), at)
