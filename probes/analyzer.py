"""An analyzer: a student, its teacher and prompts, and what is measured of them.

    from probes import Analyzer

    analyzer = Analyzer("my-student", teacher="Qwen/Qwen3-VL-8B-Instruct", prompts="data.parquet", folder="runs/mine")
    angles = analyzer.angles(per_bin=64)
    angles.draw()
    advice = analyzer.diagnose(lr=1e-6)

Models load when they are first needed. Responses are sampled once and each is scored once, for all measurements. With
a folder a measurement is a record there: an interrupted one continues, a complete one is read back. The first
measurement's record stands in the folder itself, that of another probe in a subfolder with the probe's name.
"""

import copy
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from functools import cached_property
from importlib.metadata import version
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

import probes
from cli.errors import OptionError
from cli.options import checked
from geometry import FourViews
from probes import measurement, stages
from probes.measurement import Advice, Measurement
from probes.probe import Probe
from probes.settings import ANALYZER_OPTIONS, BinOptions, Dtype, MetricOptions, PairOptions, PromptOptions
from probes.stages.responses import Asked
from records import MemoryRecord, OpenRecord, Shards, complete_record, fingerprint, open_record, recorded_probe
from vlm.checkpoint import CheckpointError, LoadedModel, in_precision, load_model, model_in_memory, quiet
from vlm.families import parameter_kinds
from vlm.optimizer_state import STATE, AdamMetric, adam_metric_of, state_file
from vlm.pair import Pair, load_teacher, pair_of, teacher_named
from vlm.prompts import Prompt, prompts_fingerprint
from vlm.rollouts import Rollout
from vlm.scoring import score
from vlm.sources import load_prompts, read_prompts
from vlm.stored_rollouts import read_rollouts
from vlm.views import View, image_view

IN_MEMORY = "in memory"
_PACKAGES = ("torch", "transformers", "numpy", "pandas", "scipy")


class Analyzer:
    """A student under its teacher on some prompts, and the measurements of them.

    Args:
        student: folder or hub id, or `bundled`.
        folder: where records are written; None keeps all in memory.
        overwrite: replace records that are there.
        rollouts: responses to measure, in place of sampled ones: `Rollout` objects, mappings with `prompt_id` and
            either `token_ids` or `response`, or a .jsonl file of such lines.
        options: the fields of `probes.settings.PairOptions`, `PromptOptions`, `BinOptions` and `MetricOptions`.
            `prompts` can also be a list of `Prompt`, or of mappings as a row of a file of prompts has them.

    Raises:
        UserError: what was asked for cannot be done; the message is one line that names the argument and the way out.
    """

    def __init__(
        self,
        student: str = "bundled",
        *,
        folder: str | Path | None = None,
        overwrite: bool = False,
        rollouts: "str | Path | Sequence[Rollout | Mapping[str, Any]] | None" = None,
        **options: Any,
    ) -> None:
        quiet()
        self.checkpoint = str(student)
        self.folder = None if folder is None else Path(folder)
        self.overwrite = overwrite
        self._given_prompts = None if isinstance(options.get("prompts", ""), str) else options.pop("prompts")
        self._given_rollouts = rollouts
        self._groups = _groups(options | ({"prompts": IN_MEMORY} if self._given_prompts is not None else {}))
        self._clear()
        self.refuse_missing_states(self.checkpoint)

    @classmethod
    def from_models(
        cls,
        *,
        student: nn.Module,
        teacher: nn.Module,
        processor: Any,
        teacher_processor: Any = None,
        **options: Any,
    ) -> "Analyzer":
        """Return an analyzer of models in memory, both put into eval mode, the teacher frozen.

        Args:
            student, teacher: as transformers' AutoModelForImageTextToText returns them.
            processor: of the student, and of the teacher unless it has its own.
            options: those of `Analyzer`; the student's parameters that require a gradient are measured.

        Raises:
            UserError: the two have other tokens, or no parameter of the student requires a gradient.
        """
        analyzer = cls(IN_MEMORY, **options)
        loaded = model_in_memory(student, processor), model_in_memory(teacher, teacher_processor or processor)
        analyzer.__dict__["pair"], analyzer.__dict__["teacher"] = pair_of(*loaded), loaded[1]
        if not analyzer.pair.student.groups:
            raise OptionError("`student` must have parameters that require a gradient, got none; call requires_grad_()")
        return analyzer

    def _clear(self) -> None:
        self.shards: Shards = Shards({})
        self.notes: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.continued = False

    # The settings.

    @property
    def pair_options(self) -> PairOptions:
        """The models."""
        return self._groups[PairOptions]

    @property
    def prompt_options(self) -> PromptOptions:
        """The prompts and rollouts."""
        return self._groups[PromptOptions]

    @property
    def bin_options(self) -> BinOptions:
        """The bins."""
        return self._groups[BinOptions]

    @property
    def metric_options(self) -> MetricOptions:
        """The inner product."""
        return self._groups[MetricOptions]

    @property
    def seed(self) -> int:
        """Seed of the bundled scenes, the rollouts and the choice of probed tokens."""
        return self.prompt_options.seed

    # What is measured.

    @cached_property
    def pair(self) -> Pair:
        """The student and its teacher, over the ids that both hold."""
        with self.phase("loading"):
            if "teacher" not in self.__dict__:
                teacher_named(self.checkpoint, self.pair_options.teacher)  # refuses before anything large is read
            pair = pair_of(self._loaded_student, self.teacher)
        for warning in pair.warnings:
            print(f"note: {warning}", file=sys.stderr)
        return pair

    @cached_property
    def teacher(self) -> LoadedModel:
        """The teacher, frozen in a pair."""
        options = self.pair_options
        named = teacher_named(self.checkpoint, options.teacher)
        dtype = options.teacher_dtype or options.dtype
        return load_teacher(named, dtype=dtype, device=options.device, attention=options.attention)

    @property
    def student(self) -> LoadedModel:
        """The student; alone, where the teacher has not been needed so far."""
        return self.pair.student if "pair" in self.__dict__ else self._loaded_student

    @cached_property
    def source_prompts(self) -> list[Prompt]:
        """The prompts as they were read."""
        options = self.prompt_options
        if self._given_prompts is not None:
            return read_prompts(self._given_prompts)[: options.limit]
        return load_prompts(options.prompts, limit=options.limit, seed=options.seed, split=options.split)

    @cached_property
    def asked(self) -> Asked:
        """The prompts that have room for a full response, and their text views."""
        options = self.prompt_options
        return stages.ask(self.pair, self.source_prompts, options.max_response, options.text_view)

    @property
    def prompts(self) -> Mapping[str, Prompt]:
        """The prompts that are measured, by `prompt_id`."""
        return self.asked.prompts

    @cached_property
    def rollouts(self) -> list[Rollout]:
        """The student's responses; a rollout's `rollout_id` in tables is its place here."""
        self.continued = self.continued or self.shards.has("rollouts", 0)
        with self.phase("rollouts"):
            if self._given_rollouts is not None:
                return read_rollouts(self._given_rollouts, self.prompts, self.pair.student, self.pair.n_ids)
            return stages.sample(self)

    @cached_property
    def tokens(self) -> pd.DataFrame:
        """The table `tokens`: every response token's divergences, entropy and bin."""
        self.rollouts  # noqa: B018  # timed by themselves
        with self.phase("scoring"):
            return stages.score_tokens(self)

    @cached_property
    def metric(self) -> AdamMetric | None:
        """The metric in which gradients are multiplied; None for the plain one."""
        if self.metric_options.metric == "plain":
            return None
        state = state_file(self.checkpoint, self.metric_options.optimizer_state)
        return adam_metric_of(self.pair.student.model, state)

    @cached_property
    def kinds(self) -> dict[str, list[nn.Parameter]]:
        """The student's parameters by depth and kind."""
        return parameter_kinds(self.pair.student.model)

    @property
    def metric_factors(self) -> Mapping[nn.Parameter, Tensor] | None:
        """The metric as `geometry` takes it."""
        return None if self.metric is None else self.metric.factors

    def views(self, rollout: Rollout) -> tuple[View, View]:
        """Return the image view and the text view of a rollout's prompt."""
        return image_view(self.prompts[rollout.prompt_id]), self.asked.text_views[rollout.prompt_id]

    def score(self, rollouts: Sequence[Rollout], positions: Sequence[Tensor] | None = None) -> Iterator[FourViews]:
        """Yield the four views of each rollout; `positions` are the tokens whose logits are made, all by default."""
        views = [self.views(rollout) for rollout in rollouts]
        return score(self.pair, views, rollouts, batch=self.prompt_options.batch, positions=positions)

    def refuse_missing_states(self, *checkpoints: str) -> None:
        """Refuse checkpoints without an optimizer's state where the metric needs one, and one state for several."""
        options, n = self.metric_options, len(checkpoints)
        if options.optimizer_state is not None and n > 1:
            raise OptionError(
                f"`optimizer_state` belongs to one checkpoint, got {n};"
                f" leave it out and put the state of each beside its weights, as {STATE}"
            )
        if options.metric == "adam":
            for checkpoint in checkpoints:
                state_file(checkpoint, options.optimizer_state)

    @contextmanager
    def named(self, argument: str) -> Iterator[None]:
        """Say in errors of loading which of several checkpoints does not fit."""
        try:
            yield
        except CheckpointError as error:
            raise CheckpointError(f"`{argument}` {self.checkpoint} does not fit the first: {error}") from None

    # Other analyzers beside this one.

    def having(self, **changed: Any) -> "Analyzer":
        """Return an analyzer like this one with other attributes, such as `pair`, `metric`, `asked` or `shards`."""
        other = copy.copy(self)
        other.__dict__.update(changed)
        return other

    def apart(self) -> "Analyzer":
        """Return a copy under the same teacher whose student is held no longer than the copy."""
        self.teacher  # noqa: B018  # loaded once for all copies
        return self.having()

    def with_student(self, checkpoint: str, teacher: str | None = None) -> "Analyzer":
        """Return an analyzer of another student with the same settings; its weights load when they are needed.

        teacher: by default the same, loaded once for both.
        """
        options = {name: value for group in self._groups.values() for name, value in asdict(group).items()}
        if self._given_prompts is not None:
            options["prompts"] = self._given_prompts
        if teacher is not None:
            options["teacher"] = teacher
        other = Analyzer(checkpoint, folder=self.folder, overwrite=self.overwrite, **options)
        if teacher is None:
            other.__dict__["teacher"] = self.teacher
        return other

    def in_dtype(self, dtype: Dtype) -> "Analyzer":
        """Return an analyzer of the same responses with both models in another dtype, beside those of this one."""
        options = replace(self.pair_options, dtype=dtype, teacher_dtype=dtype)
        twin = self.having(_groups=self._groups | {PairOptions: options})
        for loaded in ("pair", "teacher", "metric", "kinds", "_loaded_student"):
            twin.__dict__.pop(loaded, None)
        if self.checkpoint == IN_MEMORY:
            student, teacher = (in_precision(loaded, dtype) for loaded in self.pair.models)
            twin.__dict__["pair"] = replace(self.pair, student=student, teacher=teacher)
        return twin

    # Measurements.

    def angles(self, **options: Any) -> Measurement:
        """Measure angles and norms of the gradients by visual dependency; see `probes.angles`."""
        return self._measured("angles", options)

    def vds(self) -> Measurement:
        """Score every response token; see `probes.vds`."""
        return self._measured("vds", {})

    def layers(self, **options: Any) -> Measurement:
        """Measure where in the model the gradients lie and meet; see `probes.layers`."""
        return self._measured("layers", options)

    def norms(self, *checkpoints: str, **options: Any) -> Measurement:
        """Measure norms and angles of this student and further checkpoints; see `probes.norms`."""
        return self._measured("norms", options, *checkpoints)

    def accuracy(self, **options: Any) -> Measurement:
        """Measure how often the student is right; see `probes.accuracy`."""
        return self._measured("accuracy", options)

    def compare(self, after: str, **options: Any) -> Measurement:
        """Measure what changed between this student and another; see `probes.compare`."""
        return self._measured("compare", options, after)

    def sensitivity(self, **options: Any) -> Measurement:
        """Measure what an optimizer step would do; see `probes.sensitivity`."""
        return self._measured("sensitivity", options)

    def support(self, **options: Any) -> Measurement:
        """Measure what it costs to know the teacher at K ids only; see `probes.support`."""
        return self._measured("support", options)

    def diagnose(self, **options: Any) -> Advice:
        """Measure whether to steer, and with which settings; see `probes.diagnose`."""
        advice = self._measured("diagnose", options)
        assert isinstance(advice, Advice)
        return advice

    def _measured(self, name: str, options: Mapping[str, Any], *others: str) -> Measurement:
        return self.measure(getattr(probes, name).PROBE, *others, **options)

    def measure(self, probe: Probe, *others: str, folder: str | Path | None = None, **options: Any) -> Measurement:
        """Measure what a probe asks and return it, or read it back if it is complete.

        Args:
            others: further checkpoints, of probes that take several.
            folder: of the record, `{name}` standing for one that the settings determine; by default in the analyzer's.
            options: the probe's own.

        Raises:
            UserError: what was asked for cannot be done.
        """
        began, values = time.monotonic(), probe.values(options)
        header, tables = probe.planned(self, *others, *values)
        place = self._place(probe, header, folder)
        record = None if place is None or self.overwrite else complete_record(place, header)
        if record is None:
            with self._recording(header, place) as open_:
                open_.finish(tables(), self._run_notes(began) | self.notes)
            record = open_.measurement()
        kind = getattr(measurement, probe.measurement)
        return kind(record.path, record.record, record.tables, probe, tuple(values))

    def header(self, probe: Probe, *values: Any) -> dict[str, Any]:
        """Return what identifies a record: the probe, weights, prompts and every setting that changes a number."""
        sides = self.pair.describe()
        settings: dict[str, Any] = {}
        for kind in probe.reads:
            settings |= self.settings_of(kind)
        for value in values:
            settings |= asdict(value)
        header: dict[str, Any] = {
            "probe": probe.module,
            "pair": {side: sides[side]["name"] for side in ("student", "teacher")} | {"warnings": sides["warnings"]},
            "weights": {side: sides[side]["fingerprint"] for side in ("student", "teacher")},
            "source": prompts_fingerprint(list(self.prompts.values())),
            "settings": settings,
        }
        if MetricOptions in probe.reads and self.metric is not None:
            header["weights"]["optimizer_state"] = self.metric.fingerprint
        if self._given_rollouts is not None:
            header["settings"]["rollouts"] = fingerprint({"rollouts": [asdict(rollout) for rollout in self.rollouts]})
        return header

    def settings_of(self, group: type[Any]) -> dict[str, Any]:
        """Return the analyzer's values of the fields of a group of settings."""
        every = {name: value for own in self._groups.values() for name, value in asdict(own).items()}
        return {f.name: every[f.name] for f in fields(group)}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the seconds that a part takes to `seconds`."""
        began = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    @contextmanager
    def _recording(self, header: Mapping[str, Any], place: Path | None) -> Iterator[OpenRecord]:
        """Open a record, in which stages keep what they have done so far."""
        record = MemoryRecord(header) if place is None else open_record(place, header, overwrite=self.overwrite)
        shards, self.shards, self.notes = self.shards, record, {}
        try:
            with record:
                yield record
        finally:
            self.shards = shards

    def _place(self, probe: Probe, header: Mapping[str, Any], folder: str | Path | None) -> Path | None:
        """The folder of a record; None in memory."""
        if folder is not None:
            return Path(str(folder).replace("{name}", f"{probe.name}-{fingerprint(header)}"))
        if self.folder is None or recorded_probe(self.folder) in (None, probe.module):
            return self.folder
        return self.folder / probe.name

    @cached_property
    def _loaded_student(self) -> LoadedModel:
        names = ("dtype", "device", "attention", "parameters")
        return load_model(self.checkpoint, **{name: getattr(self.pair_options, name) for name in names})

    def _run_notes(self, began: float) -> dict[str, Any]:
        """How a run went: what it ran on, how long it took, what it left out."""
        notes: dict[str, Any] = {
            "versions": {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "seconds": round(time.monotonic() - began, 1),
        }
        if "asked" in self.__dict__:
            notes["device"] = str(self.teacher.device)
            notes["prompts"] = len(self.prompts)
            notes["prompts_with_image"] = sum(prompt.has_image for prompt in self.prompts.values())
            notes["left_out"] = dict(self.asked.left_out)
        if self.__dict__.get("metric") is not None:
            notes["second_moments_zero_share"] = self.metric.zero_share  # type: ignore[union-attr]
        return notes


def _groups(options: Mapping[str, Any]) -> dict[type[Any], Any]:
    """The values of each group of an analyzer's options."""
    names = {f.name for group in ANALYZER_OPTIONS for f in fields(group)}
    if unknown := sorted(set(options) - names):
        raise OptionError(f"`{unknown[0]}` is no option of an analyzer: it must be one of {', '.join(sorted(names))}")
    return {group: checked(group, options) for group in ANALYZER_OPTIONS}


def _signature() -> Signature:
    """The constructor's signature with every option by its name, for help and completion."""
    own = list(Signature.from_callable(Analyzer.__init__).parameters.values())[1:-1]
    named = [
        Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
        for group in ANALYZER_OPTIONS
        for f in fields(group)
    ]
    return Signature([*own, *named])


Analyzer.__signature__ = _signature()  # type: ignore[attr-defined]
