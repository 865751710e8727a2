"""A probe: what it measures from an analyzer, the table it prints, the picture it draws, and its command."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from cli.errors import OptionError, exit_code
from cli.options import checked, parser_for, pick
from probes.settings import BinOptions, OutputOptions, PairOptions, PromptOptions

if TYPE_CHECKING:
    import pandas as pd

    from probes.analyzer import Analyzer
    from probes.measurement import Measurement

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
    plan: "Callable[..., Plan] | None" = None
    """Given what `measure` is given, refuses what makes no sense and returns what to measure; see `Plan`."""

    def planned(self, analyzer: "Analyzer", *values: Any) -> tuple[Mapping[str, Any], Callable[[], Tables]]:
        """Return what identifies a record of these values, and what measures its tables.

        Raises:
            UserError: what was asked for cannot be done.
        """
        plan = self.plan(analyzer, *values) if self.plan else Plan(analyzer.header(self, *values))
        return plan.header, plan.measure or partial(self.measure, analyzer, *values)

    @property
    def module(self) -> str:
        """The name under which the command is run and records are filed."""
        return f"probes.{self.name}"

    def values(self, options: Mapping[str, Any]) -> list[Any]:
        """Return the values of each group of `options` from keywords.

        Raises:
            OptionError: a keyword is none of the probe's.
        """
        known = [f.name for group in self.options for f in fields(group)]
        if unknown := sorted(set(options) - set(known)):
            raise OptionError(
                f"`{unknown[0]}` is no option of `{self.name}`: it must be one of {', '.join(known) or 'none'}"
            )
        return [checked(group, options) for group in self.options]

    def run(self, manual: str | None, argv: Sequence[str] | None) -> int:
        """Run the command: read the flags, measure, print, draw; return the exit code."""
        groups = (*self.reads, *self.options, OutputOptions)
        parsed = parser_for(self.module, manual, groups, series=self.series).parse_args(argv)
        return exit_code(lambda: self._measured(parsed))

    def _measured(self, parsed: Any) -> None:
        from probes.analyzer import Analyzer  # torch and the model libraries, once the flags are read

        output = pick(parsed, OutputOptions)
        shared = {name: value for group in self.reads for name, value in asdict(pick(parsed, group)).items()}
        own = {name: value for group in self.options for name, value in asdict(pick(parsed, group)).items()}
        first, *others = parsed.checkpoints if self.series else [parsed.checkpoint]
        analyzer = Analyzer(first, overwrite=output.overwrite, **shared)
        measured: Measurement = analyzer.measure(self, *others, folder=output.out or "runs/{name}", **own)
        print(measured)
        print(f"record: {measured.path}", *(f"picture: {path}" for path in measured.save()), sep="\n")
