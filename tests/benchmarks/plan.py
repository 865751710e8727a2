"""Compare planned with measured memory: each phase of real commands, in a process of its own.

    python -m tests.benchmarks.plan                    # all settings: tens of minutes
    python -m tests.benchmarks.plan --only 0 2

Random pairs with the published vocabulary on the CPU, one thread. A process loads the pair, samples, scores, measures
gradients and their null, and notes after each phase the most memory it held (VmHWM, forgotten before the next). Another
trains two steps. Prints planned, measured and their ratio; what the process holds before it loads is in both.

glibc keeps freed blocks of up to 32 MB in its heap, and what remains in the holes differs from run to run (77 to 495 MB
for the same rollouts of the narrow pair). Here larger blocks than 256 KiB go back to the system at once.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jsonargparse.typing import NonNegativeInt

from cli.options import Parser, flag, pick
from cli.tables import aligned

THRESHOLD = {"MALLOC_MMAP_THRESHOLD_": str(1 << 18), "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Options:
    """Settings"""

    only: Sequence[NonNegativeInt] = flag((), "numbers of the settings that are run (default: all)")
    worker: str = flag("", "a setting as JSON, run in this process")


@dataclass(frozen=True)
class Setting:
    """A pair, by the width and the layers of both models, and how it is run."""

    width: int
    layers: int
    batch: int
    max_response: int
    trains: bool = False


SETTINGS = (
    Setting(256, 2, 4, 128),
    Setting(256, 2, 8, 256),
    Setting(512, 4, 2, 256),
    Setting(512, 4, 1, 512),
    Setting(256, 2, 4, 128, trains=True),
    Setting(512, 4, 2, 256, trains=True),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the settings; return the exit code."""
    parser = Parser("tests.benchmarks.plan", __doc__)
    parser.add_options(Options)
    options = pick(parser.parse_args(argv), Options)
    if options.worker:
        setting = json.loads(options.worker)
        folder = Path(setting.pop("folder"))
        print(json.dumps(_work(Setting(**setting), folder)))
        return 0
    rows = [["width", "layers", "batch", "tokens", "phase", "planned, MB", "measured, MB", "ratio"]]
    for number, setting in enumerate(SETTINGS):
        if not options.only or number in options.only:
            rows += _rows(setting)
            print(aligned([rows[0], *rows[1:]]), flush=True)
    return 0


def _rows(setting: Setting) -> list[list[str]]:
    """Planned and measured peaks of one setting, by phase."""
    about = [str(value) for value in (setting.width, setting.layers, setting.batch, setting.max_response)]
    with tempfile.TemporaryDirectory() as folder:
        words = json.dumps(asdict(setting) | {"folder": folder})
        command = [sys.executable, "-m", "tests.benchmarks.plan", "--worker", words]
        done = subprocess.run(command, env=os.environ | THRESHOLD, stdout=subprocess.PIPE, text=True, check=True)
    peaks = json.loads(done.stdout.splitlines()[-1])
    return [
        [*about, phase, f"{planned / 1e6:.0f}", f"{measured / 1e6:.0f}", f"{planned / measured:.2f}"]
        for phase, (planned, measured) in peaks.items()
    ]


def _work(setting: Setting, folder: Path) -> dict[str, tuple[int, int]]:
    """Plan a setting, then run it: planned and measured bytes by phase."""
    import torch

    from tests.published import Shape, write_pair
    from vlm.checkpoints.checkpoint import quiet

    quiet()
    torch.set_num_threads(1)
    heads = setting.width // 128
    shape = Shape(setting.width, setting.layers, heads, heads // 2, 3 * setting.width, 128, 2, 4, 256, (0,))
    student, teacher = write_pair(folder, shape, shape)
    return (_trained if setting.trains else _measured)(setting, student, teacher, folder)


def _measured(setting: Setting, student: Path, teacher: Path, _: Path) -> dict[str, tuple[int, int]]:
    """The phases of `probes.angles`, two tokens a bin."""
    from probes import Analyzer, stages
    from probes.planning import Asked, plan_of
    from probes.settings import UnitOptions

    analyzer = Analyzer(
        str(student),
        teacher=str(teacher),
        limit=setting.batch,
        batch=setting.batch,
        max_response=setting.max_response,
        allow_truncated=True,
        bins=5,
    )
    phases = ("loading", "rollouts", "scoring", "gradients", "null")
    plan = plan_of(analyzer, Asked(phases=phases, n_probed=11))
    watch = _Watch()

    def units() -> list:
        return stages.choose_units(analyzer.tokens, UnitOptions(per_bin=2), 0)

    rows = {"grams": stages.gram_rows, "units": stages.unit_rows}
    watch.phase("loading", lambda: analyzer.pair)
    analyzer.prompts  # noqa: B018  # read before the first response
    watch.phase("rollouts", lambda: analyzer.rollouts)
    watch.phase("scoring", lambda: analyzer.tokens)
    groups = analyzer.pair.student.groups
    watch.phase("gradients", lambda: stages.measure_gradients(analyzer, groups, units(), rows))
    watch.phase("null", lambda: stages.measure_null(analyzer, units()))
    return {need.phase: (need.total + plan.room.process_bytes, watch.peaks[need.phase]) for need in plan.needs}


def _trained(setting: Setting, student: Path, teacher: Path, folder: Path) -> dict[str, tuple[int, int]]:
    """Two steps of standard distillation, from loading on."""
    from train import Config, train
    from train.plan import plan_of

    config = Config(
        student=str(student),
        teacher=str(teacher),
        objective="standard",
        batch=setting.batch,
        micro_batch=setting.batch,
        generation_batch=setting.batch,
        max_response=setting.max_response,
        allow_truncated=True,
        steps=2,  # the optimizer has its state from the end of the first on
        evaluate_every=0,
        geometry_every=0,
        held_out=2,
        out=str(folder / "run"),
    )
    plan = plan_of(config)
    watch = _Watch()
    watch.phase("training step", lambda: train(config))
    return {"training step": (plan.peak_bytes, watch.peaks["training step"])}


class _Watch:
    """The most memory that the process held in each phase."""

    def __init__(self) -> None:
        self.peaks: dict[str, int] = {}

    def phase(self, name: str, work: Callable[[], object]) -> None:
        """Run a phase and note its peak."""
        from tests.benchmarks.memory import _peak, _start

        _start()
        work()
        self.peaks[name] = _peak()


if __name__ == "__main__":
    sys.exit(main())
