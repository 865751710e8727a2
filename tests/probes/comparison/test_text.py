"""What the terminal is told of a comparison."""

import pandas as pd

from probes.comparison.text import unboxed_changes


def test_answers_in_no_box_are_counted_on_both_sides_where_an_answer_is_known():
    rows = [("4", r"\boxed{4}", False), ("4", "4", False), (r"\boxed{4}", r"\boxed 4", True), ("4", "4", None)]
    table = pd.DataFrame(rows, columns=["response_before", "response_after", "correct_before"])
    assert unboxed_changes(table) == r"In no \boxed{}, and so wrong: 2 of 3 answers before, 1 after."
