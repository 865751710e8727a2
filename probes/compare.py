"""What changed between two students of one teacher, BEFORE and AFTER?

    python -m probes.compare bundled runs/try/last             # the bundled student and what training made of it
    python -m probes.compare BEFORE AFTER --teacher Qwen/Qwen3-VL-8B-Instruct --prompts data.parquet
    python -m probes.compare BEFORE AFTER --per-bin 0 --accuracy-prompts 1000     # no gradients
    python -m probes.compare BEFORE AFTER --first-order
    python -m probes.compare runs/monitor                      # a monitored run, its last step with its first

Both students score the same tokens: responses of BEFORE (`--rollouts-of after`: of AFTER) to the same prompts, at
temperature 1. They are asked, with the difference of pairs and its 95 % interval over prompts:

- Losses: how far standard, language and visual loss and the student's own dependence on the picture moved, by the
  VDS of the token (arXiv:2606.00564, Eq. 12; the teacher's, so that both have the same bins).
- Angles: how far the gradients of the five objectives turned, at the same tokens drawn from each bin.
- Answers: greedy accuracy by what the question depends on and by task, how many answers were gained and lost, and
  some of those whose verdict changed, side by side.

With `--first-order`, for which both students are held: what the difference of the weights predicts of each loss to
first order, beside what was measured (`step_changes`, `step_fits`).

On tokens that AFTER would not have said its losses are off-policy: a fall of them is no proof of better responses,
which is what the answers are for. Folders of `probes.GeometryMonitor` are compared without
models: the run measured their tokens, at fixed responses. FOLDER@STEP names another step than the last.

The teacher is `--teacher`, or the one that both or either of the two name in pair.json. Reads the checkpoints, one at a
time, and the teacher; writes a record (`record.json`, `rollouts`, and the tables of `docs/tables.md`) with the pictures
`before_after` and `changed_answers` (png, svg), and prints the changes. An interrupted comparison continues where it
stood.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse.typing import NonNegativeInt

from cli.errors import OptionError
from cli.options import flag
from cli.visible import print_err
from probes import command, comparison, stages
from probes.probe import Plan, Probe, Tables
from probes.processes import refuse_idle
from probes.settings import BinOptions, PairOptions, PromptOptions, Scope, UnitOptions
from records.tables.comparison import SIDES

if TYPE_CHECKING:
    import pandas as pd

    from probes.analyzer import Analyzer
    from probes.measurement import Measurement
    from probes.sampling import Asked
    from probes.stages import Unit
    from vlm.checkpoints.checkpoint import LoadedModel
    from vlm.prompts.prompt import Prompt
    from vlm.responses.rollouts import Rollout


@dataclass(frozen=True)
class ModelOptions(PairOptions):
    """The models"""

    teacher: str | None = flag(None, "folder or hub id of the teacher (default: what pair.json of the two names)")


@dataclass(frozen=True)
class CompareOptions:
    """What is compared"""

    rollouts_of: Literal["before", "after"] = flag("before", "whose responses both students score")
    per_bin: NonNegativeInt | Literal["all"] = flag(
        16, "tokens of each bin at which both students' gradients are measured, or all; 0: no gradients"
    )
    accuracy_prompts: NonNegativeInt = flag(200, "prompts that both students answer, greedily; 0: none")
    examples: NonNegativeInt = flag(12, "answers with another verdict that are kept with their picture, at most")
    first_order: bool = flag(False, "how much of the losses' change the difference of the weights predicts; holds both")
    scope: Scope = flag("all", "scope of the table and the picture; both are recorded")


@dataclass(frozen=True)
class Comparison:
    """What the two sides have in common.

    sides: by side an analyzer, whose weights load when they are needed.
    asked: the prompts whose responses are scored; questions: those that are answered.
    n_ids: ids below it are tokens of all three models.
    """

    sides: "Mapping[str, Analyzer]"
    options: CompareOptions
    asked: "Asked"
    questions: "Sequence[Prompt]"
    n_ids: int

    def side(self, name: str) -> "Analyzer":
        """Return an analyzer of one side on the shared prompts and ids; its weights are held as long as it is."""
        one = self.sides[name].having(asked=self.asked)
        return one.having(pair=replace(one.pair, n_ids=self.n_ids))


@dataclass(frozen=True)
class Side:
    """What was measured of one student, and the responses and units it was measured at."""

    rollouts: "Sequence[Rollout]"
    probed: "Sequence[Unit]"
    tokens: "pd.DataFrame"
    units: "pd.DataFrame | None"
    answers: "pd.DataFrame | None"


def refuse(analyzer: "Analyzer", *values: Any) -> None:
    """Refuse other than two checkpoints, and first-order changes with attention that has no such derivative."""
    *others, options = values
    if comparison.monitored.moments([analyzer.checkpoint, *others]) is not None:
        return
    if options.first_order:
        stages.refuse_attention(analyzer)
    checkpoints = [analyzer.checkpoint, *others]
    if len(checkpoints) != len(SIDES):
        raise OptionError(
            f"`checkpoints` must be two, BEFORE and AFTER, got {len(checkpoints)} ({', '.join(checkpoints)});"
            " `bundled` names the bundled student"
        )


def plan(analyzer: "Analyzer", *values: Any) -> Plan:
    """Load both sides once, so that two that do not fit are refused before either is measured."""
    from vlm.prompts.prompt import prompts_fingerprint

    *others, options = values
    if (moments := comparison.monitored.moments([analyzer.checkpoint, *others])) is not None:
        analyzer.begun = lambda _: None  # no prompts are read and no models are loaded
        return Plan(comparison.monitored.header(*moments, PROBE.module), partial(comparison.monitored.tables, *moments))
    sides = _with_teachers(analyzer, [analyzer.checkpoint, *others])
    loaded: list[_Loaded] = []
    for name, one in sides.items():
        is_shared = bool(loaded) and analyzer.pair_options.teacher is not None
        loaded.append(_loaded(name, one.having(teacher=loaded[0].teacher) if is_shared else one, options))
    if options.first_order:
        _refuse_other_shapes(*(one.shapes for one in loaded))
    asked = _of_both([one.asked for one in loaded])
    refuse_idle(len(asked.prompts), analyzer.prompt_options.batch)
    answered = [{prompt.prompt_id for prompt in one.questions} for one in loaded]
    questions = [prompt for prompt in loaded[0].questions if all(prompt.prompt_id in ids for ids in answered)]
    header = comparison.joined_header([one.header for one in loaded])
    header["source"] = prompts_fingerprint([*asked.prompts.values(), *questions])
    sides = {name: one.having(teacher=loaded[-1].teacher) for name, one in sides.items()}
    both = Comparison(sides, options, asked, questions, min(one.n_ids for one in loaded))
    return Plan(header, partial(measure, analyzer, both))


@dataclass(frozen=True)
class _Loaded:
    """What is to be known of a side before it is measured; its weights are let go.

    shapes: of the parameters, by name.
    """

    teacher: "LoadedModel"
    asked: "Asked"
    questions: "Sequence[Prompt]"
    n_ids: int
    header: dict[str, Any]
    shapes: Mapping[str, tuple[int, ...]]


def _loaded(name: str, side: "Analyzer", options: CompareOptions) -> _Loaded:
    from vlm.checkpoints.checkpoint import CheckpointError

    one = side.having()
    try:
        pair = one.pair
    except CheckpointError as error:
        raise CheckpointError(f"`checkpoints`: {name.upper()} {side.checkpoint} cannot be compared: {error}") from None
    shapes = {key: tuple(parameter.shape) for key, parameter in pair.student.model.named_parameters()}
    n = options.accuracy_prompts
    questions = one.that_fit(one.first_prompts(n)).prompts if n else ()
    return _Loaded(pair.teacher, one.asked, questions, pair.n_ids, one.header(PROBE, options), shapes)


def _of_both(sides: "Sequence[Asked]") -> "Asked":
    """The prompts that fit all sides, with the counts of the side that leaves out most."""
    least = min(sides, key=lambda asked: len(asked.prompts))
    shared = [name for name in least.prompts if all(name in asked.prompts for asked in sides)]
    return replace(
        least,
        prompts={name: least.prompts[name] for name in shared},
        text_views={name: least.text_views[name] for name in shared},
    )


def _with_teachers(analyzer: "Analyzer", checkpoints: Sequence[str]) -> "dict[str, Analyzer]":
    """An analyzer of each side: under the teacher asked for, or that of its pair.json, or that of the other's."""
    from probes.models_of_analyzer import IN_MEMORY
    from vlm.checkpoints.pair import teacher_of
    from vlm.names import resolve

    if analyzer.checkpoint == IN_MEMORY:
        return {"before": analyzer.having(), "after": analyzer.with_student(checkpoints[1])}
    folders = [resolve(checkpoint) for checkpoint in checkpoints]
    naming = [folder for folder in folders if (Path(folder) / "pair.json").is_file()]
    sides = {}
    for name, checkpoint, folder in zip(SIDES, checkpoints, folders, strict=True):
        teacher = analyzer.pair_options.teacher
        if teacher is None and folder not in naming and naming:
            teacher = teacher_of(naming[0])
        sides[name] = analyzer.with_student(checkpoint, teacher=teacher)
    return sides


def _refuse_other_shapes(before: Mapping[str, tuple[int, ...]], after: Mapping[str, tuple[int, ...]]) -> None:
    from vlm.checkpoints.checkpoint import CheckpointError

    if differing := sorted(name for name in {*before, *after} if before.get(name) != after.get(name)):
        name = differing[0]
        raise CheckpointError(
            f"`first_order` must be of two students with the same parameters, got {before.get(name, 'none')} and"
            f" {after.get(name, 'none')} for {name}; leave it out"
        )


def measure(analyzer: "Analyzer", both: Comparison) -> Tables:
    """Return the tables of a comparison; the side that responds is measured first, the other at the same tokens."""
    sampled = both.options.rollouts_of
    measured: dict[str, Side] = {}
    for name in sorted(SIDES, key=lambda side: side != sampled):
        print_err(f"{name}: {both.sides[name].checkpoint}")
        shards = analyzer.shards.part(SIDES.index(name))
        measured[name] = _measured(both.side(name).having(shards=shards, notes={}), both, measured.get(sampled))
    tables = comparison.tables(both, measured, analyzer.seed)
    if both.options.first_order:
        tables |= _first_order(both, measured[sampled])
    return tables


def _measured(analyzer: "Analyzer", both: Comparison, first: Side | None) -> Side:
    """Measure one student; `first` is the side measured before it, at whose responses and units this one is."""
    options = both.options
    if first is not None:
        analyzer = analyzer.having(rollouts=first.rollouts)
    units, probed = None, [] if first is None else first.probed
    if first is None and options.per_bin:
        probed = stages.choose_units(analyzer.tokens, UnitOptions(per_bin=options.per_bin), analyzer.seed)
    if probed:
        groups = analyzer.pair.student.groups
        units = stages.measure_gradients(analyzer, groups, probed, {"units": stages.unit_rows})["units"]
    answers = stages.greedy_answers(analyzer, both.questions) if both.questions else None
    return Side(analyzer.rollouts, probed, analyzer.tokens, units, answers)


def _first_order(both: Comparison, sampled: Side) -> Tables:
    """How much of the change the way between the weights predicts to first order; both students are held.

    The derivative is taken at BEFORE, by one forward-mode pass along the difference of the weights.
    """
    before = both.side("before").having(rollouts=sampled.rollouts, tokens=sampled.tokens)
    after, responses = both.side("after").pair.student, stages.half_of(sampled.tokens)
    rows = stages.change_rows(before, responses, stages.way_to(before, after), stages.AFTER)
    return stages.step_tables(before, responses, stages.way_taken(before, responses, after, rows))


def summary(measured: "Measurement", options: CompareOptions) -> str:
    """Return the changes of losses, angles and answers."""
    return comparison.summary(measured, options.scope)


PROBE = Probe(
    "compare",
    measure,
    summary,
    (ModelOptions, PromptOptions, BinOptions),
    (CompareOptions,),
    series=True, refuse=refuse, plan=plan,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return command.run(PROBE, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
