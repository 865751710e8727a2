"""Which answer a response gives, and whether it is right."""

import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from bundled import architecture
from bundled.prompts import bundled_prompts
from tests.vlm.answers.cases import PAGE, RULES, page
from vlm.answers.judge import boxed_answer, decided_by_rule, is_correct, latex, unwrapped
from vlm.answers.latex import Worker


@pytest.fixture
def no_worker(monkeypatch):
    """A worker that must not be asked."""

    def refuse(given, answer):
        raise AssertionError(f"a worker was asked about {given!r} and {answer!r}")

    monkeypatch.setattr("vlm.answers.judge.latex.equal", refuse)


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
        (r"\fbox{4}", "4"),
        (r"\boxed{1} or \fbox{2}", "2"),
        (r"\boxed {4}", "4"),
        ("\\boxed\n{4}", "4"),
        (r"\boxed 4", "4"),
        (r"it is \boxed 42.", "42"),
        (r"\boxed -4, then", "-4"),
        (r"$\boxed 4$", "4"),
        (r"\boxed4", "4"),
        (r"\boxed (B)", "(B)"),
        (r"\boxed\text{a {b} c} d", r"\text{a {b} c}"),
        (r"\boxed\frac{1}{2}.", r"\frac{1}{2}"),
        (r"\boxed\frac12", r"\frac12"),
        (r"\boxed -\frac{1}{2}", r"-\frac{1}{2}"),
        (r"\boxed{4}, as I wrote in \boxed", "4"),
        (r"\boxedness{4}", None),
        (r"\boxed", None),
        (r"\boxed\text{a", r"\text"),
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


PAIRS = [
    pytest.param(given, answer, verdict, id=f"{rule.name}: {given!a} for {answer!a}")
    for rule in RULES
    for pairs, verdict in ((rule.right, True), (rule.wrong, False))
    for given, answer in pairs
]


@pytest.mark.parametrize(("given", "answer", "verdict"), PAIRS)
def test_every_pair_of_the_table_is_judged_as_it_says(given, answer, verdict):
    assert is_correct(rf"<reason> x </reason> \boxed{{{given}}}", answer) is verdict


ONE_WAY = {"2 + 3 = 5", "x=4=5", r"A = \pi r^2 = 25\pi"}
"""Working, which counts as such in a response alone."""


@pytest.mark.parametrize(("given", "answer", "verdict"), PAIRS)
def test_the_verdict_stays_if_answer_and_reference_change_places(given, answer, verdict):
    if given not in ONE_WAY:
        assert is_correct(rf"\boxed{{{answer}}}", given) is verdict


def test_the_page_has_the_table():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tests.vlm.answers.cases`"


DECIDED = [
    ("1{,}234,567.5", "1234567.50", True),
    ("12,3456", "123456", False),
    ("1" * 400, "1" * 399 + "2", False),
    ("0.1", "0.10000000000000000001", False),
    ("1e5000", "1e5001", False),
    ("1e99999999999", "1e99999999998", False),
    ("1e99999999999", "1e99999999999", True),
    ("1" * 5000, "1" * 5000, True),
    ("1" * 5000, "1" * 4999 + "2", False),
    ("", "7", False),
    (".", "0", False),
    ("nan", "nan", True),
    ("nan", "inf", False),
    ("red", "4", False),
    ("4, 5", "4", False),
    ("e.g. this", "e.g. that", False),
    ("x", "(x)(y)", False),
    ("(a)(b)", "a", False),
    (r"\frac{1}{2}", "B", False),
    ("50%", "0.5", True),
    (r"\frac{3}{6}", "1/2", True),
    ("4 cm", "4", True),
    ("(1, 2), 3", "(2, 1), 3", False),
]


@pytest.mark.parametrize(("given", "answer", "correct"), DECIDED)
def test_what_is_no_formula_needs_no_worker(given, answer, correct, no_worker):
    assert is_correct(rf"\boxed{{{given}}}", answer) is correct


def test_an_answer_outside_the_box_is_none(no_worker):
    assert not is_correct("the answer is 4", "4")


EXAMPLES = 100
DECIMALS = st.builds(lambda n, places: Fraction(n, 10**places), st.integers(-(10**7), 10**7), st.integers(0, 4))
RATIOS = st.fractions(min_value=-1000, max_value=1000, max_denominator=60)
WHOLE = st.integers(-(10**7), 10**7).map(Fraction)
VALUES = st.one_of(DECIMALS, RATIOS, WHOLE)
GROUPS = (",", " ", "{,}", r"\,", r"\;", "\u2009", "\u202f", "\u00a0", "'")
DRESSES = (
    "{}",
    "${}$",
    r"\({}\)",
    r"\text{{{}}}",
    "**{}**",
    " {}.",
    r"\left({}\right)",
    "x = {}",
    r"\boxed{{{}}}",
    "{} cm",
)
FULL_WIDTH = str.maketrans("0123456789", "".join(chr(0xFF10 + n) for n in range(10)))


@st.composite
def spelt(draw, value):
    """One of the ways to write a number."""
    size, sign = abs(value), "-" if value < 0 else draw(st.sampled_from(["", "", "+"]))
    whole, part = divmod(size, 1)
    fraction = draw(st.sampled_from([r"\frac{{{}}}{{{}}}", r"\dfrac{{{}}}{{{}}}", "{}/{}"]))
    factor = draw(st.integers(1, 3))
    ways = [fraction.format(size.numerator * factor, size.denominator * factor)]
    if part and whole:
        mixed = draw(st.sampled_from([r"{}\frac{{{}}}{{{}}}", "{} {}/{}", r"{}\,\tfrac{{{}}}{{{}}}"]))
        ways.append(mixed.format(whole, part.numerator, part.denominator))
    if 10**8 % size.denominator == 0:
        digits = f"{size.numerator * 10**8 // size.denominator:09d}"
        tail = digits[-8:].rstrip("0") + draw(st.sampled_from(["", "0", "00"]))
        grouped = f"{int(digits[:-8]):,}".replace(",", draw(st.sampled_from(["", *GROUPS])))
        ways += [grouped + ("." + tail if tail else "")] * 3
        ways.append(rf"{size.numerator * 10**8 // size.denominator} \times 10^{{-8}}")
    text = draw(st.sampled_from(ways))
    if "\\" not in text and draw(st.booleans()):
        text = text.translate(FULL_WIDTH)
    return draw(st.sampled_from(DRESSES)).format(sign + text)


@drawn(st.data(), VALUES)
@settings(max_examples=EXAMPLES)
def test_equal_numbers_are_right_in_every_spelling(data, value):
    given, answer = data.draw(spelt(value)), data.draw(spelt(value))
    assert decided_by_rule(boxed_answer(rf"\boxed{{{given}}}"), answer) is True


@drawn(st.data(), VALUES, VALUES)
@settings(max_examples=EXAMPLES)
def test_distinct_numbers_are_wrong_in_every_spelling(data, value, other):
    if data.draw(st.booleans()):
        other = value + data.draw(st.sampled_from([1, -1, Fraction(1, 1000), Fraction(1, 7)]))
    assume(value != other)
    given, answer = data.draw(spelt(value)), data.draw(spelt(other))
    assert decided_by_rule(boxed_answer(rf"\boxed{{{given}}}"), answer) is False


LISTS = st.lists(VALUES, min_size=2, max_size=5)


@drawn(st.data(), LISTS, st.sampled_from([r"\{%s\}", "(%s)", "%s"]))
def test_lists_follow_their_brackets(data, values, brackets):
    """Sets and bare numbers in any order, tuples in theirs; an item too few is wrong."""

    def listed(items):
        return brackets % ", ".join(f"{item.numerator}/{item.denominator}" for item in items)

    moved = data.draw(st.permutations(values))
    assert decided_by_rule(listed(moved), listed(values)) is (brackets != "(%s)" or list(moved) == values)
    assert decided_by_rule(listed([*values, max(values) + 1]), listed(values)) is False


PIECES = (
    *"0123456789 ,.;:+-*/^_=()[]{}|<>%$'\"\\`~!?#&xBeni",
    "\\frac",
    "\\sqrt",
    "\\text{",
    "\\boxed",
    "\\pm",
    "\\{",
    "\\}",
)
PIECES = (
    *PIECES,
    "**",
    " cm",
    "in",
    "\\in",
    "\\cup",
    "\\circ",
    "\u00bd",
    "\u221a",
    "\u00b2",
    "\u2082",
    "\ud800",
    "\0",
    "and",
    "million",
)
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), st.text(max_size=20))


@drawn(TEXTS, TEXTS)
@settings(max_examples=3 * EXAMPLES)
def test_no_text_is_too_much_and_every_answer_equals_itself(given, answer):
    boxed_answer(given)
    assert decided_by_rule(given, answer) in (True, False, None)
    assert decided_by_rule(given, given) is True


@pytest.mark.parametrize(
    "text",
    [
        "{" * 200_000,
        r"\boxed{" * 50_000,
        r"\text{" * 20_000 + "}" * 20_000,
        "$" * 100_000,
        "(" * 39 + "1,1" + ")" * 39,
        ", ".join(map(str, range(400))),
        "1," * 900,
        "1 234 " * 300,
        "5" + " m" * 900,
        "=" * 1900,
        r"\pm " * 400,
        "**a" * 600,
        "1e" + "9" * 1900,
        "0." + "1" * 900 + r"\overline{" + "1" * 900 + "}",
    ],
    ids=lambda text: text[:9],
)
def test_long_texts_are_judged_at_once(text, monkeypatch):
    monkeypatch.setattr("vlm.answers.judge.latex.equal", lambda given, answer: False)
    began = time.monotonic()
    for given, answer in ((text, "5"), ("5", text), (text, text[:-1] + "7"), (text, text[::-1])):
        is_correct(rf"\boxed{{{given}}}", answer)
        is_correct(rf"\boxed {given}", answer)
    assert time.monotonic() - began < 4.0


def test_a_list_of_hard_formulas_has_one_limit(monkeypatch):
    monkeypatch.setattr(latex, "SECONDS", 0.05)
    monkeypatch.setattr("vlm.answers.judge.latex.equal", lambda given, answer: time.sleep(0.1))
    began = time.monotonic()
    hard = ", ".join(rf"\sqrt{{{n}}}" for n in range(50))
    assert not is_correct(rf"\boxed{{{hard}}}", hard + ", x+1") and not is_correct(rf"\boxed{{{hard}}}", hard[::-1])
    assert time.monotonic() - began < 3.0


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


def test_a_question_that_only_a_used_worker_does_not_survive_is_asked_again():
    """A worker that an earlier question has spoilt makes no right answer wrong."""
    worker = scripted("n = globals().get('n', 0) + 1; os.abort() if n > 2 else None")
    assert [worker.equal("1", "1") for _ in range(7)] == [True] * 7
    worker.close()


def test_a_worker_that_took_much_memory_is_replaced_unnoticed():
    worker = Worker((sys.executable, "-c", "from vlm.answers import latex; latex._MUCH = 1; latex._serve()"))
    assert [worker.equal("x+x", "2x"), worker.equal("x+x", "3x"), worker.equal("x+x", "2x")] == [True, False, True]
    worker.close()


def test_the_memory_of_the_program_is_not_the_worker_s():
    code = """
held = b"x" * (1200 << 20)
from vlm.answers.latex import Worker
worker = Worker()
pids = {(worker.equal("x+x", "2x"), worker.pid)[1] for _ in range(3)}
worker.close()
print(len(pids))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


def test_a_question_whose_time_is_over_is_asked_once(tmp_path):
    starts = tmp_path / "starts"
    action = "os.kill(os.getpid(), 27) if 'slow' in line else None"
    script = f"open({str(starts)!r}, 'a').write('1')\n" + FIRST + FAITHFUL.format(action)
    worker = Worker((sys.executable, "-c", script.replace("27", str(int(signal.SIGPROF)))))
    assert worker.equal("quick", "1") and not worker.equal("slow", "1")
    assert worker.pid is None and starts.read_text() == "1"


@pytest.fixture
def interruptible():
    """Ctrl-C raises, as in a shell's foreground; its background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_leaves_no_answer_to_the_next_question():
    answers = (
        "for line in sys.stdin:\n    time.sleep('slow' in line)\n    print(str('slow' in line).lower(), flush=True)\n"
    )
    worker = Worker((sys.executable, "-c", FIRST + answers))
    assert not worker.equal("quick", "1")
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        worker.equal("slow", "1")
    assert worker.pid is None and not worker.equal("quick", "1")
    worker.close()


def test_threads_get_their_own_answers():
    worker = Worker()
    pairs = [(f"{n}x+{n}x", f"{2 * n}x" if n % 2 else f"{3 * n}x") for n in range(1, 13)]
    verdicts = {}
    threads = [threading.Thread(target=lambda n=n: verdicts.update({n: worker.equal(*pairs[n])})) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [verdicts[n] for n in range(12)] == [n % 2 == 0 for n in range(12)]
    worker.close()


def test_a_forked_process_has_a_worker_of_its_own():
    worker = Worker()
    assert worker.equal("x+x", "2x")
    pid = worker.pid
    child = os.fork()
    if not child:
        right = worker.equal("x+x", "2x") and worker.pid != pid
        worker.close()
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert worker.equal("x+x", "2x") and worker.pid == pid
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
