"""The explorer: its sums are those of the record, its script computes what Python does, and hostile text stays text."""

import json
import re
from html import unescape

import numpy as np
import pytest

from figures.explorer import Explorer, text
from figures.explorer.sums import LOSSES, bin_sums, trial_points
from figures.explorer.tokens import token_lists
from geometry import Gram, steered
from records import Measurement, NoTable, read_record
from records.tables.forecast import DIRECTIONS
from stats import prompt_mean, upper_bins
from tests.figures.browser import browser
from tests.figures.drawing import draw
from tests.figures.forecasts import N_BINS, tables, write
from tests.records.synthetic import HEADER

SETTINGS = [(0.0, 0.0, "detached"), (2.0, 0.01, "detached"), (3.7, 0.63, "attached"), (0.5, 1.0, "attached")]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return write(tmp_path_factory.mktemp("forecast") / "record")


def rows_of(record, label):
    """The rows of one bin of the table, by direction."""
    frame = record.table("sensitivity")
    inside = {
        "high": frame["bin"] >= upper_bins(N_BINS)[0],
        "all": frame["bin"] >= 0,
        "text": frame["bin"] < 0,
    }.get(label, frame["bin"].astype(str) == label)
    return {name: frame[inside & (frame["direction"] == name)] for name in DIRECTIONS}


def expected(record, label, loss, gamma, lambda_, prior):
    """The twin: every token's change is added up, then its mean has the interval of `stats.prompt_mean`."""
    rows = rows_of(record, label)
    terms = steered(gamma, lambda_, prior=prior)
    total = sum(weight * rows[name][f"d_{loss}_nats"].to_numpy() for name, weight in terms.items())
    return prompt_mean(total, rows["standard"]["prompt_id"].to_numpy(str))


@pytest.mark.parametrize("setting", SETTINGS)
def test_sums_give_the_means_and_intervals_of_the_record(record, setting):
    gamma, lambda_, prior = setting
    w = np.array([1.0, gamma, gamma if prior == "attached" else 0.0, lambda_])
    sums = bin_sums(record)
    assert [one["label"] for one in sums] == ["0", "1", "2", "3", "high", "all", "text"]
    for one in sums:
        for loss in LOSSES:
            twin = expected(record, one["label"], loss, *setting)
            mean, error = w @ one["mean"][loss], np.sqrt(w @ np.array(one["covariance"][loss]) @ w)
            np.testing.assert_allclose([mean, error], [twin.estimate, twin.standard_error], rtol=1e-12)
            np.testing.assert_allclose(mean + one["t"] * error, twin.high, rtol=1e-12)


def test_one_prompt_has_no_interval():
    content = tables()
    frame = content["sensitivity"]
    frame["prompt_id"] = "one"
    record = Measurement(None, {"header": HEADER | {"settings": {"bins": N_BINS}}}, content)
    assert all(one["t"] is None and one["prompts"] == 1 for one in bin_sums(record))


def test_the_trial_is_put_on_the_scale_of_the_forecast(record):
    bins = bin_sums(record)
    trial = trial_points(record, bins)
    means = {one["label"]: one["mean"] for one in bins}
    measured = [trial["settings"][0]["changes"][label][loss][0] for label in ("high", "all") for loss in LOSSES]
    predicted = [means[label][loss][0] for label in ("high", "all") for loss in LOSSES]
    slope = np.dot(measured, predicted) / np.dot(measured, measured)
    assert slope > 0 and trial["factor"] == pytest.approx(slope)
    assert trial["steps"] == 4 and trial["settings"][1]["verdict"] == "passes"


def test_a_trial_that_goes_the_other_way_has_no_place_on_the_scale(record):
    content = dict(record.tables)
    content["trial"] = content["trial"].assign(change_nats=-content["trial"]["change_nats"])
    other = Measurement(None, record.record, content)
    assert trial_points(other, bin_sums(other))["factor"] is None and "no place on this scale" in text(other)


def test_tokens_with_pictures_stand_first_and_the_others_by_what_they_move(record):
    lists = token_lists(record)
    assert set(lists["bins"]) == {"0", "1", "2", "3", "text"}
    for one in lists["bins"].values():
        pictured = [token["rollout"] == 1 for token in one["tokens"]]
        assert pictured == sorted(pictured, reverse=True)
        weights = [np.abs(np.array(token["changes"])[:, :2]).max() for token in one["tokens"] if token["rollout"] != 1]
        assert weights == sorted(weights, reverse=True)
    assert lists["prompts"]["1"]["png"] and not lists["prompts"]["3"]["png"]


def test_a_record_without_changes_of_tokens_is_refused_by_name():
    with pytest.raises(NoTable, match=r"no table `sensitivity`: `python -m probes\.sensitivity` writes it"):
        text(read_record("figures/gallery/sensitivity"))


def test_text_of_others_stays_text(record):
    page = text(record)
    assert page.count("<script") == 2 and "alert('x')" not in page and "<img" not in page
    assert not any(sign in page for sign in "\u2028\u2029\u202e\u2066\x00\x1b")
    assert "\\u003cscript\\u003ealert" in page and "\\u2039U+202E\\u203a" in page
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert any("<script>alert" in token["text"] for token in data["tokens"]["bins"]["0"]["tokens"])


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(record):
    shown = Explorer(record, height_px=640)._repr_html_()
    assert shown.startswith("<iframe srcdoc=") and 'sandbox="allow-scripts"' in shown and 'height="640"' in shown
    inside = re.fullmatch(r'<iframe srcdoc="([^"]*)" [^<>]*></iframe>', shown, re.DOTALL)
    assert unescape(inside[1]) == text(record)


def test_the_command_writes_one_file(record, tmp_path, capsys):
    assert draw(capsys, record.path, "explorer", "--out", tmp_path) == [str(tmp_path / "explorer.html")]
    page = (tmp_path / "explorer.html").read_text()
    assert page == text(record) and "http" not in page.replace("http-equiv", "").replace(
        "http://www.w3.org/2000/svg", ""
    )


@pytest.fixture(scope="module")
def page(record, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "explorer.html"
    file.write_text(text(record), encoding="utf-8")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(file)
        yield opened


def move(page, gamma, lambda_, prior):
    """Move the sliders as a reader does: their values, then the event of an input."""
    page.evaluate(
        f"""(() => {{ const part = name => document.querySelector(`[data-part="${{name}}"]`);
        part("gamma").value = {gamma}; part("lambda").value = {lambda_};
        document.querySelector('input[value="{prior}"]').checked = true;
        part("gamma").dispatchEvent(new Event("input", {{bubbles: true}})); }})()"""
    )


def shown(page, bin_, loss):
    cell = f"""document.querySelector('[data-part="numbers"] [data-bin="{bin_}"] [data-loss="{loss}"]').dataset"""
    return [float(page.evaluate(f"{cell}.{name}")) for name in ("mean", "low", "high")]


@pytest.mark.parametrize("setting", SETTINGS)
def test_in_a_browser_the_forecast_is_that_of_python(page, record, setting):
    move(page, *setting)
    for label in ("0", "3", "high", "all", "text"):
        for loss in LOSSES:
            twin = expected(record, label, loss, *setting)
            np.testing.assert_allclose(shown(page, label, loss), [twin.estimate, twin.low, twin.high], rtol=1e-9)


@pytest.mark.parametrize("setting", SETTINGS)
def test_in_a_browser_eta_and_angles_are_those_of_the_gram_matrix(page, record, setting):
    gamma, lambda_, prior = setting
    move(page, *setting)
    table = record.table("direction_products").pivot(index="direction_a", columns="direction_b", values="product")
    gram, toward = Gram(table.loc[list(DIRECTIONS), list(DIRECTIONS)], DIRECTIONS), steered(gamma, lambda_, prior=prior)
    part = "Number(document.querySelector('[data-part=\"{}\"]').dataset.value)"
    assert page.evaluate(part.format("eta")) == pytest.approx(float(gram.eta(gamma, prior=prior)), rel=1e-9)
    assert page.evaluate(part.format("norm")) == pytest.approx(float(gram.norm(toward)), rel=1e-9)
    for name in (*DIRECTIONS, "visual_attached"):
        angle = page.evaluate(f"Number(document.querySelector('li[data-name=\"{name}\"]').dataset.value)")
        assert angle == pytest.approx(float(gram.angle_deg(toward, name)), abs=1e-5)


def test_in_a_browser_a_bin_lists_its_tokens_with_pictures(page):
    page.evaluate(
        "document.querySelector('.panels [data-bin=\"1\"]').dispatchEvent(new Event('click', {bubbles: true}))"
    )
    place = "document.querySelector('[data-part=\"tokens\"]')"
    assert page.evaluate(f"{place}.querySelector('h4').textContent") == "Tokens of bin 1"
    assert page.evaluate(f"{place}.querySelectorAll('tbody tr').length") > 3
    assert page.evaluate(f"{place}.querySelectorAll('img').length") >= 1
    assert page.evaluate(f"{place}.querySelector('img').src").startswith("data:image/png;base64,")
    assert "<script>alert('x')</script>" in page.evaluate(f"{place}.textContent")
    assert page.evaluate("document.scripts.length") == 2


def test_in_a_browser_a_tried_setting_shows_its_points(page, record):
    buttons = "[...document.querySelectorAll('[data-part=\"settings\"] button')]"
    names = page.evaluate(f"{buttons}.map(one => one.textContent)")
    assert names == [
        "\u03b3 2, \u03bb 0.01: published",
        "\u03b3 0, \u03bb 0: standard",
        "\u03b3 3.25, \u03bb 0.5: passes",
    ]
    page.evaluate(f"{buttons}[2].click()")
    assert page.evaluate("document.querySelector('[data-part=\"gamma\"]').value") == "3.25"
    assert page.evaluate(f"{buttons}.map(one => one.getAttribute('aria-pressed'))") == ["false", "false", "true"]
    assert page.evaluate("document.querySelectorAll('.tried').length") == 2 * len(LOSSES)
    assert "frozen" in page.evaluate("document.querySelector('.tried title').textContent")
    page.evaluate(f"{buttons}[0].click()")
    assert page.evaluate("document.querySelectorAll('.tried').length") == 0


def test_in_a_browser_it_is_quiet_asks_for_nothing_and_fits_a_phone(page):
    assert page.complaints() == [] and len(page.requested()) == 1
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
