"""Tables of Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown, bars in its cells escaped.

    >>> print(markdown_table(["a"], [["|g|"]]))
    | a |
    | --- |
    | \\|g\\| |
    """
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cell(text) for text in line)} |" for line in lines)


def cell(text: str) -> str:
    """Return a text as it may stand in a cell: without bars, line breaks, and stars that open an emphasis."""
    return text.replace("|", r"\|").replace("*", r"\*").replace("\n", "<br>")
