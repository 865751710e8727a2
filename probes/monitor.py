"""The geometry of a student in anybody's training run: measured every few updates, written down, and warned of.

    from probes import GeometryMonitor

    monitor = GeometryMonitor(student, teacher, processor, every=50, prompts="data.parquet", folder="runs/monitor")
    trainer = Trainer(..., callbacks=[monitor])      # of transformers or TRL

    monitor.begin()                                  # or in one's own loop
    for step in range(1, 1001):
        ...                                          # an update
        monitor.step(step)
    monitor.end(1000)

Responses are sampled once, from the student as training begins; the losses and gradients of the same tokens are
measured at each step. docs/monitor.md says what is logged, when language counts as unlearnt, and what it costs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveInt

from cli.errors import OptionError
from cli.options import checked, flag
from cli.visible import print_err
from figures import catalogue, for_trackers
from geometry.objective_settings import GAMMA
from probes import stages
from probes.analyzer import Analyzer
from probes.monitoring.folder import MonitorFolder
from probes.monitoring.measuring import Bench, Measured
from probes.monitoring.words import line_of, numbers, warning
from probes.settings import PairOptions, PromptOptions
from records import Measurement
from records.run_folder import read_run
from vlm.prompts.prompt import prompts_fingerprint
from vlm.responses.finite import NotFiniteError
from vlm.responses.undisturbed import undisturbed
from vlm.trainer_events import TrainerEvents

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMIT = 32
"""Prompts, where no other number is asked for."""
Log = Callable[[Mapping[str, float], int], Any]
"""Is given the headline numbers of a measurement by name, and its step."""


@dataclass(frozen=True)
class MonitorOptions:
    """The monitor"""

    every: PositiveInt = flag(50, "updates from one measurement to the next")
    folder: str = flag("runs/monitor", "folder of the journal and the pictures")
    overwrite: bool = flag(False, "replace a monitored run that is there")
    gamma: NonNegativeFloat = flag(GAMMA, "strength of the steering that eta is of")
    null_responses: NonNegativeInt = flag(16, "responses whose angles are compared with unrelated ones; 0 for no null")


class GeometryMonitor(TrainerEvents):
    """A monitor of a training run: a callback for trainers, and an object for one's own loop.

    Args:
        student, teacher: as transformers' AutoModelForImageTextToText returns them. The student's parameters that
            require a gradient are measured; the teacher is frozen.
        processor: of both.
        log: is called with the numbers of each measurement, such as
            `lambda values, step: wandb.log(dict(values), step=step)`.
        trackers: of accelerate, such as `accelerator.trackers`; they get the numbers, and where they take them the
            picture and a table of responses, see `figures.for_trackers`.
        options: the fields of `MonitorOptions`, and the options of `Analyzer`: `prompts`, `limit`, `max_response`,
            `batch`, `seed` and the others. `limit` is 32 by default.

    Raises:
        UserError: what was asked for cannot be done; the message is one line that names the argument and the way out.
    """

    def __init__(
        self,
        student: torch.nn.Module,
        teacher: torch.nn.Module,
        processor: Any,
        *,
        log: Log | None = None,
        trackers: Sequence[Any] = (),
        **options: Any,
    ) -> None:
        own = {f.name for f in fields(MonitorOptions)}
        stated = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
        self.options = checked(MonitorOptions, {name: value for name, value in stated.items() if name in own})
        others = {"limit": LIMIT} | {name: value for name, value in stated.items() if name not in own}
        with undisturbed(student, teacher):
            self._analyzer = Analyzer.from_models(student=student, teacher=teacher, processor=processor, **others)
        self.folder = Path(self.options.folder)
        self._log, self._trackers = log, trackers
        self._open: tuple[MonitorFolder, Bench] | None = None
        self._warned = False

    def begin(self, step: int = 0) -> dict[str, float]:
        """Sample the responses, begin the journal and measure; return the headline numbers.

        step: the number of updates before. From 1 on the earlier part of the run is continued, with its responses.

        Raises:
            RecordError: the folder holds something else, or a run and `step` is 0.
            NotWritten: the system refuses to write there.
        """
        place = MonitorFolder(self.folder, self._header(), step, self.options.overwrite)
        try:
            bench = Bench(self._analyzer, place.kept_rollouts(), self.options.gamma, self.options.null_responses)
            prompts = self._analyzer.prompts
            rows = [stages.rollout_row(n, prompts[said.prompt_id], said) for n, said in enumerate(bench.rollouts)]
            place.begin(pd.DataFrame(rows))
        except BaseException:
            place.close()
            raise
        self._open, self._warned = (place, bench), False
        return self._measured(step)

    def step(self, step: int) -> dict[str, float]:
        """Measure if it is due; return the headline numbers, none where it is not.

        step: the number of updates so far.
        """
        return self._measured(step) if step % self.options.every == 0 else {}

    def end(self, step: int) -> dict[str, float]:
        """Measure the last weights, draw the pictures into the folder, and free the folder."""
        place, _ = self._opened()
        is_measured = bool(place.evaluations) and place.evaluations[-1].step == step
        values = {} if is_measured else self._measured(step)
        place.close()
        self._open = None
        if place.evaluations:
            catalogue.picture("monitor").write(self.read(), self.folder)
        return values

    def measure(self, step: int) -> Measured | None:
        """Measure now and write it down; None where the student's logits are not finite.

        step: the number of updates so far, above that of the last measurement.
        """
        place, bench = self._opened()
        try:
            measured = bench.measure(step, place.first)
        except NotFiniteError as error:
            print_err(f"warning: monitor: step {step} is not measured: {error}")
            return None
        place.add(measured)
        return measured

    def read(self) -> Measurement:
        """Return the tables so far, `curves` and `gradients`, and in its notes `unlearnt_since`."""
        return read_run(self.folder)

    def draw(self, **options: Any) -> "Figure":
        """Return the picture of the run so far; options: `scope`."""
        return catalogue.picture("monitor").draw(self.read(), **options)

    def _measured(self, step: int) -> dict[str, float]:
        measured = self.measure(step)
        if measured is None:
            return {}
        values = numbers(measured)
        print_err(line_of(measured))
        said = warning(self._opened()[0].evaluations, measured.geometry)
        if said and not self._warned:
            print_err(said)
        self._warned = bool(said)
        if self._log is not None:
            self._log(values, step)
        for tracker in self._trackers:
            tracker.log(values, step=step)
        for_trackers.show(self._trackers, self.folder, step, [asdict(sample) for sample in measured.samples])
        return values

    def _opened(self) -> tuple[MonitorFolder, Bench]:
        if self._open is None:
            raise OptionError("`step` must follow `begin`, which samples the responses and opens the folder; call it")
        return self._open

    def _header(self) -> dict[str, Any]:
        """What identifies the run."""
        analyzer, options = self._analyzer, self.options
        sides = analyzer.pair.describe()
        names = {side: sides[side]["name"] for side in ("student", "teacher")}
        settings = analyzer.settings_of(PromptOptions) | analyzer.settings_of(PairOptions) | names
        return {
            "probe": "probes.monitor",
            "pair": names | {"warnings": sides["warnings"]},
            "weights": {side: sides[side]["fingerprint"] for side in names},
            "setup": {side: sides[side]["setup"] for side in names},
            "source": prompts_fingerprint(list(analyzer.prompts.values())),
            "settings": settings
            | {"objective": "monitored", "gamma": options.gamma, "null_responses": options.null_responses},
        }
