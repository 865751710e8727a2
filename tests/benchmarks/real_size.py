"""The published sizes on one machine: a random student of the 2B shape under a teacher of the 4B shape, in bfloat16.

    python -m tests.benchmarks.real_size                                       # an hour at most, within 24 GB
    python -m tests.benchmarks.real_size --student narrow --teacher narrow     # the same in a minute

One prompt with a picture and one response. Each command runs in a process of its own: the plan, the visual dependency
of every response token, the gradients of four tokens, and a training step of standard distillation and of visual
steering with adapters. The two checkpoints stay in `--folder` and are used again.

Prints how long each took and the most memory it held, compared with the plan, and writes `real_size.md` into the
folder. Ends with exit code 1 if a process held more than `--most-gb`.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import PositiveFloat, PositiveInt

from cli.errors import Stopped, exit_code
from cli.options import Parser, flag, pick
from tests.benchmarks.own_process import Measured, measured

PROMPTS = "prompts.jsonl"
_ANGLES = ("--bins", "4", "--per-bin", "1")
_SCORED = ("loading", "rollouts", "scoring")
_PROBED = (*_SCORED, "gradients", "null")
ShapeName = Literal["narrow", "2b", "4b", "8b"]


@dataclass(frozen=True)
class RealSizeOptions:
    """What is run"""

    student: ShapeName = flag("2b", "shape of the student")
    teacher: ShapeName = flag("4b", "shape of the teacher")
    visual_tokens: PositiveInt = flag(64, "tokens of the picture")
    max_response: PositiveInt = flag(64, "tokens of the response")
    lora_rank: PositiveInt = flag(16, "rank of the adapters that are trained")
    most_gb: PositiveFloat = flag(24.0, "GB that no process may exceed")
    folder: Path = flag(Path("runs/real-size"), "folder of the checkpoints, the records and the table", short="FOLDER")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the commands; return the exit code."""
    parser = Parser("tests.benchmarks.real_size", __doc__)
    parser.add_options(RealSizeOptions)
    options = pick(parser.parse_args(argv), RealSizeOptions)
    return exit_code(lambda: _run(options))


def commands(options: RealSizeOptions, student: Path, teacher: Path) -> Mapping[str, tuple[str, list[str]]]:
    """Return the module and the flags of each command, by its name in the table."""
    pair = [str(student), "--teacher", str(teacher)]
    shared = _shared(options)
    shared.append("--allow-truncated")  # random models hardly ever draw the end token
    probed = [*pair, *shared, "--limit", "1", "--batch", "1", "--overwrite"]
    step = ["--student", *pair, *shared, "--lora-rank", str(options.lora_rank), "--steps", "1", "--batch", "1"]
    step += ["--held-out", "1", "--evaluate-every", "0", "--geometry-every", "0"]

    def out(name: str) -> list[str]:
        return ["--out", str(options.folder / name)]

    return {
        "vds": ("probes.vds", [*probed, *out("vds")]),
        "angles": ("probes.angles", [*probed, *_ANGLES, *out("angles")]),
        **{
            f"train {name}": ("train.__main__", [*step, "--objective", name, *out(f"train-{name}")])
            for name in ("standard", "vgs-lp")
        },
    }


def write_prompts(path: Path) -> None:
    """Write two prompts that show a picture: one to measure and to evaluate, one to train on."""
    from bundled.prompts import group_prompts

    lines = []
    for number, prompt in enumerate(group_prompts("high", 2, seed=0)):
        picture = path.with_name(f"{number}.png")
        prompt.images[0].load().save(picture)
        lines.append(json.dumps({"question": prompt.text, "image": picture.name, "answer": prompt.answer}))
    path.write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Row:
    """A command, what it took, and the peak that the plan says; None for a plan itself."""

    name: str
    measured: Measured
    plan_bytes: int | None = None


def table(rows: Sequence[Row]) -> str:
    """Return the rows in markdown."""
    lines = ["| command | seconds | CPU seconds | peak, GB | plan, GB | peak / plan |", "|---" * 6 + "|"]
    for row in rows:
        own, planned = row.measured, row.plan_bytes
        cells = [row.name, f"{own.seconds:.0f}", f"{own.cpu_seconds:.0f}", f"{own.peak_bytes / 1e9:.2f}"]
        cells += ["", ""] if planned is None else [f"{planned / 1e9:.2f}", f"{own.peak_bytes / planned:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def planned_peaks(options: RealSizeOptions, student: Path, teacher: Path) -> tuple[Mapping[str, int], list[Row]]:
    """Return the peak of each command as `vgs plan` says, and what the plans took."""
    flags = [str(student), "--teacher", str(teacher), *_shared(options), "--limit", "1", "--batch", "1", *_ANGLES]
    flags += ["--micro-batch", "1", "--lora-rank", str(options.lora_rank), "--json"]
    peaks, rows = {}, []
    for name, steers in (("standard", []), ("vgs-lp", ["--steers"])):
        ran = measured("cli.vgs", ["plan", *flags, *steers])
        peaks |= _peaks(json.loads(ran.said), name)
        rows.append(Row(f"plan {name}", ran))
    return peaks, rows


def _peaks(plan: Mapping[str, Any], objective: str) -> Mapping[str, int]:
    """The peaks of the commands from a plan in JSON: the most of the phases that a command has."""
    totals = {name: sum(phase["bytes"].values()) for name, phase in plan["phases"].items()}
    phases = {"vds": _SCORED, "angles": _PROBED, f"train {objective}": ("loading", "training step")}
    return {
        command: plan["process_bytes"] + max(totals[name] for name in names if name in totals)
        for command, names in phases.items()
    }


def _shared(options: RealSizeOptions) -> list[str]:
    return [
        *("--dtype", "bfloat16", "--max-response", str(options.max_response)),
        *("--prompts", str(options.folder / PROMPTS)),
    ]


def _run(options: RealSizeOptions) -> None:
    student, teacher = (_checkpoint(options, side) for side in ("student", "teacher"))
    write_prompts(options.folder / PROMPTS)
    peaks, rows = planned_peaks(options, student, teacher)
    for name, (module, argv) in commands(options, student, teacher).items():
        shutil.rmtree(options.folder / name.replace(" ", "-"), ignore_errors=True)
        print(f"{name}: {module} {' '.join(argv)}", file=sys.stderr, flush=True)
        rows.append(Row(name, measured(module, argv), peaks.get(name)))
    text = f"{_caption(options)}\n\n{table(rows)}"
    print(text)
    (options.folder / "real_size.md").write_text(text + "\n")
    if over := [row.name for row in rows if row.measured.peak_bytes > options.most_gb * 1e9]:
        raise Stopped(f"{', '.join(over)} held more than {options.most_gb:g} GB")


def _checkpoint(options: RealSizeOptions, side: str) -> Path:
    import torch

    from tests.benchmarks.random_checkpoints import ensure_checkpoint
    from tests.published import SHAPES

    name = getattr(options, side)
    print(f"{side}: the {name} shape with random weights", file=sys.stderr, flush=True)
    return ensure_checkpoint(
        options.folder / f"{side}-{name}-{options.visual_tokens}",
        SHAPES[name],
        visual_tokens=options.visual_tokens,
        dtype=torch.bfloat16,
        seed=int(side == "teacher"),
    )


def _caption(options: RealSizeOptions) -> str:
    import os

    import torch

    return (
        f"{options.student} <- {options.teacher}, random weights in bfloat16, {options.visual_tokens} visual and"
        f" {options.max_response} response tokens, adapters of rank {options.lora_rank}; CPU,"
        f" {torch.get_num_threads()} thread(s) on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    sys.exit(main())
