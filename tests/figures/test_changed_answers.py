"""The picture of answers whose verdict changed: each beside what its prompt shows."""

import pytest
from matplotlib.colors import same_color

from figures import changed_answers
from figures.style import save
from records import RecordError
from tests.figures.comparisons import changes, examples, write
from tests.figures.drawing import draw, refused


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return write(tmp_path_factory.mktemp("compare") / "record", examples=examples())


@pytest.fixture(scope="module")
def axes(record):
    return changed_answers.draw(record).axes


def test_each_answer_stands_beside_its_picture(axes):
    assert len(axes) == 8  # two lines of two halves
    pictures, words = axes[::2], axes[1::2]
    assert [[image.get_array().shape for image in ax.images] for ax in pictures] == [[(4, 6, 3)], [], [(4, 6, 3)], []]
    assert [text.get_text() for text in pictures[1].texts] == ["no picture"]
    assert [len(ax.texts) for ax in words] == [4, 4, 4, 0]


def test_the_verdict_leads_in_its_colour(axes):
    first = [ax.texts[0] for ax in axes[1::2] if ax.texts]
    assert [text.get_text() for text in first] == ["gained: count, expected 7"] * 2 + ["lost: count, expected 7"]
    colours = [changed_answers.VERDICT_COLOURS[name] for name in ("gained", "gained", "lost")]
    assert all(same_color(text.get_color(), colour) for text, colour in zip(first, colours, strict=True))


def test_texts_do_not_overlap_and_long_ones_end_early(record):
    figure = changed_answers.draw(record)
    figure.draw_without_rendering()
    texts = figure.axes[1].texts
    assert texts[1].get_text() == "how many? at $5 or $6 each" and not texts[1].get_parse_math()
    before = texts[2].get_text()
    assert before.startswith("before: because") and before.endswith("...") and before.count("\n") == 5
    boxes = [text.get_window_extent() for text in texts]
    assert all(above.y0 >= below.y1 for above, below in zip(boxes, boxes[1:], strict=False))
    next_line = figure.axes[5].texts[0].get_window_extent()
    assert boxes[-1].y0 >= next_line.y1


def test_pictures_are_the_same_twice(record, tmp_path):
    first, second = (save(changed_answers.draw(record), tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_command(record, tmp_path, capsys):
    stem = tmp_path / "changed_answers"
    assert draw(capsys, record.path, "changed_answers", "--out", tmp_path) == [f"{stem}.png", f"{stem}.svg"]
    write(tmp_path / "losses", changes=changes())
    write(tmp_path / "same", examples=examples()[:0])
    assert "`python -m probes.compare` writes it" in refused(capsys, tmp_path / "losses", "changed_answers")
    assert "compare on more" in refused(capsys, tmp_path / "same", "changed_answers")
    with pytest.raises(RecordError, match="no answer whose verdict changed"):
        changed_answers.draw(write(tmp_path / "again", examples=examples()[:0]))
