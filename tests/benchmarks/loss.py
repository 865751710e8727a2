"""Time and memory of the loss and its gradient, from whole logits and from hidden states.

    python -m tests.benchmarks.loss --tokens 512 2048 --threads 1        # Qwen3-VL's ids: minutes
    python -m tests.benchmarks.loss --tokens 64 --ids 20000              # seconds

`plain` is what people write: the logits of all tokens under the four views, log_softmax, sums of p (log p - log q) for
the loss alone, backward. `logits` is `objective_loss` of those logits, `hidden` is `objective_loss_from_hidden`; both
give the five divergences of each token besides. All take the same hidden states and heads, random, in float32, to the
same gradients of the student's hidden states and head under vgs-lp. Each runs in a process of its own; its memory is
the peak on top of what the process held before the call, the head's gradient included; its time is the processor's,
which other jobs disturb less.

Writes `loss.md` into `--out`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jsonargparse.typing import PositiveFloat, PositiveInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick

TENSORS = {"plain": 12, "logits": 8, "hidden": 0}
"""The ways, and how many float32 tensors `[T, V]` each holds at its peak, as measured."""


@dataclass(frozen=True)
class LossOptions:
    """What is measured, and where the table is written"""

    tokens: Sequence[PositiveInt] = flag((512, 2048), "numbers of tokens, T")
    ids: PositiveInt = flag(151_936, "number of ids, V; by default that of Qwen3-VL")
    width: PositiveInt = flag(256, "width of the hidden states, d")
    threads: PositiveInt = flag(1, "threads of torch")
    limit_gb: PositiveFloat = flag(20.0, "ways that would take more are not run")
    out: Path = flag(Path("runs/bench"), "folder of the table", short="FOLDER")
    way: Literal["plain", "logits", "hidden"] | None = flag(None, "run one way and print its numbers as JSON")


def in_a_process(way: str, n_tokens: int, options: LossOptions) -> dict[str, float]:
    """Measure one way in a process of its own."""
    sizes = [f"--tokens={n_tokens}", f"--ids={options.ids}", f"--width={options.width}", f"--threads={options.threads}"]
    command = [sys.executable, "-m", "tests.benchmarks.loss", f"--way={way}", *sizes]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def too_large(way: str, n_tokens: int, options: LossOptions) -> str:
    """Say why a way is not run; nothing if it is."""
    gb = 4e-9 * TENSORS[way] * n_tokens * options.ids
    allowed = min(options.limit_gb, 1e-9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return f"not run: about {gb:.0f} GB, more than {allowed:.0f}" if gb > allowed else ""


def rows_of(n_tokens: int, options: LossOptions) -> list[str]:
    """The lines of the table for one number of tokens; ratios are to `plain`."""
    lines, plain = [], None
    for way in TENSORS:
        if why := too_large(way, n_tokens, options):
            lines.append(f"| {n_tokens} | {way} | {why} |  |  |  |  |  |")
            continue
        found = in_a_process(way, n_tokens, options)
        plain = found if way == "plain" else plain
        ratios = [f"{found[name] / plain[name]:.2f}" if plain else "" for name in ("mib", "seconds")]
        cells = [f"{found['mib']:.0f}", ratios[0], f"{found['seconds']:.1f}", ratios[1]]
        lines.append(f"| {n_tokens} | {way} | {' | '.join(cells)} | {found['loss']:.6f} | {found['norm']:.5e} |")
    return lines


def table(options: LossOptions) -> str:
    """Measure all and return the table, in markdown."""
    sizes = f"V = {options.ids}, d = {options.width}, {options.threads} thread(s), vgs-lp, float32"
    lines = ["| T | way | peak, MiB | / plain | CPU s | / plain | loss | gradient's length |", "|---" * 8 + "|"]
    return "\n".join([sizes, "", *lines, *(line for n_tokens in options.tokens for line in rows_of(n_tokens, options))])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the flags ask for; return the exit code."""
    parser = Parser("tests.benchmarks.loss", __doc__)
    parser.add_options(LossOptions)
    options = pick(parser.parse_args(argv), LossOptions)
    return exit_code(lambda: _run(options))


def _run(options: LossOptions) -> None:
    if options.way:
        print(json.dumps(_measured_here(options.way, options)))
        return
    text = table(options)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "loss.md").write_text(text + "\n")


def _measured_here(way: str, options: LossOptions) -> dict[str, float]:
    import torch  # here, so that --help does without

    from tests.benchmarks.loss_ways import measure

    torch.set_num_threads(options.threads)
    return measure(way, options.tokens[0], options.ids, options.width)


if __name__ == "__main__":
    sys.exit(main())
