"""Which answer a response gives, and whether it is right."""

import pytest

from vlm.answers import boxed_answer, is_correct


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"so \boxed{4}", "4"),
        (r"\boxed{ red }", "red"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{}", ""),
        ("four", None),
        (r"\boxed{4", None),
        (r"\boxed{1} and \boxed{2", None),
    ],
)
def test_the_last_box_counts(response, answer):
    assert boxed_answer(response) == answer


@pytest.mark.parametrize(
    ("given", "answer", "correct"),
    [
        ("4", "4", True),
        ("4.0", "4", True),
        ("+4", " 4 ", True),
        ("-4", "4", False),
        ("Top  Left", "top left", True),
        ("top left", "topleft", False),
        ("red", "red circle", False),
        ("nan", "nan", True),
    ],
)
def test_numbers_by_value_and_words_by_letters(given, answer, correct):
    assert is_correct(rf"<reason> x </reason> \boxed{{{given}}}", answer) is correct


def test_an_answer_outside_the_box_is_none():
    assert not is_correct("the answer is 4", "4")
