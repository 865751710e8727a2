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

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from geometry import (
    FourViews,
    HiddenViews,
    LMHead,
    Objective,
    Thresholds,
    objective_loss,
    objective_loss_from_hidden,
    token_shares,
)
from tests.benchmarks.memory import _peak, _start

TENSORS = {"plain": 12, "logits": 55, "hidden": 0}
"""The ways, and how many float32 tensors `[T, V]` each holds at its peak, as measured."""
OBJECTIVE, THRESHOLDS = Objective("vgs-lp"), Thresholds(low=0.1, high=0.5)


@dataclass(frozen=True)
class Inputs:
    """Hidden states `[T, d]` of both views and heads `[V, d]` of both models."""

    student: list[Tensor]
    student_head: Tensor
    teacher: list[Tensor]
    teacher_head: Tensor

    @classmethod
    def draw(cls, n_tokens: int, n_ids: int, width: int) -> "Inputs":
        torch.manual_seed(0)
        image, head = torch.randn(n_tokens, width), torch.randn(n_ids, width).mul_(2.0 / width**0.5)
        views = [image + strength * torch.randn(n_tokens, width) for strength in (0.1, 0.3, 0.2, 0.4)]
        student = [view.requires_grad_() for view in views[:2]]
        return cls(student, head.clone().requires_grad_(), views[2:], head)

    def plain(self, shares: Tensor) -> Tensor:
        """Return the loss from whole logits, written out."""
        p_image, p_text = ((hidden @ self.student_head.T).log_softmax(-1) for hidden in self.student)
        with torch.no_grad():
            q_image, q_text = ((hidden @ self.teacher_head.T).log_softmax(-1) for hidden in self.teacher)
            target = (p_text + q_image - q_text).log_softmax(-1)
            gate = plain_kl(q_image, q_text) > THRESHOLDS.high
        steered = plain_kl(p_image, q_image) + OBJECTIVE.gamma * plain_kl(p_image, target)
        return ((steered + OBJECTIVE.lambda_ * gate * plain_kl(p_text, q_text)) * shares.float()).sum()

    def logits(self, shares: Tensor) -> Tensor:
        """Return it from whole logits."""
        students = [hidden @ self.student_head.T for hidden in self.student]
        teachers = [hidden @ self.teacher_head.T for hidden in self.teacher]
        return objective_loss(FourViews(*students, *teachers), OBJECTIVE, thresholds=THRESHOLDS, shares=shares).loss

    def hidden(self, shares: Tensor) -> Tensor:
        """Return it from hidden states."""
        student = HiddenViews(*self.student, LMHead(self.student_head))
        teacher = HiddenViews(*self.teacher, LMHead(self.teacher_head))
        return objective_loss_from_hidden(student, teacher, OBJECTIVE, thresholds=THRESHOLDS, shares=shares).loss


def plain_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def measure(way: str, n_tokens: int, n_ids: int, width: int) -> dict[str, float]:
    """Run one way once in this process."""
    inputs = Inputs.draw(n_tokens, n_ids, width)
    shares = token_shares([n_tokens])
    getattr(Inputs.draw(8, 16, 4), way)(token_shares([8])).backward()  # loads what is loaded at the first call
    held, began = _start(), time.process_time()
    loss = getattr(inputs, way)(shares)
    loss.backward()
    seconds, mib = time.process_time() - began, (_peak() - held) / 2**20
    leaves = [*inputs.student, inputs.student_head]
    norm = sum(float(leaf.grad.norm()) ** 2 for leaf in leaves if leaf.grad is not None) ** 0.5
    return {"seconds": seconds, "mib": mib, "loss": loss.item(), "norm": norm}


def in_a_process(way: str, n_tokens: int, options: argparse.Namespace) -> dict[str, float]:
    """Measure one way in a process of its own."""
    sizes = [f"--tokens={n_tokens}", f"--ids={options.ids}", f"--width={options.width}", f"--threads={options.threads}"]
    command = [sys.executable, "-m", "tests.benchmarks.loss", f"--way={way}", *sizes]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def too_large(way: str, n_tokens: int, options: argparse.Namespace) -> str:
    """Say why a way is not run; nothing if it is."""
    gb = 4e-9 * TENSORS[way] * n_tokens * options.ids
    allowed = min(options.limit_gb, 1e-9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return f"not run: about {gb:.0f} GB, more than {allowed:.0f}" if gb > allowed else ""


def rows_of(n_tokens: int, options: argparse.Namespace) -> list[str]:
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


def table(options: argparse.Namespace) -> str:
    """Measure all and return the table, in markdown."""
    sizes = f"V = {options.ids}, d = {options.width}, {options.threads} thread(s), {OBJECTIVE.name}, float32"
    lines = ["| T | way | peak, MiB | / plain | CPU s | / plain | loss | gradient's length |", "|---" * 8 + "|"]
    return "\n".join([sizes, "", *lines, *(line for n_tokens in options.tokens for line in rows_of(n_tokens, options))])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 2048], help="T")
    parser.add_argument("--ids", type=int, default=151_936, help="V, that of Qwen3-VL by default")
    parser.add_argument("--width", type=int, default=256, help="of the hidden states, d")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit-gb", type=float, default=20.0, help="ways that would take more are not run")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--way", choices=TENSORS, help="run one way in this process and print its numbers as JSON")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    if options.way:
        print(json.dumps(measure(options.way, options.tokens[0], options.ids, options.width)))
        return
    text = table(options)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "loss.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
