"""The command of a probe: read the flags, measure, print, draw."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cli.errors import exit_code
from cli.options import parser_for, pick
from cli.processes import only_main_speaks
from cli.visible import print_err, print_out
from probes.probe import Probe
from probes.settings import OutputOptions

if TYPE_CHECKING:
    from probes.analyzer import Analyzer
    from records import Team


def run(probe: Probe, manual: str | None, argv: Sequence[str] | None) -> int:
    """Run the command of a probe, in one process or several; return the exit code.

    manual: what `--help` shows above the flags.
    """
    groups = (*probe.reads, *probe.options, OutputOptions)
    with only_main_speaks():

        def measure() -> None:
            _measure(probe, parser_for(probe.module, manual, groups, series=probe.series).parse_args(argv))

        return exit_code(measure)


def _measure(probe: Probe, parsed: Any) -> None:
    from probes.processes import joined

    with joined() as team:
        _measure_in(team, probe, parsed)


def _measure_in(team: "Team", probe: Probe, parsed: Any) -> None:
    from probes.analyzer import Analyzer  # torch and the model libraries, once the flags are read
    from vlm.responses.shown import shown_prompt

    output = pick(parsed, OutputOptions)
    shared = {name: value for group in probe.reads for name, value in asdict(pick(parsed, group)).items()}
    own = {name: value for group in probe.options for name, value in asdict(pick(parsed, group)).items()}
    first, *others = parsed.checkpoints if probe.series else [parsed.checkpoint]
    analyzer = Analyzer(first, overwrite=output.overwrite, **shared)
    if output.show_prompt:
        said = shown_prompt(first, analyzer.source_prompts, analyzer.prompt_options.text_view)
        _say_prompts(analyzer)
        print_out(said)
        return
    if output.dry_run:
        _say_plan(analyzer, probe, own, others)
        return
    analyzer.begun = _say_what_runs
    measured = analyzer.measure(probe, *others, folder=output.out or "runs/{name}", **own)
    if team.rank:
        return
    if analyzer.was_read:
        print_err(f"note: {measured.path} holds this measurement, so it is read and not made again: `--overwrite` does")
    del analyzer  # and with it the models and scores: pictures are drawn from the record
    print_out(measured)
    written = [("picture", path) for path in measured.save()] + [("file", path) for path in measured.others]
    print_out(f"record: {measured.path}", *(f"{kind}: {path}" for kind, path in written))


def _say_what_runs(analyzer: "Analyzer") -> None:
    _say_prompts(analyzer)
    if line := analyzer.running:
        print_err(line)


def _say_prompts(analyzer: "Analyzer") -> None:
    print_err(*analyzer.prompt_set.lines)


def _say_plan(analyzer: "Analyzer", probe: Probe, own: Mapping[str, Any], others: Sequence[str]) -> None:
    from probes.plan import show
    from probes.planning import plan_of_probe

    show(plan_of_probe(analyzer, probe, probe.values(own), others))
