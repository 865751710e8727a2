"""Time and memory of the loss and its gradient, from whole logits and from hidden states.

    python -m tests.benchmarks.loss --tokens 512 --ids 151936 --width 256

`logits` is what people write: the logits of all tokens under the four views, log_softmax, sums of p (log p - log q),
backward. `hidden` is `objective_loss_from_hidden`. Both take the same hidden states and heads, random, in float32, to
the same gradients of the student's hidden states and head under vgs-lp; `hidden` gives the divergences of each token
besides. Each runs in a process of its own; its memory is the most that the process ever held beyond what it held
before the call, the head's gradient included; its time is the processor's, which other jobs disturb less.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geometry import Head, Objective, Thresholds, objective_loss_from_hidden, token_shares

WAYS = ("logits", "hidden")
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

    def logits(self, shares: Tensor) -> Tensor:
        """Return the loss from whole logits."""
        p_image, p_text = ((hidden @ self.student_head.T).log_softmax(-1) for hidden in self.student)
        with torch.no_grad():
            q_image, q_text = ((hidden @ self.teacher_head.T).log_softmax(-1) for hidden in self.teacher)
            target = (p_text + q_image - q_text).log_softmax(-1)
            gate = plain_kl(q_image, q_text) > THRESHOLDS.high
        steered = plain_kl(p_image, q_image) + OBJECTIVE.gamma * plain_kl(p_image, target)
        return ((steered + OBJECTIVE.lambda_ * gate * plain_kl(p_text, q_text)) * shares.float()).sum()

    def hidden(self, shares: Tensor) -> Tensor:
        """Return it from hidden states."""
        inputs = *self.student, Head(self.student_head), *self.teacher, Head(self.teacher_head)
        return objective_loss_from_hidden(*inputs, OBJECTIVE, thresholds=THRESHOLDS, shares=shares).loss


def plain_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def measure(way: str, n_tokens: int, n_ids: int, width: int) -> dict[str, float]:
    """Run one way once in this process."""
    inputs = Inputs.draw(n_tokens, n_ids, width)
    shares = token_shares([n_tokens])
    getattr(Inputs.draw(8, 16, 4), way)(token_shares([8])).backward()  # loads what is loaded at the first call
    held, began = peak_mib(), time.process_time()
    loss = getattr(inputs, way)(shares)
    loss.backward()
    seconds, mib = time.process_time() - began, peak_mib() - held
    leaves = [*inputs.student, inputs.student_head]
    norm = sum(float(leaf.grad.norm()) ** 2 for leaf in leaves if leaf.grad is not None) ** 0.5
    return {"seconds": seconds, "mib": mib, "loss": loss.item(), "norm": norm}


def peak_mib() -> float:
    """Return the most memory that this process has held, in MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(way: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure one way in a process of its own."""
    sizes = [f"--{name}={getattr(options, name)}" for name in ("tokens", "ids", "width", "threads")]
    command = [sys.executable, "-m", "tests.benchmarks.loss", f"--way={way}", *sizes]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=512, help="T")
    parser.add_argument("--ids", type=int, default=151_936, help="V, that of Qwen3-VL by default")
    parser.add_argument("--width", type=int, default=256, help="of the hidden states, d")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--way", choices=WAYS, help="run one way in this process and print its numbers as JSON")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    if options.way:
        print(json.dumps(measure(options.way, options.tokens, options.ids, options.width)))
        return
    found = {way: in_a_process(way, options) for way in WAYS}
    report(found, options)


def report(found: dict[str, dict[str, float]], options: argparse.Namespace) -> None:
    """Print a table of both ways and their ratios."""
    whole, hidden = (found[way] for way in WAYS)
    print(f"T = {options.tokens}, V = {options.ids}, d = {options.width}, {options.threads} threads, {OBJECTIVE.name}")
    print(f"{'':8}{'peak MiB':>10}{'CPU s':>9}{'loss':>11}{'|gradient|':>13}")
    for way, row in found.items():
        print(f"{way:8}{row['mib']:10.0f}{row['seconds']:9.1f}{row['loss']:11.6f}{row['norm']:13.6e}")
    print(f"{'ratio':8}{whole['mib'] / hidden['mib']:10.1f}{whole['seconds'] / hidden['seconds']:9.2f}")


if __name__ == "__main__":
    main()
