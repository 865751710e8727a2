"""The page of the report: what the template is filled with, and text made safe to show."""

import base64
import hashlib
import io
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.figure import Figure

from figures import captions
from figures.catalogue import Picture, picture
from figures.report import tables
from figures.report.tables import Data
from figures.report.tokens import key_steps, responses
from figures.style import styled
from records import Measurement

DPI = 150
BAD, OPEN = ("harmful",), ("undecided",)

_PICTURES = (
    ("vds", "How much response tokens depend on the picture, and the losses by VDS bin"),
    ("angle_bins", "Angles between the gradients by VDS bin, all parameters; grey: unrelated tokens"),
    ("layers", "Where in the model the gradients lie and meet"),
    ("sensitivity", "What a first step of standard + gamma visual would change on held-out responses"),
)
_TABLES: Sequence[tuple[str, str, str, Callable[[pd.DataFrame], Data]]] = (  # name, title, words, what makes its cells
    (
        "token_classes",
        "Where the losses lie, by class of token",
        "Mean nats over the tokens of responses to a prompt with a picture; the rules stand in"
        " probes/diagnosis/token_classes.py.",
        tables.classes,
    ),
    (
        "trial",
        "Steps that were tried",
        "Change of the losses by {steps} steps of AdamW at rate {lr:g}, in nats over the upper three tenths of the"
        " bins, on prompts that made no step; differences from standard with their 99 % intervals over prompts. The"
        " margin is a tenth of what standard distillation moves that loss of a token. A setting passes if every upper"
        " bound lies below the margin, and a loss that it is for lies surely lower by more than the margin.",
        tables.trial,
    ),
    (
        "bins",
        "Geometry by VDS bin",
        "Mean angles of language and visual gradient in degrees, q* detached and attached; null: unrelated tokens.",
        tables.bins,
    ),
    (
        "layers",
        "Geometry by part of the model",
        "Over all bins: share of the squared norm, and the angles, with their 95 % intervals over prompts.",
        tables.groups,
    ),
)


_ANGLES = ("bins", "layers")  # tables of angles


def visible(value: object) -> str:
    r"""Return a value as text with every character that would not show, or would reorder others, written out.

    >>> visible("a\x00\x1b[31m"), visible("\u202eb"), visible("line\nbreak")
    ('a␀␛[31m', '‹U+202E›b', 'line↵break')
    """
    return "".join(map(_shown, str(value)))


def text(record: Measurement) -> str:
    """Return the whole page as HTML, with its pictures inside."""
    loader = PackageLoader("figures.report", ".")
    environment = Environment(loader=loader, autoescape=select_autoescape(["html", "jinja"]))
    environment.filters["visible"] = visible
    script = loader.get_source(environment, "page.js")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html.jinja").render(**_content(record), script=script, script_hash=digest)


def _content(record: Measurement) -> dict[str, Any]:
    """Return what the template is filled with."""
    tokens, notes, header = record.table("tokens"), record.record["notes"], record.header
    recommendation = record.table("recommendation").to_dict("records")
    chosen = {row["setting"]: row for row in recommendation}
    return {
        "student": header["pair"]["student"],
        "teacher": header["pair"]["teacher"],
        "weights": header["weights"],
        "settings_used": {key: value for key, value in header["settings"].items() if value is not None},
        "name": record.record["fingerprint"],
        "n_prompts": notes["prompts"],
        "n_pictured": notes["prompts_with_image"],
        "n_tokens": len(tokens),
        "device": notes["device"],
        "seconds": notes["seconds"],
        "verdict": chosen["verdict"],
        "tone": _tone(chosen["verdict"]["choice"]),
        "settings": [row for row in recommendation if row["setting"] not in ("verdict", "command")],
        "command": chosen["command"]["choice"] if "command" in chosen else "",
        "sections": _sections(record),
        "responses": responses(record),
        "has_angles": record.has("units"),
        "key": key_steps(),
    }


def _sections(record: Measurement) -> list[dict[str, Any]]:
    """Return titles, words, tables and pictures, in order."""
    by_question = record.table("findings").groupby("question", sort=False)
    sections = [_section(_title(str(name)), table=tables.findings(rows)) for name, rows in by_question]
    off = captions.sketch(record)
    estimated = f"Products of gradients were estimated: {off}." if off else ""
    for name, title, words, as_data in _TABLES:
        if record.has(name):
            rows = record.table(name)
            first = next(iter(rows.head(1).to_dict("records")), {})
            words = f"{words.format_map(first)} {estimated if name in _ANGLES else ''}".strip()
            sections.append(_section(title, words, as_data(rows)))
    drawn = [(picture(name), words) for name, words in _PICTURES]
    figures = [{"caption": words, "png": _png(one.draw(record))} for one, words in drawn if _drawable(record, one)]
    return [*sections, _section("Pictures", figures=figures)]


def _tone(verdict: str) -> str:
    """Return the class of the page that a verdict is shown in."""
    return "bad" if verdict in BAD else "open" if verdict in OPEN else ""


def _section(
    title: str, words: str = "", table: Data | None = None, figures: Sequence[Mapping[str, str]] = ()
) -> dict[str, Any]:
    return {"title": title, "words": words, "table": table, "figures": figures}


def _drawable(record: Measurement, one: Picture) -> bool:
    """Say whether a picture's tables are there and not all their angles are nan, as those of zero gradients are."""
    if not record.has(*one.tables):
        return False
    angles = [record.table(table).filter(regex="^angle_.*_mean_deg$") for table in one.tables]
    angles = [frame for frame in angles if not frame.empty]
    return not angles or any(frame.notna().any(axis=None) for frame in angles)


def _title(question: str) -> str:
    """Return a question as a heading."""
    asked = "?" if question.startswith(("do ", "does ")) else ""
    return f"{question[:1].upper()}{question[1:]}{asked}"


def _png(figure: Figure) -> str:
    out = io.BytesIO()
    with styled():
        figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return base64.b64encode(out.getvalue()).decode()


def _shown(character: str) -> str:
    code = ord(character)
    if character == "\n":
        return "\u21b5"
    if code < 32 or code == 127:
        return chr(0x2421 if code == 127 else 0x2400 + code)
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    return f"\u2039U+{code:04X}\u203a" if hidden else character
