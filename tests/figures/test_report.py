"""The report: what prompts say stays text, and in a real browser it is quiet, sorts and answers to the pointer."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from figures.__main__ import main
from figures.report.tables import number
from figures.report.tokens import colours
from records import open_record
from records.tables.diagnosis import CLASSES, MEANS, TRIED
from tests.figures.browser import CHROMIUM, browser
from tests.figures.drawing import refused
from tests.figures.test_vds import tokens_frame
from tests.records.synthetic import HEADER

NASTY = "<script>alert('prompt')</script> \x00\x07\x1b[31m \u202egnp <img src=x onerror=alert(1)> {{ 7 * 7 }} &amp;"
TOKEN = '"><script>alert("token")</script>\x08'


def png():
    out = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(out, "PNG")
    return out.getvalue()


def trial():
    """Standard, and a setting that passes, of two tokens."""
    known = {"prior": "detached", "steps": 4, "lr": 3e-4, "n_tokens": 2, "low_nats": 0.0, "high_nats": 0.5}
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
    tokens = tokens_frame()
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
        "question": "q",
        "measure": ["m", "n", "o"],
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
        "trial": trial(),
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
    assert text.count("<script") == 1 and "alert(1)>" not in text and "<b>2" not in text and "<i>" not in text
    assert "&lt;script&gt;alert(&#39;prompt&#39;)&lt;/script&gt; \u2400\u2407\u241b[31m \u2039U+202E\u203agnp" in text
    assert "{{ 7 * 7 }} &amp;amp;" in text
    assert not any(ord(character) < 32 and character != "\n" for character in text)


def test_settings_that_were_tried_stand_in_a_table(text):
    assert "Steps that were tried" in text and "4 steps of AdamW at rate 0.0003" in text
    assert ">gamma 3.25, lambda 0.8125</td>" in text and ">+3.4</td>" in text and ">-3.2 (3.2 to 3.2)</td>" in text


def test_it_needs_no_other_file(text):
    assert "http" not in text.replace("http-equiv", "") and "url(" not in text and "<link" not in text
    assert "default-src 'none'" in text and text.count("data:image/png;base64,") == 2  # a picture, the figure of VDS


def test_numbers_that_are_not_known_are_empty_and_sort_last():
    assert number(float("nan")).sort == "" and number(float("inf")).text == "\u221e" and number(0.1234).text == "0.123"


def test_text_stands_out_from_its_colour():
    assert colours(0.0) == colours(1e-9) and colours(5.0)[1] == "#ffffff" and colours(0.001)[1] != "#ffffff"


def test_a_record_of_another_probe_is_one_line(tmp_path, capsys):
    assert "python -m probes.diagnose" in refused(capsys, tmp_path, "report")


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: install the Debian package to test the report in a browser")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(folder / "report.html")
        yield opened


def test_in_a_browser_it_is_quiet_and_asks_for_nothing(page, folder):
    assert page.evaluate("document.querySelectorAll('table').length") == 3
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.requested() == [(folder / "report.html").as_uri()]
    assert page.complaints() == []


def test_in_a_browser_scripts_in_prompts_stay_text(page):
    assert page.evaluate("document.scripts.length") == 1
    assert "<script>alert('prompt')</script>" in page.evaluate("document.querySelector('.said p').textContent")
    assert page.evaluate("document.querySelector('.token[tabindex]').textContent").startswith('"><script>alert')


def test_in_a_browser_tables_sort(page):
    column = "[...document.querySelectorAll('table')[1].tBodies[0].rows].map(row => row.cells[{}].textContent)"
    click = "document.querySelectorAll('table')[1].tHead.rows[0].cells[{}].querySelector('button').click()"
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


def test_in_a_browser_a_token_answers_to_the_pointer_and_the_keyboard(page):
    said = "document.querySelector('.ribbon').nextElementSibling.textContent"
    page.evaluate("document.querySelector('.ribbon').scrollIntoView({block: 'center'})")
    place = "(e => { const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })"
    x, y = page.evaluate(f"{place}(document.querySelectorAll('.ribbon .token')[3])")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert "VDS" in page.evaluate(said) and "x \u00b7 bin 3" in page.evaluate(said)
    page.evaluate("document.querySelectorAll('.ribbon .token')[2].focus()")
    assert "x \u00b7 bin 2" in page.evaluate(said)
    assert page.complaints() == []


def test_in_a_browser_a_phone_needs_no_sideways_scrolling(page):
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
