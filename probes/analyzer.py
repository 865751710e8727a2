"""An analyzer: a student, its teacher and prompts, and what is measured of them.

    from probes import Analyzer

    analyzer = Analyzer("my-student", teacher="Qwen/Qwen3-VL-8B-Instruct", prompts="data.parquet", folder="runs/mine")
    angles = analyzer.angles(per_bin=64)
    angles.draw()
    advice = analyzer.diagnose(lr=1e-6)

Models load when they are first needed. Responses are sampled once and scored once for all measurements. With
`folder`, each measurement is a record there: an interrupted one continues, a complete one is read back. The first
measurement's record stands in the folder itself, that of another probe in a subfolder with the probe's name.
"""

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import partial
from importlib.metadata import version
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import torch

import probes
from probes import measurement
from probes.corpus import Corpus
from probes.measurement import Advice, Measurement
from probes.probe import Plan, Probe, Tables
from probes.processes import refuse_idle, team
from probes.settings import ANALYZER_OPTIONS, MetricOptions, stated
from records import MemoryRecord, OpenRecord, complete_record, fingerprint, open_record, recorded_probe
from records.writing import drop_leftovers
from vlm.prompts.prompt import prompts_fingerprint
from vlm.responses.stored_rows import Source

_PACKAGES = ("torch", "transformers", "numpy", "pandas", "scipy")


class Analyzer(Corpus):
    """A student under its teacher on some prompts, and the measurements of them.

    Args:
        student: folder or hub id, or `bundled`.
        folder: where records are written; None keeps all in memory.
        overwrite: replace records that are there.
        rollouts: responses to measure, in place of sampled ones: `Rollout` objects, a .jsonl or .parquet file, or rows
            as such a file has them (`vlm.responses.stored_rows.COLUMNS`).
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
        rollouts: Source | None = None,
        **options: Any,
    ) -> None:
        super().__init__(student, rollouts=rollouts, **options)
        self.folder = None if folder is None else Path(folder)
        self.overwrite = overwrite
        self.was_read = False
        """Whether the last measurement was read back from its folder."""
        self.begun: Callable[[Analyzer], None] = lambda _: None  # called when nothing is left to be refused

    def angles(self, **options: Any) -> Measurement:
        """Measure angles and norms of the gradients by visual dependency; see `probes.angles`."""
        return self._measured("angles", options)

    def vds(self, **options: Any) -> Measurement:
        """Score every response token; see `probes.vds`."""
        return self._measured("vds", options)

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
        self.refuse_changed_weights()
        header, tables = self._planned(probe, *others, *values)
        place = self._place(probe, header, folder)
        kept = None if place is None or self.overwrite else complete_record(place, header)
        record = kept
        self.was_read = record is not None
        if record is not None:
            if place is not None and team().rank == 0:
                drop_leftovers(place)
            self.begun(self)
        else:
            self._refuse_idle()
            with self._recording(header, place) as open_:
                self.begun(self)
                open_.finish(tables(), self._run_notes(began) | self.notes)
            record = open_.measurement()
        kind = getattr(measurement, probe.measurement)
        measured = kind(record.path, record.record, record.tables, probe, tuple(values))
        if team().rank == 0:
            measured.write_others(replace=kept is None)
        return measured

    def _refuse_idle(self) -> None:
        """Refuse more processes than the prompts give work to."""
        for name in ("asked", "answered"):
            if name in self.__dict__:
                refuse_idle(len(self.__dict__[name].prompts), self.prompt_options.batch)

    def _planned(self, probe: Probe, *values: Any) -> tuple[Mapping[str, Any], Callable[[], Tables]]:
        """Return what identifies a record of these values, and what measures its tables."""
        if probe.refuse:
            probe.refuse(self, *values)
        plan = probe.plan(self, *values) if probe.plan else Plan(self.header(probe, *values))
        return plan.header, plan.measure or partial(probe.measure, self, *values)

    def header(self, probe: Probe, *values: Any) -> dict[str, Any]:
        """Return what identifies a record: the probe, models, prompts and every setting that changes a number."""
        sides = self.pair.describe()
        if self.stored is not None:
            self.rollouts  # noqa: B018  # refused before a record is begun
        settings: dict[str, Any] = {}
        for kind in probe.reads:
            settings |= self.settings_of(kind)
        for value in values:
            settings |= stated(asdict(value))
        header: dict[str, Any] = {
            "probe": probe.module,
            "pair": {side: sides[side]["name"] for side in ("student", "teacher")} | {"warnings": sides["warnings"]},
            "weights": {side: sides[side]["fingerprint"] for side in ("student", "teacher")},
            "setup": {side: sides[side]["setup"] for side in ("student", "teacher")},
            "source": prompts_fingerprint(list(self.prompts.values())),
            "settings": settings,
        }
        if commits := {side: sides[side]["commit"] for side in ("student", "teacher") if "commit" in sides[side]}:
            header["pair"]["commits"] = commits
        if MetricOptions in probe.reads and self.metric is not None:
            header["weights"]["optimizer_state"] = self.metric.fingerprint
        return header

    def settings_of(self, group: type[Any]) -> dict[str, Any]:
        """Return the analyzer's values of the fields of a group; stored responses under what identifies them."""
        every = self.stated | {"max_response": self.prompt_options.max_response}
        settings = stated({f.name: every[f.name] for f in fields(group) if f.name in every})
        if "rollouts" in settings:
            del settings["rollouts"]
            settings |= {} if self.stored is None else {"rollouts": self.stored.identity}
        return settings

    @contextmanager
    def _recording(self, header: Mapping[str, Any], place: Path | None) -> Iterator[OpenRecord]:
        """Open a record, in which stages keep what they have done so far."""
        if place is None:
            record: OpenRecord = MemoryRecord(header, team())
        else:
            record = open_record(place, header, self.overwrite, team())
        shards, self.shards, self.notes = self.shards, record, {}
        try:
            with record:
                yield record
        finally:
            self.shards, self.weights_seen = shards, self.weight_versions()

    def _place(self, probe: Probe, header: Mapping[str, Any], folder: str | Path | None) -> Path | None:
        """The folder of a record; None in memory."""
        if folder is not None:
            return Path(str(folder).replace("{name}", f"{probe.name}-{fingerprint(header)}"))
        if self.folder is None or recorded_probe(self.folder) in (None, probe.module):
            return self.folder
        return self.folder / probe.name

    def _run_notes(self, began: float) -> dict[str, Any]:
        """How a run went: what it ran on, how long it took, what it left out."""
        notes: dict[str, Any] = {
            "versions": {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "processes": team().size,
            "seconds": round(time.monotonic() - began, 1),
        }
        if "asked" in self.__dict__:
            notes["device"] = self.pair.student.device.type
            notes["prompts"] = len(self.prompts)
            notes["prompts_with_image"] = sum(prompt.has_image for prompt in self.prompts.values())
            notes["left_out"] = dict(self.asked.left_out)
        elif "answered" in self.__dict__:
            notes["left_out"] = dict(self.answered.left_out)
        if self.stored is not None and self.stored.about:
            notes["rollouts"] = dict(self.stored.about)
        if self.__dict__.get("metric") is not None:
            notes["second_moments_zero_share"] = self.metric.zero_share  # type: ignore[union-attr]
        return notes


def _signature() -> Signature:
    """The constructor's signature with every option by its name, for help and completion."""
    own = list(Signature.from_callable(Analyzer.__init__).parameters.values())[1:-1]
    named = [
        Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
        for group in ANALYZER_OPTIONS
        for f in fields(group)
        if f.name not in {parameter.name for parameter in own}
    ]
    return Signature([*own, *named])


Analyzer.__signature__ = _signature()  # type: ignore[attr-defined]
