"""The page of the report: what the template is filled with."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from figures.glossary import TERMS
from figures.report.evidence import EXPLORER, PICTURES, TOKENS, anchor, links
from figures.report.pictures import more, telling
from figures.report.sections import sections
from figures.report.tokens import key_steps, responses
from figures.web import render
from records import Measurement

PARTS: Final = ("report/report", "explorer/arithmetic", "explorer/explorer", "report/ribbon")
BAD, OPEN = ("harmful",), ("undecided",)
EVIDENCE, MORE, MEASURED, GLOSSARY = "Evidence", "More pictures", "What was measured", "Glossary"
NAMES: Final = {
    "pictures": PICTURES,
    "explorer": EXPLORER,
    "tokens": TOKENS,
    "evidence": EVIDENCE,
    "more": MORE,
    "measured": MEASURED,
    "glossary": GLOSSARY,
}
"""Titles of the parts of the page."""


def text(record: Measurement) -> str:
    """Return the whole page as HTML, with its pictures inside."""
    return render("report/page.html.jinja", PARTS, **_content(record))


def _content(record: Measurement) -> dict[str, Any]:
    """Return what the template is filled with."""
    evidence, pictures, others, said = sections(record), telling(record), more(record), responses(record)
    explorer = _explorer(record)
    titles = [one["title"] for one in evidence]
    shown = {PICTURES: pictures, EXPLORER: explorer, TOKENS: said}
    main = [name for name, there in shown.items() if there]
    contents = [*main, EVIDENCE, *([MORE] if others else []), MEASURED, GLOSSARY]
    return {
        **_header(record),
        **_card(record, [*main, *titles]),
        "contents": [{"title": name, "anchor": anchor(name)} for name in contents],
        "names": NAMES,
        "terms": TERMS,
        "anchor": anchor,
        "pictures": pictures,
        "more": others,
        "explorer": explorer,
        "sections": evidence,
        "responses": said,
        "has_angles": record.has("units"),
        "key": key_steps(),
    }


def _header(record: Measurement) -> dict[str, Any]:
    """Return what names the pair and the run."""
    notes, header = record.notes, record.header
    return {
        "student": header["pair"]["student"],
        "teacher": header["pair"]["teacher"],
        "weights": header["weights"],
        "settings_used": {key: value for key, value in header["settings"].items() if value is not None},
        "name": record.record["fingerprint"],
        "n_prompts": notes["prompts"],
        "n_pictured": notes["prompts_with_image"],
        "n_tokens": len(record.table("tokens")),
        "device": notes["device"],
        "seconds": notes["seconds"],
    }


def _card(record: Measurement, titles: Sequence[str]) -> dict[str, Any]:
    """Return the verdict, the settings and the command, each with links to the sections that it rests on."""
    rows = [_linked(row, titles) for row in record.table("recommendation").to_dict("records")]
    chosen = {row["setting"]: row for row in rows}
    return {
        "verdict": chosen["verdict"],
        "tone": _tone(chosen["verdict"]["choice"]),
        "settings": [row for row in rows if row["setting"] not in ("verdict", "command")],
        "command": chosen["command"]["choice"] if "command" in chosen else "",
    }


def _linked(row: Mapping[Any, Any], titles: Sequence[str]) -> dict[str, Any]:
    evidence = [{"title": one, "anchor": anchor(one)} for one in links(row["setting"], titles)]
    return {**row, "evidence": evidence if row["choice"] != "-" else []}


def _explorer(record: Measurement) -> dict[str, Any] | None:
    """Return the data of the explorer; None for a record without a forecast."""
    if not record.has("sensitivity", "direction_products"):
        return None
    from figures.explorer import content

    return content(record)


def _tone(verdict: str) -> str:
    """Return the class of the page that a verdict is shown in."""
    return "bad" if verdict in BAD else "open" if verdict in OPEN else ""
