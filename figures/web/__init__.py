"""What the pages share: text made safe to show, one style, one script, pictures that follow dark mode, and a glossary.

A page is one file. It loads nothing, its policy allows no script except its own, and text from data is escaped.
"""

from figures.web.glossary import glossed
from figures.web.pictures import svg_url
from figures.web.rendering import render
from figures.web.visible import visible

__all__ = ["glossed", "render", "svg_url", "visible"]
