"""Two students of one teacher: the flags that say what is compared, and loading both, or saying why they do not fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt

from cli.errors import OptionError
from cli.options import flag
from probes import corpus as corpora
from probes.corpus import Asked
from probes.options import BinOptions, PairOptions, PromptOptions
from records.tables.comparison import SIDES
from vlm.checkpoint import CheckpointError, LoadedModel, load_model
from vlm.names import resolve
from vlm.pair import Pair, pair_of, teacher_of
from vlm.prompts import Prompt, prompts_fingerprint
from vlm.sources import load_prompts


@dataclass(frozen=True)
class ModelOptions(PairOptions):
    """The models"""

    teacher: str | None = flag(None, "folder or hub id of the teacher (default: what pair.json of the two names)")


@dataclass(frozen=True)
class CompareOptions:
    """What is compared"""

    rollouts_of: Literal["before", "after"] = flag("before", "whose responses both students score")
    probe_per_bin: NonNegativeInt | Literal["all"] = flag(
        16, "tokens of each bin at which both students' gradients are measured, or all; 0: no gradients"
    )
    accuracy_prompts: NonNegativeInt = flag(200, "prompts that both students answer, greedily; 0: none")
    examples: NonNegativeInt = flag(12, "answers with another verdict that are kept with their picture, at most")
    first_order: bool = flag(False, "how much of the losses' change the way between the weights foretells; holds both")
    scope: Literal["all", "language_model"] = flag("all", "scope of the table and the picture; both are recorded")


@dataclass(frozen=True)
class Flags:
    """What is asked of both sides: every group of flags but the output's, in the order in which they are read."""

    models: ModelOptions
    prompts: PromptOptions
    bins: BinOptions
    compare: CompareOptions


@dataclass(frozen=True)
class Comparison:
    """What the two sides have in common.

    support: ids below it are tokens of all three models.
    asked: the prompts whose responses are scored; questions: those that are answered.
    header: of the record; its `student` lists what identifies either side.
    """

    checkpoints: Mapping[str, str]
    options: Flags
    teacher: LoadedModel
    support: int
    asked: Asked
    questions: Sequence[Prompt]
    header: Mapping[str, Any]

    def pair(self, side: str) -> Pair:
        """Load one side and join it with the teacher, over the ids that all three hold."""
        names = ("dtype", "device", "attention", "parameters")
        settings = {name: getattr(self.options.models, name) for name in names}
        return replace(pair_of(load_model(self.checkpoints[side], **settings), self.teacher), support=self.support)


def load_both(given: Sequence[str], options: Flags) -> Comparison:
    """Load both sides once, so that two that do not fit are refused before either is measured."""
    if len(given) != len(SIDES):
        raise OptionError(
            f"`checkpoints` must be two, BEFORE and AFTER, got {len(given)} ({', '.join(given)});"
            " `bundled` names the bundled student"
        )
    checkpoints = dict(zip(SIDES, given, strict=True))
    before = _facts(_loaded("before", checkpoints, options), options)  # its weights are not held
    pair = _loaded("after", checkpoints, options)
    sides = (before, _facts(pair, options))
    if options.compare.first_order:
        _refuse_other_shapes(before.shapes, sides[1].shapes)
    asked = min((side.asked for side in sides), key=lambda asked: len(asked.prompts))  # those that fit both
    questions = _questions(options)
    header = _joined([side.header for side in sides])
    header["source"] = prompts_fingerprint([*asked.prompts.values(), *questions])
    support = min(side.support for side in sides)
    return Comparison(checkpoints, options, pair.teacher, support, asked, questions, header)


@dataclass(frozen=True)
class _Facts:
    """What is to be known of a side before it is measured."""

    asked: Asked
    support: int
    header: dict[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    """Of the parameters, by name."""


def _facts(pair: Pair, options: Flags) -> _Facts:
    asked = corpora.ask(pair, options.prompts)
    header = corpora.header("compare", pair, asked, *vars(options).values())
    shapes = {name: tuple(parameter.shape) for name, parameter in pair.student.model.named_parameters()}
    return _Facts(asked, pair.support, header, shapes)


def _refuse_other_shapes(before: Mapping[str, tuple[int, ...]], after: Mapping[str, tuple[int, ...]]) -> None:
    if differing := sorted(name for name in {*before, *after} if before.get(name) != after.get(name)):
        name = differing[0]
        raise CheckpointError(
            f"`first_order` must be of two students with the same parameters, got {before.get(name, 'none')} and"
            f" {after.get(name, 'none')} for {name}; leave it out"
        )


def _loaded(side: str, checkpoints: Mapping[str, str], options: Flags) -> Pair:
    """Load a side beside its teacher: the one asked for, or that of its pair.json, or that of the other's."""
    models = replace(options.models, teacher=_teacher(side, checkpoints, options.models))
    try:
        return corpora.load(checkpoints[side], models)
    except CheckpointError as error:
        name = f"{side.upper()} {checkpoints[side]}"
        raise CheckpointError(f"`checkpoints`: {name} cannot be compared: {error}") from None


def _teacher(side: str, checkpoints: Mapping[str, str], models: ModelOptions) -> str | None:
    """The teacher to load a side with; None where its own pair.json has to name one."""
    folders = {name: resolve(checkpoint) for name, checkpoint in checkpoints.items()}
    naming = [name for name, folder in folders.items() if (Path(folder) / "pair.json").is_file()]
    if models.teacher is not None or side in naming or not naming:
        return models.teacher
    return teacher_of(folders[naming[0]])


def _joined(headers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One header of two: the students as a list, the warnings of either."""
    teachers = [f"{header['pair']['teacher']} ({header['weights']['teacher']})" for header in headers]
    if len({header["weights"]["teacher"] for header in headers}) > 1:
        raise CheckpointError(
            f"`teacher` must be one for both, but pair.json of BEFORE names {teachers[0]} and that of AFTER"
            f" {teachers[1]}; add --teacher CKPT"
        )
    warnings = [
        f"{side}: {warning}"
        for side, header in zip(SIDES, headers, strict=True)
        for warning in header["pair"]["warnings"]
    ]
    joined = dict(headers[-1])
    for field in ("pair", "weights"):
        joined[field] = joined[field] | {"student": [header[field]["student"] for header in headers]}
    joined["pair"]["warnings"] = warnings
    return joined


def _questions(options: Flags) -> list[Prompt]:
    """The prompts that are answered for accuracy."""
    n, asked = options.compare.accuracy_prompts, options.prompts
    return load_prompts(asked.prompts, limit=n, seed=asked.seed, split=asked.split) if n else []
