"""Which answer a response gives, and whether it is right."""

import os
import sys
import time

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from bundled import architecture
from bundled.prompts import bundled_prompts
from vlm import latex
from vlm.answers import boxed_answer, decided_by_rule, is_correct, unwrapped
from vlm.latex import Worker


@pytest.fixture
def no_worker(monkeypatch):
    """A worker that must not be asked."""

    def refuse(given, answer):
        raise AssertionError(f"a worker was asked about {given!r} and {answer!r}")

    monkeypatch.setattr("vlm.answers.latex.equal", refuse)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"so \boxed{4}", "4"),
        (r"\boxed{ red }", "red"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\text{a {b} c}} and {", r"\text{a {b} c}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{1\right.}", r"\left\{1\right."),
        (r"\boxed{}", ""),
        ("four", None),
        (r"\boxed{4", None),
        (r"\boxed{1} and \boxed{2", None),
    ],
)
def test_the_last_box_counts(response, answer):
    assert boxed_answer(response) == answer


@pytest.mark.parametrize(
    ("answer", "inner"),
    [
        (" B ", "B"),
        ("$4$", "4"),
        ("$$4$$", "4"),
        (r"\(4\)", "4"),
        (r"\text{ red }.", "red"),
        (r"$\mathrm{\text{B}}$", r"\mathrm{\text{B}}"),
        (r"$\text{B}$", "B"),
        (r"so $\boxed{\text{4}}$", "4"),
        ("$1$ and $2$", "$1$ and $2$"),
        ("4.", "4"),
        ("...", "..."),
        ("", ""),
    ],
)
def test_what_stands_around_an_answer_is_left_out(answer, inner):
    assert unwrapped(answer) == inner


SPELLINGS = [
    ("4", "4", True),
    ("4.0", "4", True),
    ("+4", " 4 ", True),
    ("-4", "4", False),
    ("\u22124", "-4", True),
    (".5", "0.50", True),
    ("4.", "4", True),
    ("1,234", "1234", True),
    ("1{,}234,567.5", "1234567.50", True),
    ("1,23", "123", False),
    ("12,3456", "123456", False),
    ("50%", "50", True),
    (r"50\%", "50 %", True),
    ("50%", "0.5", False),
    ("1" * 400, "1" * 399 + "2", False),
    ("0.1", "0.10000000000000000001", False),
    ("$7$", "7", True),
    ("", "7", False),
    (".", "0", False),
    ("Top  Left", "top left", True),
    ("top left", "topleft", False),
    (r"\text{Top left}", "top left", True),
    ("red", "red circle", False),
    (r"\text{der}", "red", False),
    ("nan", "nan", True),
    ("4", "red", False),
    ("red", "4", False),
    ("4 cm", "4", False),
    ("4, 5", "4", False),
    ("B", "B", True),
    ("(B)", "B", True),
    ("b.", "B", True),
    ("B)", "(B)", True),
    (r"\text{B}", "B", True),
    (r"\textbf{(B)}", "B", True),
    ("$B$", "B.", True),
    ("B. a dog", "B", True),
    ("(B) 45", "B", True),
    ("B: 4/5", "B", True),
    ("B", "(B) a dog", True),
    ("B. a dog", "B. the dog", False),
    ("e.g. this", "e.g. that", False),
    ("x", "(x)(y)", False),
    ("(a)(b)", "a", False),
    ("C. a dog", "B", False),
    ("C", "B. a dog", False),
    ("A. a dog", "B. a dog", False),
    ("a dog", "A", False),
    ("AB", "A", False),
    ("A", "B", False),
    ("C", r"B", False),
    (r"\frac{1}{2}", "B", False),
    ("45", "B", False),
]


@pytest.mark.parametrize(("given", "answer", "correct"), SPELLINGS)
def test_words_letters_and_numbers_are_decided_by_rule(given, answer, correct, no_worker):
    assert is_correct(rf"<reason> x </reason> \boxed{{{given}}}", answer) is correct


def test_an_answer_outside_the_box_is_none(no_worker):
    assert not is_correct("the answer is 4", "4")


FORMULAS = [
    (r"\frac{1}{2}", "1/2", True),
    (r"\dfrac12", "0.5", True),
    (r"\frac{1}{3}", r"\frac{1}{2}", False),
    (r"2\sqrt{3}", r"\sqrt{12}", True),
    ("x=4", "4", True),
    ("y+x", "x+y", True),
    (r"(x-1)(x+1)", "x^2-1", True),
    (r"4\text{ cm}", "4", True),
    (r"30^\circ", "30", True),
    (r"\{2, 1\}", r"\{1, 2\}", True),
    ("[1, 2]", "(1, 2)", False),
    ("13, 12", "12, 13", True),
    (r"\frac{", r"\frac{1}{2}", False),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", True),
    ("__import__('os').abort()", "1", False),
]


@pytest.mark.parametrize(("given", "answer", "correct"), FORMULAS)
def test_formulas_are_equal_in_value(given, answer, correct):
    assert is_correct(rf"\boxed{{{given}}}", answer) is correct


def test_one_worker_stays_for_all():
    latex.equal("1/2", "0.5")
    first = latex.worker.pid
    assert first is not None and latex.equal(r"\frac12", "0.5") and latex.worker.pid == first


def test_a_worker_begins_with_the_first_formula_and_ends_when_told():
    worker = Worker()
    assert worker.pid is None
    assert worker.equal("1/2", "0.5")
    pid = worker.pid
    worker.close()
    assert worker.pid is None
    with pytest.raises(ProcessLookupError):  # not even a zombie
        os.kill(pid, 0)
    worker.close()


FIRST = "import sys, time, os\nprint('ready', flush=True)\n"
FAITHFUL = "for line in sys.stdin:\n    {}\n    print('true', flush=True)\n"


def scripted(action, **settings):
    """A worker that does `action` with `line` before it says true."""
    return Worker((sys.executable, "-c", FIRST + FAITHFUL.format(action)), **settings)


def test_a_formula_that_takes_too_long_is_wrong_and_the_next_has_a_new_worker():
    worker = scripted("time.sleep(60 if 'slow' in line else 0)", seconds=0.3)
    assert worker.equal("quick", "1")
    first, began = worker.pid, time.monotonic()
    assert not worker.equal("slow", "1")
    assert time.monotonic() - began < 5.0 and worker.pid is None
    assert worker.equal("quick", "1") and worker.pid != first
    worker.close()


def test_a_formula_that_brings_the_worker_down_is_wrong():
    worker = scripted("os.abort() if 'bad' in line else None")
    assert [worker.equal(text, "1") for text in ("good", "bad", "bad", "good")] == [True, False, False, True]
    worker.close()


def test_a_worker_that_died_between_two_formulas_is_replaced():
    worker = scripted("None")
    assert worker.equal("1", "1")
    worker._process.kill()
    worker._process.wait()
    assert worker.equal("1", "1")
    worker.close()


def test_a_worker_that_cannot_start_is_said():
    with pytest.raises(RuntimeError, match="does not start"):
        Worker((sys.executable, "-c", "")).equal("1/2", "1")


@pytest.mark.parametrize("text", ["9^{9^{9^{9^9}}}", r"\sqrt{" * 3000, "(" * 20000])
def test_what_no_calculator_bears_is_wrong(text):
    worker = Worker(seconds=1.0)
    began = time.monotonic()
    assert not worker.equal(text, "5")
    assert worker.equal("1/2", "0.5")
    assert time.monotonic() - began < 30.0
    worker.close()


def test_a_worker_without_its_program_ends_by_itself():
    """Its alarm rings a second after its time, though nobody reads what it says."""
    worker = Worker(seconds=0.5)
    worker.equal("1/2", "0.5")
    process = worker._process
    process.stdin.write(b'["9^{9^{9^{9^9}}}", "5", 0.5]\n')
    assert process.wait(timeout=20) != 0
    worker.close()


TOKENS = sorted(architecture.processor().tokenizer.get_vocab())
ANSWERS = sorted({prompt.answer for prompt in bundled_prompts(300, seed=0)})


@drawn(st.lists(st.sampled_from(TOKENS), max_size=5).map(" ".join), st.sampled_from(ANSWERS))
def test_the_bundled_pair_never_needs_a_worker(given, answer):
    """Whatever its vocabulary can spell."""
    boxed = boxed_answer(rf"\boxed{{ {given} }}")
    if boxed is not None:
        assert decided_by_rule(unwrapped(boxed), unwrapped(answer)) is not None
