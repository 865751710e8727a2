"""From templates to a page: one style and one script stand inside it, and its policy names the script by its hash."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from figures.web.glossary import glossed
from figures.web.visible import visible

FOLDER: Final = Path(__file__).parents[1]
"""Where templates, styles and scripts are named from."""
_BASIS: Final = ("web/page",)


def render(template: str, parts: Sequence[str] = (), **content: Any) -> str:
    """Return a page as HTML.

    Args:
        template: a file below `FOLDER`, such as `report/page.html.jinja`.
        parts: names without a suffix; `NAME.css` and `NAME.js` are added to those of every page, where they exist.
        content: what the template is filled with.
    """
    environment, named = _environment(), (*_BASIS, *parts)
    script = '"use strict";\n' + _joined(named, ".js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    files = {"style": Markup(_joined(named, ".css")), "script": Markup(script), "script_hash": digest}
    return environment.get_template(template).render(**files, **content)


def _environment() -> Environment:
    autoescape = select_autoescape(["html", "jinja"])
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=autoescape, trim_blocks=True)
    environment.filters |= {"visible": visible, "glossed": glossed}
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def _joined(names: Sequence[str], suffix: str) -> str:
    """The text of the files of these names that there are."""
    paths = [FOLDER / f"{name}{suffix}" for name in names]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())
