"""Tables of text."""

from cli.tables import aligned


def test_columns_are_aligned_to_the_right():
    assert aligned([["a", "long"], ["bbb", "c"]]) == "  a  long\nbbb     c"
