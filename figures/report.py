"""The report of a diagnosis: one HTML file with its pictures inside, to be opened anywhere without a network.

    python -m figures.report runs/diagnose-0123456789ab
    python -m figures.report runs/diagnose-0123456789ab --out folder

Reads a record written by `python -m probes.diagnose`; writes `report.html`. Whatever comes from prompts and models is
escaped, control characters are shown as pictures of themselves, and the page runs no script but its own.
"""

import base64
import hashlib
import io
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.figure import Figure

from figures import angle_bins, command, layers, report_tables, sensitivity, vds
from figures.report_tables import Data
from figures.report_tokens import key_steps, responses
from figures.style import styled
from records import Measurement, RecordError, read_record

NAME = "report.html"
NEEDED = ("rollouts", "tokens", "pictures", "token_classes", "findings", "recommendation")
OPTIONAL = ("bins", "units", "layers", "forecast", "steering", "readings", "trial", "precision")
DPI = 150
BAD = ("harmful",)

_PICTURES: Sequence[tuple[str, Callable[[Measurement], Figure], str]] = (
    ("tokens", vds.draw, "How much response tokens depend on the picture, and the losses by VDS bin"),
    ("bins", angle_bins.draw, "Angles between the gradients by VDS bin, all parameters; grey: unrelated tokens"),
    ("layers", layers.draw, "Where in the model the gradients lie and meet"),
    ("forecast", sensitivity.draw, "What a first step of standard + gamma visual would change on held-out responses"),
)


def visible(text: str) -> str:
    r"""Return text with every character that would not show, or would reorder others, written out.

    >>> visible("a\x00\x1b[31m"), visible("\u202eb"), visible("line\nbreak")
    ('a␀␛[31m', '‹U+202E›b', 'line↵break')
    """
    return "".join(map(_shown, text))


def page(record: Measurement) -> str:
    """Return the whole page."""
    loader = PackageLoader("figures")
    environment = Environment(loader=loader, autoescape=select_autoescape(["html", "jinja"]))
    environment.filters["visible"] = lambda value: visible(str(value))
    script = loader.get_source(environment, "report.js")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html.jinja").render(**_content(record), script=script, script_hash=digest)


def write(record: Measurement, folder: Path) -> Path:
    """Write the page into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_text(page(record), encoding="utf-8")
    return folder / NAME


def read(folder: Path) -> Measurement:
    """Read a diagnosis with those tables that it has."""
    present = read_record(folder, *NEEDED).record["tables"]
    return read_record(folder, *NEEDED, *(table for table in OPTIONAL if table in present))


def _content(record: Measurement) -> dict[str, Any]:
    """Return what the template is filled with."""
    tokens, notes, header = record.tables["tokens"], record.record["notes"], record.header
    recommendation = record.tables["recommendation"].to_dict("records")
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
        "is_bad": chosen["verdict"]["choice"] in BAD,
        "settings": [row for row in recommendation if row["setting"] not in ("verdict", "command")],
        "command": chosen["command"]["choice"] if "command" in chosen else "",
        "sections": _sections(record),
        "responses": responses(record),
        "has_angles": "units" in record.tables,
        "key": key_steps(),
    }


def _sections(record: Measurement) -> list[dict[str, Any]]:
    """Return titles, words, tables and pictures, in order."""
    by_question = record.tables["findings"].groupby("question", sort=False)
    sections = [_section(_title(str(name)), table=report_tables.findings(rows)) for name, rows in by_question]
    words = (
        "Mean nats over the tokens of responses to a prompt with a picture; the rules stand in"
        " probes/diagnosis/token_classes.py."
    )
    classes = report_tables.classes(record.tables["token_classes"])
    sections.append(_section("Where the losses lie, by class of token", words, classes))
    if "trial" in record.tables:
        trial = record.tables["trial"]
        words = (
            f"Change of the losses by {trial['steps'].iloc[0]} steps of AdamW at rate {trial['lr'].iloc[0]:g}, in nats"
            " over the upper three tenths of the bins, on prompts that made no step. A setting passes if neither loss"
            " surely ends above standard's."
        )
        sections.append(_section("Steps that were tried", words, report_tables.trial(trial)))
    if "bins" in record.tables:
        words = (
            "Mean angles of language and visual gradient in degrees, q* detached and attached; null: unrelated tokens."
        )
        sections.append(_section("Geometry by VDS bin", words, report_tables.bins(record.tables["bins"])))
    if "layers" in record.tables:
        words = "Over all bins: share of the squared norm, and the angles, with their 95 % intervals over prompts."
        sections.append(_section("Geometry by part of the model", words, report_tables.groups(record.tables["layers"])))
    drawn = [
        {"caption": words, "png": _png(draw(record))} for table, draw, words in _PICTURES if _drawable(record, table)
    ]
    return [*sections, _section("Pictures", figures=drawn)]


def _section(
    title: str, words: str = "", table: Data | None = None, figures: Sequence[Mapping[str, str]] = ()
) -> dict[str, Any]:
    return {"title": title, "words": words, "table": table, "figures": figures}


def _drawable(record: Measurement, table: str) -> bool:
    """Say whether the table is there, and of tables of angles whether any is known: those of zero gradients are not."""
    if table not in record.tables:
        return False
    angles = record.tables[table].filter(regex="^angle_.*_mean_deg$")
    return angles.empty or bool(angles.notna().any(axis=None))


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
    return (
        f"\u2039U+{code:04X}\u203a"
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        else character
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a record from the command line; return the exit code."""
    options = command.parser("report", "Write a diagnosis as one HTML page.", "probes.diagnose").parse_args(argv)
    try:
        path = write(read(options.record), options.out or options.record)
    except (RecordError, OSError) as error:
        print(f"figures.report: error: {error}", file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
