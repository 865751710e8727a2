"""Pictures for print: every picture of the catalogue at both widths of a paper, its letters large enough and clear."""

import re
from types import SimpleNamespace

import pytest
from PIL import Image

from cli.errors import OptionError
from figures.catalogue import PICTURES, picture
from figures.gallery.rows import GALLERY, RIBBONS
from figures.sheets import SHEETS, on_sheet, sheet
from records import read_record
from tests.figures import test_monitor, test_norm_dynamics, test_pair_contrasts, test_phase_diagram
from tests.figures.drawing import draw, refused
from tests.figures.forecasts import trial_frame
from tests.figures.texts import faults, smallest_pt
from tests.records.synthetic import HEADER

FIGURES = [one for one in PICTURES if not one.page]
SMALLEST_PT = 7.0
RECORDS = {  # whose committed record a picture is drawn from; the others are made up
    **dict.fromkeys(("angle_bins", "language_visual", "bin_shares", "gradient_plane", "ribbon", "vds"), "angles"),
    **dict.fromkeys(("forecast", "forecast_reach", "sensitivity"), "sensitivity"),
    **dict.fromkeys(("before_after", "changed_answers"), "before_after"),
    "layers": "layers",
}
SETTINGS = (
    (0.0, 0.0, "detached", ""),
    (2.0, 0.01, "detached", "language above standard"),
    (3.25, 0.5, "frozen", "passes"),
)
OPTIONS = {"ribbon": {"responses": RIBBONS, "pictures": [GALLERY / f"angles/pictures/{n}.png" for n in RIBBONS]}}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = test_norm_dynamics.write(tmp_path_factory.mktemp("norms") / "record", test_norm_dynamics.norms_frame())
    return read_record(folder, "norms")


def record_of(one, checkpoints, monitored):
    """The record that a picture is drawn from: a committed one, of a study's pictures that of the paper's arms."""
    if one.name == "norm_dynamics":
        return checkpoints
    if one.name == "monitor":
        return monitored
    if one.name == "trial":
        return SimpleNamespace(table={"trial": trial_frame(SETTINGS)}.__getitem__, header=HEADER, where="here")
    if one.name == "pair_contrasts":
        return SimpleNamespace(path="here", table={"phases": test_pair_contrasts.table()}.__getitem__)
    if one.drawn_by == "phases":
        return SimpleNamespace(path="here", table={"phases": test_phase_diagram.table()}.__getitem__)
    return one.read(GALLERY / RECORDS.get(one.name, "study"))


@pytest.fixture(scope="module")
def monitored(tmp_path_factory):
    return test_monitor.run(tmp_path_factory.mktemp("monitored"))


@pytest.mark.parametrize("style", ["page", "column"])
@pytest.mark.parametrize("one", FIGURES, ids=lambda one: one.name)
def test_no_letter_is_small_cut_off_or_covered(one, style, checkpoints, monitored):
    figure = one.draw(record_of(one, checkpoints, monitored), style, **OPTIONS.get(one.name, {}))
    assert figure.get_size_inches()[0] == SHEETS[style].width_in
    assert smallest_pt(figure) >= SMALLEST_PT
    assert faults(figure) == []


def test_the_widths_are_those_of_papers():
    assert {name: one.width_in for name, one in SHEETS.items()} == {"screen": 9.0, "page": 6.75, "column": 3.3}


def test_a_sheet_ends_with_its_block():
    with on_sheet("column", titled=False):
        assert sheet().narrow and not sheet().titled
    assert sheet() == SHEETS["screen"]
    with (
        pytest.raises(OptionError, match="`style` must be one of screen, page, column, got 'poster'"),
        on_sheet("poster"),
    ):
        pass


def test_without_a_title_the_picture_is_lower_and_says_the_same():
    one = picture("bin_shares")
    record = one.read(GALLERY / "angles")
    titled, bare = one.draw(record, "page"), one.draw(record, "page", title=False)
    assert titled.get_suptitle().startswith("Where the losses lie") and bare.get_suptitle() == ""
    assert bare.get_figheight() < titled.get_figheight()
    assert [ax.get_xlabel() for ax in bare.axes] == [ax.get_xlabel() for ax in titled.axes]


# --- the command ---


def test_a_column_is_written_as_png_pdf_and_svg_with_text_as_text(tmp_path, capsys):
    words = (GALLERY / "angles", "bin_shares", "--style", "column", "--no-title", "--out", tmp_path)
    shown = draw(capsys, *words)
    assert shown == [str(tmp_path / f"bin_shares-column{suffix}") for suffix in (".png", ".pdf", ".svg")]
    svg = (tmp_path / "bin_shares-column.svg").read_text()
    assert "VDS bin (0 = least visual)</text>" in svg and "Where the losses lie" not in svg
    assert "'DejaVu Sans', Verdana, sans-serif" in svg
    pdf = (tmp_path / "bin_shares-column.pdf").read_bytes()
    assert b"/Type3" not in pdf and b"/FontFile2" in pdf and b"DejaVuSans" in pdf
    [width_pt] = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ", pdf)
    assert float(width_pt) == pytest.approx(72 * 3.3)
    with Image.open(tmp_path / "bin_shares-column.png") as png:
        assert png.size[0] == 990


def test_pictures_for_print_are_the_same_twice(tmp_path, capsys):
    for folder in ("one", "two"):
        draw(capsys, GALLERY / "angles", "bin_shares", "--style", "page", "--out", tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_an_unknown_style_is_one_line(capsys):
    said = refused(capsys, GALLERY / "angles", "bin_shares", "--style", "poster")
    assert said.startswith("error: `style` must be one of screen, page, column, got 'poster'")
