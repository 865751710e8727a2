"""The published sizes on one machine: a random student of the 2B shape under a teacher of the 4B shape, in bfloat16.

    python -m tests.benchmarks.real_size                                       # an hour at most, within 24 GB
    python -m tests.benchmarks.real_size --student narrow --teacher narrow     # the same in a minute

One prompt with a picture and one response. Each command runs in a process of its own: the plan, the visual dependency
of every response token, the gradients of four tokens, and a training step of standard distillation and of visual
steering with adapters. The two checkpoints stay in `--folder` and are used again.

Prints how long each took and the most memory it held, compared with the plan, and writes `real_size.md` into the
folder. Ends with exit code 1 if a process held more than `--most-gb`.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jsonargparse.typing import PositiveFloat, PositiveInt

from cli.errors import Stopped, exit_code
from cli.options import Parser, flag, pick
from tests.benchmarks.own_process import Measured, measured

PROMPTS = "prompts.jsonl"
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
    length = ["--dtype", "bfloat16", "--max-response", str(options.max_response)]
    length += ["--prompts", str(options.folder / PROMPTS)]
    probed = [*pair, *length, "--limit", "1", "--batch", "1", "--overwrite"]
    step = ["--student", *pair, *length, "--lora-rank", str(options.lora_rank), "--steps", "1", "--batch", "1"]
    step += ["--held-out", "1", "--evaluate-every", "0", "--geometry-every", "0"]

    def out(name: str) -> list[str]:
        return ["--out", str(options.folder / name)]

    return {
        "vds": ("probes.vds", [*probed, *out("vds")]),
        "angles": ("probes.angles", [*probed, "--bins", "4", "--per-bin", "1", *out("angles")]),
        **{
            f"train {name}": ("train.__main__", [*step, "--objective", name, *out(f"train-{name}")])
            for name in ("standard", "vgs-lp")
        },
    }


def write_prompts(path: Path) -> None:
    """Write two prompts that show a picture: one to measure and to evaluate, one to train on."""
    import json

    from bundled.prompts import group_prompts

    lines = []
    for number, prompt in enumerate(group_prompts("high", 2, seed=0)):
        picture = path.with_name(f"{number}.png")
        prompt.images[0].load().save(picture)
        lines.append(json.dumps({"question": prompt.text, "image": picture.name, "answer": prompt.answer}))
    path.write_text("\n".join(lines) + "\n")


def table(rows: Mapping[str, Measured]) -> str:
    """Return the rows in markdown."""
    lines = ["| command | seconds | CPU seconds | peak, GB |", "|---" * 4 + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | {row.seconds:.0f} | {row.cpu_seconds:.0f} | {row.peak_bytes / 1e9:.2f} |")
    return "\n".join(lines)


def _run(options: RealSizeOptions) -> None:
    import shutil

    student, teacher = (_checkpoint(options, side) for side in ("student", "teacher"))
    write_prompts(options.folder / PROMPTS)
    rows: dict[str, Measured] = {}
    for name, (module, argv) in commands(options, student, teacher).items():
        shutil.rmtree(options.folder / name.replace(" ", "-"), ignore_errors=True)
        print(f"{name}: {module} {' '.join(argv)}", file=sys.stderr, flush=True)
        rows[name] = measured(module, argv)
    text = f"{_caption(options)}\n\n{table(rows)}"
    print(text)
    (options.folder / "real_size.md").write_text(text + "\n")
    if over := [name for name, row in rows.items() if row.peak_bytes > options.most_gb * 1e9]:
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
