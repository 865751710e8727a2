"""The index: every record and run with its headline, faults named, hostile text as text, two side by side."""

import json
import os
import re
import shutil

import pytest

from figures.index.__main__ import main
from figures.index.entries import entries
from figures.index.sparks import lines_of_run
from records import Journal, open_record
from records.journal import JournalWriter
from tests.figures.browser import browser
from tests.figures.forecasts import HOSTILE
from tests.figures.test_vds import tokens_frame
from tests.records.synthetic import HEADER, write_record
from tests.records.test_journal import evaluation, step

ODD = "a'b\"c <i>&%23#?"
"""A name of a folder with signs that mean something in HTML and in addresses."""


def write_vds(folder, student="student"):
    header = HEADER | {"probe": "probes.vds", "pair": {"student": student, "teacher": "teacher"}}
    with open_record(folder, header) as writer:
        writer.finish({"tokens": tokens_frame()}, {})
    return folder


def write_run(folder, n_steps=2):
    folder.mkdir(parents=True)
    settings = {"objective": "vgs", "student": "mine", "teacher": "theirs"}
    weights = {"student": "0123456789abcdef", "teacher": "fedcba9876543210"}
    (folder / "config.json").write_text(json.dumps({"settings": settings, "weights": weights}))
    writer = JournalWriter(folder, 0)
    for number in range(n_steps):
        writer.append(evaluation(number))
        writer.append(step(number))
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("index") / "runs"
    write_record(root / "angles")
    write_vds(root / ODD, HOSTILE)
    write_run(root / "deep" / "run")
    with open_record(root / "begun", HEADER):
        pass
    shutil.copytree(root / "angles", root / "damaged")
    (root / "damaged" / "record.json").write_text('{"header": 1}')
    (root / "angles" / "report.html").write_text("<!doctype html><title>r</title><p>a report")
    (root / ODD / "vds.png").write_bytes(b"no picture")
    (root / ".hidden").mkdir()
    shutil.copy(root / "angles" / "record.json", root / ".hidden")
    assert main([str(root)]) == 0
    return root


@pytest.fixture(scope="module")
def by_name(root):
    return {str(entry.folder): entry for entry in entries(root)}


def test_every_record_and_run_is_listed_with_its_headline(by_name):
    assert set(by_name) == {"angles", ODD, "deep/run", "begun", "damaged"}
    angles, run = by_name["angles"], by_name["deep/run"]
    assert re.fullmatch(
        r"language-visual angle by bin: \d+° to \d+° \(detached\), \d+° to \d+° \(attached\)", angles.headline
    )
    assert (angles.kind, angles.state, angles.page) == ("probes.angles", "complete", "report.html")
    assert angles.pair == "student \u2190 teacher" and angles.weights == "5d3c1f0a e2b04c6d"
    assert run.headline.startswith("vgs, 2 steps; held-out losses standard ") and run.pair == "mine \u2190 theirs"
    assert run.weights == "01234567 fedcba98" and by_name[ODD].headline.startswith("mean VDS ")


def test_what_cannot_be_read_says_why(by_name):
    assert by_name["begun"].state == "unfinished" and by_name["begun"].kind == HEADER["probe"]
    assert by_name["damaged"].state == "damaged" and "no record of ours" in by_name["damaged"].headline


def test_the_newest_stands_first(root):
    os.utime(root / "angles" / "record.json", (2e9, 2e9))
    assert str(entries(root)[0].folder) == "angles"


def test_a_run_of_one_evaluation_has_no_lines():
    assert lines_of_run(Journal([], [evaluation(0)], [])) == {}
    assert set(lines_of_run(Journal([], [evaluation(0), evaluation(1)], []))) <= {"language", "visual"}


def test_text_and_names_stay_what_they_are(root):
    page = (root / "index.html").read_text()
    assert page.count("<script") == 1 and "<img src=x" not in page and "<i>&" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)" in page and "\u2039U+202E\u203agnp" in page
    assert not any(sign in page for sign in "\u2028\u2029\u202e\u2066\x00\x1b")
    assert './a%27b%22c%20%3Ci%3E%26%2523%23%3F/vds.png"' in page


def test_faults_are_one_line(tmp_path, capsys):
    def said(*words, code=2):
        capsys.readouterr()
        assert main([str(word) for word in words]) == code
        return capsys.readouterr().err

    assert said(tmp_path / "none").startswith("error: `folder` must be a folder that exists")
    assert said(tmp_path).startswith("error: `folder` must hold a record or a run")
    write_vds(tmp_path / "record")
    (tmp_path / "file").write_text("")
    assert said(tmp_path, "--out", tmp_path / "file" / "page.html", code=1).startswith("stopped: cannot write")


def test_a_page_elsewhere_links_back(root, tmp_path, capsys):
    assert main([str(root), "--out", str(tmp_path / "pages" / "all.html")]) == 0
    page = (tmp_path / "pages" / "all.html").read_text()
    (link,) = set(re.findall(r'href="\./([^"]+report\.html)"', page))
    assert (tmp_path / "pages" / link).resolve() == (root / "angles" / "report.html").resolve()


@pytest.fixture(scope="module")
def page(root, tmp_path_factory):
    (root / ODD / "vds.png").unlink()
    assert main([str(root)]) == 0
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(root / "index.html")
        yield opened


def test_in_a_browser_two_stand_side_by_side_and_go_apart(page):
    choose = "document.querySelectorAll('.card input')"
    assert page.evaluate(f"{choose}.length") == 5 and page.evaluate("document.getElementById('both').hidden")
    names = page.evaluate("[...document.querySelectorAll('.card h2')].map(one => one.textContent)")
    for name in ("angles", "deep/run"):
        page.evaluate(f"{choose}[{names.index(name)}].click()")
    assert page.evaluate("document.querySelectorAll('.pane').length") == 2
    assert page.evaluate("document.querySelector('.pane iframe').src").endswith("/angles/report.html")
    assert page.evaluate("getComputedStyle(document.querySelector('.cards')).display") == "none"
    page.evaluate("document.getElementById('apart').click()")
    assert page.evaluate("document.querySelectorAll('.pane').length") == 0
    assert page.evaluate("document.querySelectorAll('.card input:checked').length") == 0


def test_in_a_browser_words_and_kinds_sift(page):
    search = "document.querySelector('input[type=search]')"
    shown = "document.querySelectorAll('.card:not([hidden])').length"
    page.evaluate(f"{search}.value = 'MEAN vds'; {search}.dispatchEvent(new Event('input'))")
    assert page.evaluate(shown) == 1
    page.evaluate(f"{search}.value = ''; {search}.dispatchEvent(new Event('input'))")
    page.evaluate("document.querySelector('select').value = 'train'")
    page.evaluate("document.querySelector('select').dispatchEvent(new Event('input'))")
    assert page.evaluate(shown) == 1


def test_in_a_browser_it_is_quiet_and_fits_a_phone(page):
    assert page.complaints() == [] and all(address.startswith("file:") for address in page.requested())
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
