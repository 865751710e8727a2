"""The report of a diagnosis: one HTML page with its pictures inside.

    python -m figures runs/diagnose-0123456789ab
    python -m figures runs/diagnose-0123456789ab report --out folder

Reads a record written by `python -m probes.diagnose`; writes `report.html`, which opens anywhere without a network.
Text from prompts and models is escaped, control characters are shown as symbols, and the page runs no script except its
own.
"""

from figures.report.page import text

__all__ = ["text"]
