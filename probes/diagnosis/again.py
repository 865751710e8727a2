"""The command of a diagnosis that is undecided: the same diagnosis, with the prompts or the steps that would decide."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from cli.options import flag_name
from cli.shell import run_module
from probes import stages
from probes.diagnosis.evidence import Evidence
from probes.diagnosis.recommendation import needs
from probes.diagnosis.training import Flags, given_fields, shell_words
from probes.settings import WidePairOptions

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

NEEDS: Final = "needs"
"""The note of a diagnosis that says what would decide."""
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


@dataclass(frozen=True)
class Undecided:
    """What would decide, and the flags of the diagnosis that asks for it; None in their place in memory."""

    more: More
    flags: Mapping[str, Any] | None

    def line(self, checkpoint: str) -> str:
        """Return the command for the shell; empty where models, prompts or responses are in memory."""
        if self.flags is None:
            return ""
        words = [word for name, value in self.flags.items() for word in shell_words(flag_name(name), value)]
        return run_module("probes.diagnose", checkpoint, *words)


def again(analyzer: "Analyzer", evidence: Evidence, values: Sequence[Any], *, default_steps: int) -> Undecided:
    """Return what would decide an undecided diagnosis.

    Args:
        values: of the probe's own groups of options, `DiagnosisOptions` first.
        default_steps: to be tried where none was.
    """
    options, more = values[0], needs(evidence)
    n_prompts = len(analyzer.prompts)
    if more is None:
        steps = options.trial_steps or default_steps
        changed = {"skip_forecast": False, "trial_steps": steps, "dtype": _steppable(analyzer)}
        return Undecided(More(math.inf, steps), again_flags(analyzer, values, changed))
    needed = More(_rounded(more.prompts * n_prompts), _rounded(more.steps * options.trial_steps))
    if more.steps < more.prompts:
        changed = {"trial_steps": int(_rounded(min(more.steps, MOST_TIMES) * options.trial_steps))}
    else:
        changed = {"limit": int(_rounded(min(more.prompts, MOST_TIMES) * n_prompts))}
    return Undecided(needed, again_flags(analyzer, values, changed))


def _steppable(analyzer: "Analyzer") -> str:
    """The dtype of a student whose steps are not lost."""
    return analyzer.pair_options.dtype if stages.can_step(analyzer) else "float32"


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
    return {name: value for name, value in {**flags, **changed}.items() if value not in (None, defaults[name])}


def _rounded(number: float) -> float:
    """Rounded up to two significant digits.

    >>> _rounded(337.1), _rounded(3.0), _rounded(math.inf)
    (340.0, 3.0, inf)
    """
    if not 0.0 < number < math.inf:
        return number
    unit = 10.0 ** max(math.floor(math.log10(number)) - 1, 0)
    return math.ceil(number / unit - 1e-9) * unit
