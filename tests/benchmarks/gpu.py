"""A 2B student under an 8B teacher on one GPU: probed tokens a second, memory by phase, and what a step costs.

    python -m tests.benchmarks.gpu                    # the first accelerator, under 8 minutes, no network
    python -m tests.benchmarks.gpu --device cpu --student narrow --teacher narrow --responses 2 --max-response 32

Models have random weights in bfloat16 and are made on the device; responses are random words, so that none has to be
sampled. All response tokens are scored, the gradients of `--bins` times `--per-bin` tokens are measured, and the fewest
FLOPs that these need are counted (`tests.benchmarks.floor`). Then a few tokens are sampled, and training steps with
adapters are taken in turn by standard distillation and by visual steering.

Prints the machine and the tables, and writes them to `gpu.md` in `--out`.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse.typing import PositiveInt

from cli.errors import OptionError, exit_code
from cli.options import Parser, flag, pick

if TYPE_CHECKING:
    import torch

    from tests.benchmarks.device_watch import Phase

ShapeName = Literal["narrow", "2b", "4b", "8b"]


@dataclass(frozen=True)
class GpuOptions:
    """What is run"""

    device: str = flag("auto", "where it runs; auto: the accelerator of this machine")
    dtype: Literal["bfloat16", "float32"] = flag("bfloat16", "dtype of both models")
    student: ShapeName = flag("2b", "shape of the student")
    teacher: ShapeName = flag("8b", "shape of the teacher")
    visual_tokens: PositiveInt = flag(256, "tokens of each picture")
    max_response: PositiveInt = flag(1024, "tokens of each response")
    responses: PositiveInt = flag(16, "prompts, with one response each")
    batch: PositiveInt = flag(16, "responses per forward pass of the scoring")
    bins: PositiveInt = flag(10, "number of VDS bins")
    per_bin: PositiveInt = flag(64, "tokens probed in each bin")
    counted: PositiveInt = flag(8, "probed tokens on which the fewest FLOPs are counted")
    sampled: PositiveInt = flag(16, "tokens that are sampled to each prompt")
    micro_batch: PositiveInt = flag(4, "responses per forward and backward pass of a training step")
    lora_rank: PositiveInt = flag(16, "rank of the adapters that are trained")
    rounds: PositiveInt = flag(2, "training steps of each objective, after one to warm up")
    out: Path = flag(Path("runs/bench"), "folder of the table", short="FOLDER")


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; return the exit code."""
    parser = Parser("tests.benchmarks.gpu", __doc__)
    parser.add_options(GpuOptions)
    options = pick(parser.parse_args(argv), GpuOptions)
    return exit_code(lambda: _run(options))


def _run(options: GpuOptions) -> None:
    from tests.benchmarks import gpu_work
    from tests.benchmarks.device_watch import DeviceWatch, matmul_flops
    from vlm.checkpoints.checkpoint import quiet

    quiet()
    began = time.monotonic()
    device = chosen_device(options.device)
    speed = matmul_flops(device, _dtype(options.dtype))
    watch = DeviceWatch(device)
    work = gpu_work.prepared(options, watch)
    n_probed = gpu_work.probe(work, options.per_bin, watch)
    floor = gpu_work.floor_flops(work, options.per_bin, options.counted)
    gpu_work.sample_some(work, options.sampled, watch)
    gpu_work.steps(work, options, watch)
    seconds, spent = watch.named("gradients").seconds, time.monotonic() - began
    lines = [
        _caption(options, device, speed),
        phase_table(watch.phases),
        step_table(watch.phases),
        f"{n_probed} tokens probed in {seconds:.1f} s, {n_probed / seconds:.2f} a second. The fewest FLOPs are"
        f" {floor / 1e12:.3g} T, {floor / speed:.1f} s at the speed of a product of matrices: the floor is"
        f" {100 * floor / speed / seconds:.0f} % of the time. {spent:.0f} s in all.",
    ]
    text = "\n\n".join(lines)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.md").write_text(text + "\n")


def chosen_device(name: str) -> "torch.device":
    """Return the device of a name.

    Raises:
        OptionError: there is no such device.
    """
    import torch

    if name == "auto":
        if not torch.accelerator.is_available():
            raise OptionError("`device` auto must find an accelerator, there is none here; give --device cpu")
        return torch.accelerator.current_accelerator() or torch.device("cpu")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise OptionError(f"`device` {name!r} cannot be used ({str(error).splitlines()[0]}); try cpu") from None


def phase_table(phases: "Sequence[Phase]") -> str:
    """Return seconds, tokens a second and peaks by phase in markdown; of training steps the last of each arm."""
    last = {phase.name: phase for phase in phases}
    lines = ["| phase | seconds | tokens a second | peak, GB |", "|---" * 4 + "|"]
    for phase in last.values():
        speed = f"{phase.tokens / phase.seconds:.1f}" if phase.tokens else ""
        lines.append(f"| {phase.name} | {phase.seconds:.2f} | {speed} | {phase.peak_bytes / 1e9:.2f} |")
    return "\n".join(lines)


def step_table(phases: "Sequence[Phase]") -> str:
    """Return the best seconds of a training step of each arm, and the ratios to standard distillation."""
    from tests.benchmarks.gpu_work import ARMS

    best = {arm: min(phase.seconds for phase in phases if phase.name == arm) for arm in ARMS}
    lines = ["| step, adapters | seconds, best | / standard |", "|---" * 3 + "|"]
    lines += [f"| {arm} | {seconds:.2f} | {seconds / best['standard']:.3f} |" for arm, seconds in best.items()]
    return "\n".join(lines)


def _dtype(name: str) -> "torch.dtype":
    import torch

    return torch.float32 if name == "float32" else torch.bfloat16


def _caption(options: GpuOptions, device: "torch.device", speed: float) -> str:
    import torch

    from tests.benchmarks.device_watch import device_name

    return (
        f"{options.student} <- {options.teacher}, random weights, {options.dtype}; {options.responses} prompts of"
        f" {options.visual_tokens} visual tokens, responses of {options.max_response};"
        f" {device_name(device)}, torch {torch.__version__}, {speed / 1e12:.2f} TFLOP/s in a product of matrices"
    )


if __name__ == "__main__":
    sys.exit(main())
