"""What a measurement is: its tables, its picture, and the advice that a diagnosis comes to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import records
from cli.errors import UserError
from figures import catalogue
from geometry.objective_settings import Prior
from probes.diagnosis import NEEDS, TRAINING, config_file
from records.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from probes.probe import Probe


TRAIN_FILE = "train.yaml"


@dataclass(frozen=True, eq=False, repr=False)
class Measurement(records.Measurement):
    """A complete measurement. Its tables are attributes, such as `.bins`; `print` and notebooks show its main table."""

    probe: "Probe"
    values: tuple[Any, ...] = ()
    """The values of the probe's own options."""

    def draw(self, name: str | None = None, **options: Any) -> "Figure":
        """Return a picture: the probe's own, or that of a name in `figures.catalogue`.

        options: of the picture, such as `scope`; by default as the measurement was made.

        Raises:
            UserError: there is no such picture, or this measurement lacks what it is drawn from.
        """
        picture = catalogue.picture(name) if name else self._figure()
        return picture.draw(self, **self._options(picture) | options)

    def save(self, folder: str | Path | None = None) -> list[Path]:
        """Write the probe's own pictures; return their paths.

        folder: by default that of the record.

        Raises:
            UserError: the measurement is in memory and no folder is named.
        """
        place = folder or self.path
        if place is None:
            raise UserError("`folder` must be named for a measurement in memory, got None")
        own = [picture for picture in self._drawable() if picture.belongs_to(self)]
        return [picture.write(self, Path(place), **self._options(picture))[0] for picture in own]

    @property
    def others(self) -> list[Path]:
        """Files beside the record that are neither tables nor pictures."""
        return []

    def write_others(self, replace: bool) -> None:
        """Write those of these files that are missing; with `replace` also those that an earlier measurement left."""

    def __str__(self) -> str:
        return str(self.probe.summary(self, *self.values))

    def __repr__(self) -> str:
        where = "in memory" if self.path is None else str(self.path)
        return f"<{self.probe.module} of {self.header['pair']['student']}, {where}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre><p><small>{escape(repr(self).strip('<>'))}</small></p>"

    def _figure(self) -> catalogue.Picture:
        """The probe's own picture, else the first that can be drawn."""
        figures = [picture for picture in self._drawable() if not picture.page]
        if not figures:
            raise UserError(f"`{self.probe.name}` has no picture; its tables are {', '.join(self.record['tables'])}")
        return next((picture for picture in figures if picture.belongs_to(self)), figures[0])

    def _drawable(self) -> list[catalogue.Picture]:
        rows = self.record["tables"]
        return catalogue.drawable([name for name, n_rows in rows.items() if n_rows])

    def _options(self, picture: catalogue.Picture) -> dict[str, Any]:
        """The options of a picture that the measurement was made with."""
        made = {name: value for group in self.values for name, value in asdict(group).items()}
        return {name: made[name] for name in picture.options if name in made}


@dataclass(frozen=True, eq=False, repr=False)
class Advice(Measurement):
    """A diagnosis: whether to steer, and what to train with."""

    @property
    def verdict(self) -> str:
        """`steer`, `do not steer` or `undecided`; where the facts alone decide `harmful` or `nothing to distil`."""
        return self._choices["verdict"]

    @property
    def needs(self) -> Mapping[str, int]:
        """What would decide an undecided verdict, by name: about so many `prompts`, or so many `steps`; else empty."""
        return self.notes.get(NEEDS, {})

    @property
    def objective(self) -> str:
        """What to train on, as long as nothing is decided `standard`; `none` where there is nothing to distil."""
        return self._choices["objective"]

    @property
    def gamma(self) -> float | None:
        """Strength of the steering; None where the advice is `standard`, 0 where it is to preserve language alone."""
        return self._number("gamma")

    @property
    def lambda_(self) -> float | None:
        """Strength of the preservation; None where the advice is `standard`."""
        return self._number("lambda")

    @property
    def prior(self) -> str | None:
        """What q* holds fixed, as the flag `--prior` of training has it; None where the advice is `standard`."""
        choice = self._choices["prior"]
        return choice if choice in get_args(Prior) else None

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why, by setting."""
        rows = self.recommendation
        return dict(zip(rows["setting"], rows["reason"], strict=True))

    def flags(self) -> dict[str, Any]:
        """Return the advice as fields of `train.Config`, with the learning rate if steps were tried at it.

        Raises:
            UserError: there is nothing to distil.
        """
        if self.objective == "none":
            raise UserError(f"the advice is not to train: {self.reasons['verdict']}")
        steering = {"gamma": self.gamma, "lambda_": self.lambda_, "prior": self.prior}
        flags = {"objective": self.objective} | {name: value for name, value in steering.items() if value is not None}
        return flags | ({"lr": self.header["settings"]["lr"]} if self.has("trial") else {})

    def command(self) -> str:
        """Return the command line that trains on the advice with all that was measured with.

        Where the verdict is undecided it is this diagnosis with more prompts or steps. It is empty where there is
        nothing to distil, or where models or prompts are in memory.
        """
        return self._choices.get("command", "")

    @property
    def others(self) -> list[Path]:
        """The file `train.yaml`, which `python -m train --config` reads; none where there is no command."""
        paths = [] if self.path is None else [self.path / TRAIN_FILE]
        return [path for path in paths if path.is_file()]

    def write_others(self, replace: bool) -> None:
        """Write `train.yaml`, what the command says, unless it is there; with `replace` in place of an older one."""
        if self.path is None or (self.others and not replace):
            return
        (self.path / TRAIN_FILE).unlink(missing_ok=True)
        if flags := self.notes.get(TRAINING):
            write_whole(self.path / TRAIN_FILE, lambda part: part.write_text(config_file(flags), encoding="utf-8"))

    @property
    def _choices(self) -> dict[str, str]:
        rows = self.recommendation
        return dict(zip(rows["setting"], rows["choice"], strict=True))

    def _number(self, setting: str) -> float | None:
        choice = self._choices[setting]
        return None if choice == "-" else float(choice)
