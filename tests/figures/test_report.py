"""The report: what prompts say stays text, and in a real browser it is quiet, sorts and answers to the pointer."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from figures.__main__ import main
from figures.report.evidence import RESTS_ON, links
from figures.report.tables import number
from figures.report.tokens import colours
from records import open_record
from records.tables.diagnosis import CLASSES, MEANS, TRIED
from tests.figures.browser import browser
from tests.figures.drawing import refused
from tests.figures.forecasts import along, png, products_frame, sensitivity_frame
from tests.figures.test_vds import tokens_frame
from tests.records.synthetic import HEADER

NASTY = (
    "<script>alert('prompt')</script> \x00\x07\x1b[31m \u202egnp <img src=x onerror=alert(1)> {{ 7 * 7 }} &amp;"
    " \u2028 \u2066 \"'`"
)
TOKEN = '"><script>alert("token")</script>\x08'


def trial():
    """Standard, and a setting that passes, of two tokens."""
    known = {"prior": "detached", "steps": 4, "lr": 3e-4, "n_tokens": 2, "low_nats": 0.0, "high_nats": -0.5}
    rows = []
    for gamma, verdict in ((0.0, ""), (3.25, "passes")):
        for bin_ in ("high", "all"):
            ends = dict.fromkeys(("against_standard_low_nats", "against_standard_high_nats", "margin_nats"), gamma)
            for place, loss in enumerate(TRIED):
                changed = {"change_nats": gamma + place / 8, "against_standard_nats": -gamma}
                rows.append({"gamma": gamma, "lambda": gamma / 4, "bin": bin_, "loss": loss, "verdict": verdict})
                rows[-1] |= known | changed | ends
    return pd.DataFrame(rows)


def tables():
    draw, tokens = np.random.default_rng(0), tokens_frame()
    sensitivity = sensitivity_frame(tokens, draw)
    tokens.loc[0, "token_text"] = TOKEN
    rollouts = pd.DataFrame(
        {
            "rollout_id": range(6),
            "prompt_id": [f"p{i}" for i in range(6)],
            "task": "t",
            "dependency": "high",
            "has_image": True,
            "prompt": NASTY,
            "response": "x",
            "answer": "<b>2</b>",
            "correct": [True, False] * 3,
            "n_tokens": 10,
            "truncated": False,
        }
    )
    classes = {"token_class": CLASSES, "n_tokens": [3, 20, 1, 100, 0], "token_share": [0.1, 0.2, 0.3, 0.4, 0.0]}
    means = dict.fromkeys((f"{name}_mean_nats" for name in MEANS), [0.1, 0.02, 3.0, 0.4, np.nan])
    shares = dict.fromkeys(("standard_share", "visual_share"), [0.25, 0.25, 0.25, 0.25, np.nan])
    findings = {
        "question": ["does the teacher see", "does the teacher see", "how hard to steer"],
        "measure": ["m", "VDS", "o"],
        "unit": ["nats", "share", ""],
        "value": [0.123456, 0.5, np.inf],
    }
    findings |= {
        "low": [0.1, np.nan, 0.0],
        "high": [0.2, np.nan, np.inf],
        "verdict": ["<i>", "", ""],
        "reason": [NASTY, "", ""],
    }
    settings = ("verdict", "objective", "gamma", "lambda", "prior", "command")
    return {
        "rollouts": rollouts,
        "tokens": tokens,
        "pictures": pd.DataFrame({"rollout_id": [0, 1], "prompt_id": ["p0", "p1"], "picture": [png(), None]}),
        "token_classes": pd.DataFrame(classes | means | shares),
        "trial": along(trial(), sensitivity),
        "sensitivity": sensitivity,
        "direction_products": products_frame(draw),
        "findings": pd.DataFrame(findings),
        "recommendation": pd.DataFrame({"setting": settings, "choice": "harmful", "reason": "because <u>"}),
    }


@pytest.mark.parametrize(
    ("verdict", "tone"), [("harmful", "bad"), ("undecided", "open"), ("steer", ""), ("do not steer", "")]
)
def test_each_verdict_has_its_tone(verdict, tone, tmp_path):
    changed = tables()
    changed["recommendation"].loc[0, "choice"] = verdict
    notes = {"prompts": 6, "prompts_with_image": 4, "device": "cpu", "seconds": 1.5}
    with open_record(tmp_path / "record", HEADER | {"probe": "probes.diagnose"}) as writer:
        writer.finish(changed, notes)
    assert main([str(tmp_path / "record")]) == 0
    page = (tmp_path / "record" / "report.html").read_text()
    assert f'<section class="verdict {tone}" id="verdict">' in page and f"<strong>{verdict}</strong>" in page


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "record"
    notes = {"prompts": 6, "prompts_with_image": 4, "device": "cpu", "seconds": 1.5}
    with open_record(out, HEADER | {"probe": "probes.diagnose"}) as writer:
        writer.finish(tables(), notes)
    assert main([str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "report.html").read_text()


def test_what_prompts_and_tokens_say_is_escaped(text):
    assert text.count("<script") == 2 and "<img src=x" not in text and "<b>2" not in text and "<i>" not in text
    assert "&lt;script&gt;alert(&#39;prompt&#39;)&lt;/script&gt; \u2400\u2407\u241b[31m \u2039U+202E\u203agnp" in text
    assert "{{ 7 * 7 }} &amp;amp; \u2039U+2028\u203a \u2039U+2066\u203a &#34;&#39;`" in text
    assert not any(ord(character) < 32 and character != "\n" for character in text)
    assert not any(character in text for character in "\u2028\u2066\u202e")


def test_settings_that_were_tried_stand_in_a_table(text):
    assert "Steps that were tried" in text and "4 steps of AdamW at rate 0.0003" in text
    assert ">gamma 3.25, lambda 0.8125</td>" in text and ">-3.2 (3.2 to 3.2)</td>" in text


def test_each_reason_links_to_evidence_that_the_page_has(text):
    card = text[text.index('id="verdict"') : text.index("</section>")]
    targets = re.findall(r'href="#([^"]+)"', card)
    assert {"steps-that-were-tried", "does-the-teacher-see", "how-hard-to-steer", "explore-the-forecast"} <= set(
        targets
    )
    targets += re.findall(r'href="#([^"]+)"', text)
    assert all(text.count(f'id="{target}"') == 1 for target in targets)
    assert links("gamma", ["Explore the forecast"]) == ["Explore the forecast"] and links("other", RESTS_ON) == []


class Folds(HTMLParser):
    """Counts tables, and those inside a fold that is shut."""

    def __init__(self):
        super().__init__()
        self.depth, self.tables, self.folded = 0, 0, 0

    def handle_starttag(self, tag, attrs):
        self.depth += tag == "details" and "open" not in dict(attrs)
        self.tables += tag == "table"
        self.folded += tag == "table" and self.depth > 0

    def handle_endtag(self, tag):
        self.depth -= tag == "details"


def test_every_table_is_folded_and_every_picture_can_be_enlarged(text):
    folds = Folds()
    folds.feed(text)
    assert folds.tables == folds.folded == 5
    assert text.count('<img class="figure"') == text.count('<button class="enlarge"') == 2


def test_pictures_follow_dark_mode(text):
    svgs = [base64.b64decode(code).decode() for code in re.findall('data:image/svg.xml;base64,([^"]+)', text)]
    assert len(svgs) == 2
    for svg in svgs:
        assert "@media(prefers-color-scheme:dark){svg{--c0:#e6e7e9" in svg and "<!--" not in svg
        assert "#222222" not in svg.partition("</style>")[2] and "fill: var(--c0)" in svg


def test_terms_are_explained(text):
    assert re.search(r'<dfn class="term" tabindex="0" data-tip="VDS: [^"<]+">VDS</dfn>', text)
    assert text.count("<dt>VDS</dt>") == 1


def test_a_record_without_a_forecast_has_no_explorer(tmp_path):
    fewer = {name: table for name, table in tables().items() if name not in ("sensitivity", "direction_products")}
    notes = {"prompts": 6, "prompts_with_image": 4, "device": "cpu", "seconds": 1.5}
    with open_record(tmp_path / "record", HEADER | {"probe": "probes.diagnose"}) as writer:
        writer.finish(fewer, notes)
    assert main([str(tmp_path / "record")]) == 0
    assert 'id="explore-the-forecast"' not in (tmp_path / "record" / "report.html").read_text()


def test_it_needs_no_other_file(text):
    assert "http" not in re.sub("http-equiv|http://www.w3.org/2000/svg", "", text) and "url(" not in text
    assert "<link" not in text and "default-src 'none'" in text and text.count("data:image/png;base64,") == 2


def test_numbers_that_are_not_known_are_empty_and_sort_last():
    assert number(float("nan")).sort == "" and number(float("inf")).text == "\u221e" and number(0.1234).text == "0.123"


def test_text_stands_out_from_its_colour():
    assert colours(0.0) == colours(1e-9) and colours(5.0)[1] == "#ffffff" and colours(0.001)[1] != "#ffffff"


def test_a_record_of_another_probe_is_one_line(tmp_path, capsys):
    assert "python -m probes.diagnose" in refused(capsys, tmp_path, "report")


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(folder / "report.html")
        yield opened


def test_in_a_browser_it_is_quiet_and_asks_for_nothing(page, folder):
    assert page.evaluate("document.querySelectorAll('table.sorts').length") == 4
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.requested() == [(folder / "report.html").as_uri()]
    assert page.complaints() == []


def test_in_a_browser_scripts_in_prompts_stay_text(page):
    assert page.evaluate("document.scripts.length") == 2
    assert "<script>alert('prompt')</script>" in page.evaluate("document.querySelector('.said p').textContent")
    assert page.evaluate("document.querySelector('.ribbon .token').textContent").startswith('"><script>alert')


def test_in_a_browser_a_link_unfolds_its_evidence(page):
    fold = "document.getElementById('does-the-teacher-see')"
    assert page.evaluate(f"{fold}.open") is False
    page.evaluate("document.querySelector('#verdict a[href=\"#does-the-teacher-see\"]').click()")
    page.call("Runtime.evaluate", expression="new Promise(done => setTimeout(done, 100))", awaitPromise=True)
    assert page.evaluate(f"{fold}.open") is True


def test_in_a_browser_tables_sort(page):
    table = "document.querySelector('#where-the-losses-lie-by-class-of-token table')"
    column = f"[...{table}.tBodies[0].rows].map(row => row.cells[{{}}].textContent)"
    click = f"{table}.tHead.rows[0].cells[{{}}].querySelector('button').click()"
    page.evaluate(click.format(1))
    assert page.evaluate(column.format(1)) == ["0", "1", "3", "20", "100"]
    page.evaluate(click.format(1))
    assert page.evaluate(column.format(1)) == ["100", "20", "3", "1", "0"]
    page.evaluate(click.format(0))
    assert page.evaluate(column.format(0)) == sorted(CLASSES)
    for _ in range(2):
        page.evaluate(click.format(3))
        assert page.evaluate(column.format(3))[-1] == ""
    page.evaluate(click.format(2))
    assert page.evaluate("document.querySelectorAll('th[aria-sort]').length") == 1


def pointed(page, selector):
    """Move the pointer to the middle of an element."""
    page.evaluate(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
    page.call("Runtime.evaluate", expression="new Promise(done => setTimeout(done, 150))", awaitPromise=True)
    place = "(e => { const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })"
    x, y = page.evaluate(f"{place}(document.querySelector('{selector}'))")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


def test_in_a_browser_a_token_answers_to_the_pointer_and_the_keyboard(page):
    said = "document.querySelector('.ribbon').nextElementSibling.textContent"
    pointed(page, ".ribbon .token:nth-of-type(4)")
    assert "VDS" in page.evaluate(said) and "x \u00b7 bin 3" in page.evaluate(said)
    page.evaluate("document.querySelectorAll('.ribbon .token')[2].focus()")
    assert "x \u00b7 bin 2" in page.evaluate(said)
    assert page.complaints() == []


def test_in_a_browser_a_term_is_explained_under_the_pointer(page):
    pointed(page, "figcaption dfn")
    assert page.evaluate("document.querySelector('.tip').hidden") is False
    assert page.evaluate("document.querySelector('.tip').textContent").startswith("upper bins: ")
    pointed(page, "h1")
    assert page.evaluate("document.querySelector('.tip').hidden") is True


def test_in_a_browser_a_picture_is_enlarged_and_put_away(page):
    page.evaluate("document.querySelector('button.enlarge').click()")
    assert page.evaluate("document.querySelector('dialog.large').open")
    assert page.evaluate("document.querySelector('dialog.large img').getBoundingClientRect().width") >= 1000
    page.evaluate("document.querySelector('dialog.large').click()")
    page.call("Runtime.evaluate", expression="new Promise(done => setTimeout(done, 100))", awaitPromise=True)
    assert page.evaluate("document.querySelector('dialog.large')") is None


def test_in_a_browser_the_command_is_copied(page):
    page.evaluate("document.querySelector('button.copy').click()")
    page.call("Runtime.evaluate", expression="new Promise(done => setTimeout(done, 200))", awaitPromise=True)
    assert page.evaluate("document.querySelector('button.copy').textContent") == "copied"
    assert page.complaints() == []


def test_in_a_browser_a_table_that_goes_on_says_so(page):
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    page.evaluate("document.getElementById('steps-that-were-tried').open = true")
    page.call("Runtime.evaluate", expression="new Promise(done => setTimeout(done, 100))", awaitPromise=True)
    assert page.evaluate("getComputedStyle(document.querySelector('#steps-that-were-tried .cue')).display") == "block"


def test_in_a_browser_a_phone_needs_no_sideways_scrolling(page):
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
