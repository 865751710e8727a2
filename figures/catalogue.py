"""The catalogue: every picture by name, the tables it is drawn from, and the options it takes.

    picture("angle_bins").write(read_record("runs/demo", "bins"), Path("pictures"), scope="language_model")

A picture's name is its module in this package, whose `draw(record, **options)` returns a figure. Three entries are
pages of text, `explorer`, `report` and `tables`: their modules have `text(record)`. A module is imported when it draws,
and not before: names, summaries and tables can be read without matplotlib.
"""

import ast
import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.errors import UserError
from figures.sheets import SCREEN, on_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from records import Measurement


@dataclass(frozen=True)
class Picture:
    """One picture, or one page of text."""

    name: str
    tables: tuple[str, ...]
    """The tables that it cannot be drawn without."""
    drawn_by: str = ""
    """The probe that draws it into its own record; empty if it is only drawn by name."""
    optional: tuple[str, ...] = ()
    """Tables from which more is drawn, where a record has them."""
    options: tuple[str, ...] = ()
    """The keyword parameters of the module's `draw`."""
    page: str = ""
    """The suffix of a page of text; empty for a figure."""

    @property
    def manual(self) -> str:
        """The docstring of the module, read without importing it."""
        spec = find_spec(f"figures.{self.name}")
        assert spec is not None and spec.origin is not None, self.name
        return ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""

    @property
    def summary(self) -> str:
        """The first line of the manual."""
        return self.manual.partition("\n")[0]

    def belongs_to(self, record: "Measurement") -> bool:
        """Say whether the probe that wrote a record draws this picture; a training run is drawn as a study is."""
        writers = record.header["probe"].split(".")
        return self.drawn_by in (["study"] if writers == ["train"] else writers)

    def read(self, folder: str | Path) -> "Measurement":
        """Read a record, or the folder of a run, with the tables that this picture is drawn from.

        Raises:
            RecordError: there is no complete record, or it lacks a table; the message names the command that writes it.
        """
        from records.run_folder import read_record_or_run

        record = read_record_or_run(folder, *self.tables)
        more = [table for table in self.optional if table in record.record["tables"]]
        return read_record_or_run(folder, *self.tables, *more) if more else record

    def draw(self, record: "Measurement", style: str = SCREEN, title: bool = True, **options: Any) -> "Figure":
        """Return the figure.

        Args:
            style: `screen`, `page` or `column`, see `figures.sheets`.
            title: whether a title and a caption stand above the panels.
            options: of the module's `draw`.

        Raises:
            OptionError: there is no such style.
            RecordError: an option has no value that the record can be drawn with, or there is nothing to draw.
        """
        with on_sheet(style, title):
            return self._module().draw(record, **options)

    def stem(self, style: str = SCREEN, **options: Any) -> str:
        """Return the name of the file without its suffix: the picture's, and the choices that are not the usual ones.

        >>> picture("gradient_plane").stem(scope="all", weigh="energy", style="column")
        'gradient_plane-energy-column'
        """
        chosen = [options[name] for name in self.options if name in options and options[name] != self._usual(name)]
        words = [value for value in chosen if isinstance(value, str)]
        return "-".join([self.name, *words, *([style] if style != SCREEN else [])])

    def write(
        self, record: "Measurement", folder: Path, style: str = SCREEN, title: bool = True, **options: Any
    ) -> list[Path]:
        """Draw into a folder; return the paths: a PNG and an SVG, on a page or in a column a PDF, too, or one page.

        Raises:
            OptionError: there is no such style.
            RecordError: as `draw` does.
        """
        with on_sheet(style, title):
            if self.page:
                return self._write_page(record, folder)
            from figures.style import save

            return save(self._module().draw(record, **options), folder / self.stem(style, **options))

    def _write_page(self, record: "Measurement", folder: Path) -> list[Path]:
        from records.files import write_page

        path = folder / f"{self.name}{self.page}"
        write_page(path, self._module().text(record))
        return [path]

    def _module(self) -> Any:
        return import_module(f"figures.{self.name}")

    def _usual(self, option: str) -> Any:
        return inspect.signature(self._module().draw).parameters[option].default


_SKETCH = "sketch_error"

PICTURES = (
    Picture("angle_bins", ("bins",), "angles", (_SKETCH,), options=("scope",)),
    Picture("language_visual", ("bins",), options=("scope",)),
    Picture("bin_shares", ("bins",)),
    Picture("gradient_plane", ("units", "grams"), optional=(_SKETCH,), options=("scope", "weigh")),
    Picture(
        "ribbon",
        ("rollouts", "tokens", "units", "bins"),
        optional=(_SKETCH,),
        options=("responses", "pictures", "attached", "threshold_deg"),
    ),
    Picture("vds", ("tokens",), "vds"),
    Picture("layers", ("layers",), "layers", (_SKETCH,), options=("scope",)),
    Picture("norm_dynamics", ("norms",), "norms", (_SKETCH,), options=("scope", "bin_")),
    Picture(
        "sensitivity",
        ("forecast", "steering", "readings"),
        "sensitivity",
        optional=("step_changes", "step_fits"),
        options=("prior",),
    ),
    Picture("forecast", ("forecast", "readings"), "sensitivity", options=("prior",)),
    Picture("forecast_reach", ("step_changes", "step_fits"), "sensitivity"),
    Picture(
        "explorer",
        ("sensitivity", "direction_products", "tokens"),
        "sensitivity",
        optional=("rollouts", "pictures", "trial"),
        page=".html",
    ),
    Picture("trial", ("trial",)),
    Picture("before_after", ("changes",), "compare", ("angle_changes", "accuracy_changes"), ("scope",)),
    Picture("changed_answers", ("examples",), "compare"),
    Picture(
        "report",
        ("rollouts", "tokens", "pictures", "token_classes", "findings", "recommendation"),
        "diagnose",
        optional=(
            *("bins", "units", "layers", "forecast", "steering", "readings", "trial", "precision", _SKETCH),
            *("sensitivity", "direction_products"),
        ),
        page=".html",
    ),
    Picture("accuracy", ("verdicts", "effects"), "study", options=("arms",)),
    Picture("accuracy_by_task", ("verdicts",), "study", options=("arms",)),
    Picture("loss_dynamics", ("curves",), "study", options=("rollouts", "arms", "window")),
    Picture("training_curves", ("evaluations", "steps"), "study", options=("group", "arms", "window")),
    Picture("training_norms", ("gradients",), "study", options=("arms", "scope", "gamma")),
    Picture("strength", ("effects",), "study", options=("group",)),
    Picture("step_time", ("steps",), "study", options=("arms",)),
    Picture("monitor", ("curves", "gradients"), "monitor", options=("scope",)),
    Picture("phase_diagram", ("phases",), "phases", options=("quantity",)),
    Picture("steering_effect", ("phases",), "phases", options=("quantity",)),
    Picture("pair_contrasts", ("phases",), "phases", options=("quantity",)),
    Picture("tables", ("verdicts", "effects"), "study", page=".md"),
)
_BY_NAME: Mapping[str, Picture] = {one.name: one for one in PICTURES}


def picture(name: str) -> Picture:
    """Return the picture of a name.

    Raises:
        UserError: there is none; the message lists the names.
    """
    if name not in _BY_NAME:
        raise UserError(f"`name` must be one of {', '.join(_BY_NAME)}, got {name!r}")
    return _BY_NAME[name]


def drawable(tables: Collection[str]) -> list[Picture]:
    """Return the pictures that can be drawn from tables of these names, such as `record.record["tables"]`."""
    return [one for one in PICTURES if set(one.tables) <= set(tables)]
