"""The catalogue: it says of each picture what its module takes, without importing what draws."""

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import figures
from cli.errors import UserError
from figures.__main__ import OPTIONS
from figures.catalogue import PICTURES, drawable, picture
from figures.gallery.rows import GALLERY
from records import TABLES, RecordError, read_record

FIGURES = [one for one in PICTURES if not one.page]
FOLDER = Path(figures.__file__).parent


@pytest.mark.parametrize("one", FIGURES, ids=lambda one: one.name)
def test_options_are_the_keyword_parameters_of_draw(one):
    record, *options = inspect.signature(import_module(f"figures.{one.name}").draw).parameters.values()
    assert record.name == "record" and tuple(option.name for option in options) == one.options
    assert all(option.default is not inspect.Parameter.empty for option in options)


def test_flags_are_the_options_of_the_pictures():
    assert {name for one in PICTURES for name in one.options} == set(OPTIONS)


@pytest.mark.parametrize("one", PICTURES, ids=lambda one: one.name)
def test_tables_are_those_of_records_and_manuals_say_where_they_come_from(one):
    assert set(one.tables) | set(one.optional) <= set(TABLES) and one.tables
    assert one.manual == inspect.getdoc(import_module(f"figures.{one.name}"))
    assert one.summary in one.manual and 20 < len(one.summary) < 120
    assert " record written by `python -m " in " ".join(one.manual.split())
    assert one.name in one.manual or "python -m figures runs/" in one.manual


def test_every_module_that_draws_a_record_is_in_the_catalogue():
    modules = [path.stem for path in FOLDER.glob("*.py")]
    drawing = {name for name in modules if "\ndef draw(" in (FOLDER / f"{name}.py").read_text()}
    assert drawing == {one.name for one in FIGURES}


def test_names_and_manuals_need_no_drawing_library():
    code = (
        "import sys, figures.catalogue as c, figures.gallery.rows; [one.summary for one in c.PICTURES];"
        "print({'matplotlib', 'seaborn', 'pandas', 'numpy', 'records'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unknown_name_names_the_pictures_there_are():
    with pytest.raises(UserError, match=r"`name` must be one of angle_bins, .*, tables, got 'angle'"):
        picture("angle")


def test_what_is_drawable_has_its_tables():
    assert [one.name for one in drawable({"tokens", "bins"})] == ["angle_bins", "bin_shares", "vds"]
    record = read_record(GALLERY / "angles")
    names = [one.name for one in drawable(record.record["tables"])]
    assert names == ["angle_bins", "bin_shares", "gradient_plane", "ribbon", "vds"]
    assert drawable(()) == []


@pytest.mark.parametrize(
    ("record", "names"),
    [
        ("angles", {"angle_bins"}),
        ("layers", {"layers"}),
        ("sensitivity", {"sensitivity", "explorer"}),
        ("before_after", {"before_after", "changed_answers"}),
        ("study", {one.name for one in PICTURES if one.drawn_by == "study"}),
    ],
)
def test_pictures_belong_to_the_records_of_their_probe(record, names):
    assert {one.name for one in PICTURES if one.belongs_to(read_record(GALLERY / record))} == names


def test_reading_takes_optional_tables_where_they_are_there_and_needs_the_others():
    assert set(picture("sensitivity").read(GALLERY / "sensitivity").tables) == {
        "forecast", "steering", "readings", "step_changes", "step_fits"
    }  # fmt: skip
    with pytest.raises(RecordError, match=r"no table `layers`: `python -m probes\.layers` writes it"):
        picture("layers").read(GALLERY / "angles")


def test_stems_hold_the_choices_that_are_not_the_usual_ones():
    assert picture("angle_bins").stem() == picture("angle_bins").stem(scope="all") == "angle_bins"
    assert picture("norm_dynamics").stem(bin_="9", scope="language_model") == "norm_dynamics-language_model-9"
    assert picture("ribbon").stem(attached=True, threshold_deg=80.0, responses=[1]) == "ribbon"
    assert picture("report").stem() == "report"
