"""The command of a diagnosis that is undecided: the same diagnosis, with the prompts or the steps that would decide."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from cli.options import flag_name
from probes.diagnosis.judging import Needs
from probes.diagnosis.training import Flags, given_fields, shell_words
from probes.settings import WidePairOptions

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

MOST_TIMES: Final = 10.0
"""The command asks for at most so many times the prompts or steps; what they leave open is computed again then."""


@dataclass(frozen=True)
class More:
    """What would decide: a number of prompts, or of steps; inf where no number would."""

    prompts: float
    steps: float

    @property
    def words(self) -> str:
        """Return it as the verdict says it; empty where neither is of use.

        >>> More(340.0, 64.0).words, More(math.inf, 64.0).words, More(math.inf, math.inf).words
        ('needs about 340 prompts or 64 steps', 'needs about 64 steps', 'needs more prompts than can be said')
        """
        parts = [(self.prompts, "prompts"), (self.steps, "steps")]
        said = [f"{int(number)} {name}" for number, name in parts if number < math.inf]
        return f"needs about {' or '.join(said)}" if said else "needs more prompts than can be said"

    @property
    def note(self) -> dict[str, int]:
        """Return the finite numbers by name."""
        both = {"prompts": self.prompts, "steps": self.steps}
        return {name: int(number) for name, number in both.items() if number < math.inf}


def more(needs: Needs, prompts: int, steps: int) -> More:
    """Return how many prompts or steps decide, from how many times as many do; rounded up to two digits.

    >>> more(Needs(5.3, math.inf), 64, 16)
    More(prompts=340.0, steps=inf)
    """
    return More(_rounded(needs.prompts * prompts), _rounded(needs.steps * steps))


def changed_flags(needs: Needs, prompts: int, steps: int) -> dict[str, int]:
    """Return the flag of the cheaper way to a decision, at most `MOST_TIMES` of what it was."""
    if needs.steps < needs.prompts:
        return {"trial_steps": int(_rounded(min(needs.steps, MOST_TIMES) * steps))}
    return {"limit": int(_rounded(min(needs.prompts, MOST_TIMES) * prompts))}


def again_flags(analyzer: "Analyzer", values: Sequence[Any], changed: Flags) -> dict[str, Any] | None:
    """Return the flags of the diagnosis with some changed; None where models, prompts or responses are in memory.

    values: of the probe's own groups of options.
    """
    from probes.models_of_analyzer import IN_MEMORY  # torch

    asked = analyzer.stated_prompt_options
    if IN_MEMORY in (analyzer.checkpoint, asked.prompts) or (analyzer.stored is not None and not asked.rollouts):
        return None
    flags: dict[str, Any] = {}
    groups = (WidePairOptions(**asdict(analyzer.pair_options)), asked, analyzer.bin_options, *values)
    defaults = {f.name: f.default for group in groups for f in fields(group)}
    for group in groups:
        flags |= given_fields(group)
    return {name: value for name, value in (flags | changed).items() if value != defaults[name]}


def again_line(checkpoint: str, flags: Flags) -> str:
    """Return the command for the shell."""
    words = [word for name, value in flags.items() for word in shell_words(flag_name(name), value)]
    return shlex.join(["python", "-m", "probes.diagnose", checkpoint, *words])


def _rounded(number: float) -> float:
    """Rounded up to two significant digits."""
    if not 0.0 < number < math.inf:
        return number
    unit = 10.0 ** max(math.floor(math.log10(number)) - 1, 0)
    return math.ceil(number / unit - 1e-9) * unit
