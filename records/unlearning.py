"""Whether language is being unlearnt, read from the journal: the language loss of the visual tokens against its start.

The same tokens of fixed responses are compared, those of the upper VDS bins. A mean rise that chance explains, or a
small one, is no finding: the lower end of its 95 % interval must lie above a tenth of the first loss.
"""

from collections.abc import Sequence
from typing import Final

from records.journal_lines import EvaluationLine, LanguageRise

MARGIN: Final = 0.1
"""Share of the first language loss that the lower end of a rise must exceed; a choice of this project."""


def is_unlearnt(rise: LanguageRise | None) -> bool:
    """Say whether a rise is surely larger than `MARGIN` of the first loss; one that is not known is not."""
    if rise is None or rise.low_nats is None or rise.first_nats is None:
        return False
    return rise.low_nats > MARGIN * rise.first_nats


def unlearnt_since(evaluations: Sequence[EvaluationLine]) -> int | None:
    """Return since which step the loss has stood surely above its start; None unless the last rise is `is_unlearnt`.

    Every measurement from that step on has a rise whose lower end is above 0.
    """
    if not evaluations or not is_unlearnt(evaluations[-1].language_rise):
        return None
    since = evaluations[-1].step
    for line in reversed(evaluations):
        if line.language_rise is None or not (line.language_rise.low_nats or 0.0) > 0.0:
            break
        since = line.step
    return since
