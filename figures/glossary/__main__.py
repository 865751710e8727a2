"""Write the glossary as a page.

python -m figures.glossary                  # docs/glossary.md
python -m figures.glossary --out glossary.md
"""

import sys
from collections.abc import Sequence
from typing import Final

from figures.glossary import PAPER, TERMS, Term
from records.page_command import write_by_command

OPENING: Final = f"""# Glossary

`python -m figures.glossary` writes this page from `figures/glossary/__init__.py`.

p is the student, q the teacher, I the picture and x the text of the prompt. Divergences are in nats per token, angles
in degrees. Equations and figures are those of [{PAPER}](https://arxiv.org/abs/2606.00564).
[equations.md](equations.md) leads from each equation to its function and its test.

| term | meaning | source |
|---|---|---|
"""


def page() -> str:
    """Return the glossary as Markdown."""
    return OPENING + "".join(f"{_row(entry)}\n" for entry in TERMS)


def _row(entry: Term) -> str:
    spellings = f" ({', '.join(entry.also)})" if entry.also else ""
    cells = (f"**{_escaped(entry.name)}**{_escaped(spellings)}", _escaped(entry.meaning), entry.citation)
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; return the exit code."""
    return write_by_command("figures.glossary", __doc__, page, "docs/glossary.md", argv)


if __name__ == "__main__":
    sys.exit(main())
