"""FLOPs and bytes of ways to the Gram matrices of single tokens, counted: the same on any machine.

    python -m tests.benchmarks.flops                       # models of 10M and 30M parameters; a few minutes
    python -m tests.benchmarks.flops --sizes 2M --length 64

A random Qwen3-VL with 64 visual tokens and a response of 512 tokens, 8 of them probed, in float32. Ways: the floor (see
`floor`), `geometry.Gramian`, one forward and backward for each objective and token, and batched cotangents. FLOPs are
those of torch's counter, with formulas for the CPU's attention; bytes are the most that tensors took at a time above
the model, counted from the results of operations. Prints a table in markdown.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from jsonargparse.typing import PositiveInt

from cli.errors import exit_code
from cli.options import Parser, flag, pick

if TYPE_CHECKING:
    from tests.benchmarks.counting import Cost
    from tests.benchmarks.floor import Token
    from tests.benchmarks.ways import Job

_WAYS = {
    "f": "`geometry.Gramian`",
    "c": "batched cotangents (`is_grads_batched`)",
    "a": "forward + backward a gradient",
}
_BATCH = 4  # tokens a backward pass of batched cotangents


@dataclass(frozen=True)
class FlopOptions:
    """What is counted"""

    sizes: Sequence[Literal["2M", "4M", "10M", "30M"]] = flag(("10M", "30M"), "random models", short="SIZE")
    length: PositiveInt = flag(512, "tokens of the response")
    probed: PositiveInt = flag(8, "tokens whose Gram matrices are wanted")


def main(argv: Sequence[str] | None = None) -> int:
    """Count what the flags ask for; return the exit code."""
    parser = Parser("tests.benchmarks.flops", __doc__)
    parser.add_options(FlopOptions)
    options = pick(parser.parse_args(argv), FlopOptions)
    return exit_code(lambda: print(table(options)))


def table(options: FlopOptions) -> str:
    """Return the table in markdown."""
    from tests.benchmarks.objects import random  # here, so that --help needs no model library

    lines = ["| model | way | GFLOPs | / floor | peak, MB |", "|---|---|---|---|---|"]
    for size in options.sizes:
        (job,) = random(size, size, options.length, options.probed).jobs
        print(f"{size}: the floor", file=sys.stderr, flush=True)
        parts = floor_of(job)
        least = sum(parts.values())
        said = ", ".join(f"{name} {count / 1e9:.1f}" for name, count in parts.items())
        lines.append(f"| {size} | floor ({said}) | {least / 1e9:.1f} | 1 | |")
        for key, name in _WAYS.items():
            print(f"{size}: {name}", file=sys.stderr, flush=True)
            cost = cost_of_way(key, job)
            lines.append(
                f"| {size} | {name} | {cost.total / 1e9:.1f} | {cost.total / least:.2f} | {cost.peak / 1e6:.0f} |"
            )
    return "\n".join(lines)


def cost_of_way(key: str, job: "Job") -> "Cost":
    """Return what a way costs on a job, once it knows the model; one token's cost, times their number, of way (a)."""
    from tests.benchmarks.counting import Cost, cost_of
    from tests.benchmarks.ways import WAYS

    grams = WAYS[key].build(job.model, _BATCH)
    last = job.at(job.positions[-1:])
    if key == "a":
        one = cost_of(partial(grams, last))
        return Cost({name: count * len(job.positions) for name, count in one.flops.items()}, one.peak)
    if key == "f":
        grams(last)
    return cost_of(partial(grams, job))


def floor_of(job: "Job") -> dict[str, int]:
    """Return the parts of the floor of a job; see `floor`."""
    from tests.benchmarks.counting import cost_of
    from tests.benchmarks.floor import floor

    forward = sum(cost_of(partial(view, job.positions)).total for view in (job.image, job.text))
    return dict(floor(forward, [_token(job, int(at)) for at in job.positions]))


def _token(job: "Job", position: int) -> "Token":
    """What a token needs, read off the model as it runs: where its gradients are not 0 is seen from one of them."""
    import torch

    from geometry.gramian.backward import IMAGE, TEXT, gradients, run_view
    from geometry.gramian.module_inputs import ModuleInputs
    from tests.benchmarks.counting import cost_of
    from tests.benchmarks.floor import Rows, Token

    at, n_ids = torch.tensor([position]), job.cotangents.visual.shape[1]
    capture = ModuleInputs(job.model, list(job.model.parameters()))
    uses: dict[str, tuple[tuple[int, int], list[Rows]]] = {}
    for objectives, view in ((IMAGE, job.image), (TEXT, job.text)):
        logits, noted = capture.run(partial(run_view, objectives, view, at, n_ids))
        seed = getattr(job.cotangents, objectives[0])[at].to(logits)
        pulled = gradients(logits, seed[None], [use.source for use in noted], batched=False)
        for use, gradient in zip(noted, pulled, strict=True):
            if gradient is not None:
                factors = use.factors(gradient, (0,))
                n_rows = int((factors.outputs != 0).any(-1).sum())
                shape = (factors.weight.shape[0], factors.weight[0].numel())
                _, rows = uses.setdefault(str(id(use.parameter)), (shape, []))
                rows.append(Rows(objectives[0], n_rows, factors.is_lookup))
    forward = {name: cost_of(partial(view, at)) for name, view in (("image", job.image), ("text", job.text))}
    return Token(forward, uses)


if __name__ == "__main__":
    sys.exit(main())
