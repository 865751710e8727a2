"""Tables for the terminal."""

from collections.abc import Sequence

from cli.visible import visible


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text in right-aligned columns, each cell made visible."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
