"""A probe: what it measures from an analyzer, the text it prints, and the settings it depends on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from cli.errors import OptionError
from cli.options import checked
from probes.settings import BinOptions, PairOptions, PromptOptions

if TYPE_CHECKING:
    import pandas as pd


Tables = Mapping[str, "pd.DataFrame"]


@dataclass(frozen=True)
class Plan:
    """What identifies a record, and what measures its tables: by default the probe's `measure`."""

    header: Mapping[str, Any]
    measure: Callable[[], Tables] | None = None


@dataclass(frozen=True)
class Probe:
    """One question.

    name: of its module, its command and its method of `Analyzer`.
    measure: given the analyzer and the values of each group of `options`, returns the tables of the record.
    summary: given the measurement and the same values, returns the text that is printed.
    reads: the groups of the analyzer's settings that the probe depends on.
    options: groups of its own.
    measurement: what the measurement is, by the name of a class in `probes.measurement`.
    series: whether the command takes several checkpoints.
    """

    name: str
    measure: Callable[..., Tables]
    summary: Callable[..., str]
    reads: tuple[type[Any], ...] = (PairOptions, PromptOptions, BinOptions)
    options: tuple[type[Any], ...] = ()
    measurement: str = "Measurement"
    series: bool = False
    refuse: Callable[..., None] | None = None
    """Given what `measure` is given, refuses options that make no sense together; it reads no weights."""
    plan: "Callable[..., Plan] | None" = None
    """Given what `measure` is given, refuses what makes no sense and returns what to measure; see `Plan`."""

    @property
    def module(self) -> str:
        """The name under which the command is run and records are filed."""
        return f"probes.{self.name}"

    def values(self, options: Mapping[str, Any]) -> list[Any]:
        """Return the values of each group of `options` from keywords.

        Raises:
            OptionError: a keyword is none of the probe's.
        """
        names = [f.name for group in self.options for f in fields(group)]
        if unknown := sorted(set(options) - set(names)):
            raise OptionError(
                f"`{unknown[0]}` is no option of `{self.name}`: it must be one of {', '.join(names) or 'none'}"
            )
        return [checked(group, options) for group in self.options]
