"""Plain standard on-policy distillation of the bundled student: does the teacher leave it something to learn?

    python -m bundled.headroom            # 150 steps, then accuracy before and after with a paired interval

Every step samples 64 rollouts from the student and lowers the mean of KL(p_S || q_T) over their tokens
(arXiv:2606.00564, Eq. 3), nothing else.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse.typing import PositiveFloat, PositiveInt

from bundled.prompts import bundled_prompts, group_prompts
from cli.errors import exit_code
from cli.options import Parser, flag, pick
from cli.visible import print_out
from vlm.prompts.prompt import Prompt

if TYPE_CHECKING:  # torch and the model libraries, which --help has no use for
    from torch import Tensor

    from vlm.checkpoints.pair import Pair
    from vlm.responses.evaluation import Verdict

TRAINING_SEED = 20_000
MAX_RESPONSE = 64


@dataclass(frozen=True)
class Distillation:
    """Plain standard distillation"""

    steps: PositiveInt = flag(150, "steps of training")
    batch: PositiveInt = flag(64, "rollouts in each step")
    rate: PositiveFloat = flag(3e-4, "learning rate")
    seed: int = flag(0, "seed of the prompts")


@dataclass(frozen=True)
class HeadroomOptions:
    """Evaluation and output"""

    scenes: PositiveInt = flag(3000, "scenes that the accuracies are measured on")
    out: Path = flag(Path("runs/bundled/headroom.json"), "JSON file of the accuracies", short="FILE")


def distil(pair: "Pair", settings: Distillation) -> None:
    """Train the student of `pair` in place."""
    import torch

    student = pair.student.model
    optimizer = torch.optim.AdamW(student.parameters(), lr=settings.rate, weight_decay=0.01)
    for step in range(settings.steps):
        prompts = bundled_prompts(settings.batch, TRAINING_SEED + 1000 * settings.seed + step)
        loss = standard_loss(pair, prompts, seed=step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        if step % 10 == 0:
            print_out(f"step {step}: standard {loss.item():.4f} nats a token")


def standard_loss(pair: "Pair", prompts: Sequence[Prompt], seed: int) -> "Tensor":
    """Mean over fresh rollouts of the mean over tokens of KL(p_S || q_T), nats."""
    import torch

    from geometry import kl_nats, log_probs
    from vlm.responses.rollouts import Sampling, generate
    from vlm.responses.scoring import view_logits
    from vlm.views.view import image_view

    sampling = Sampling(max_response=MAX_RESPONSE, seed=seed, batch=len(prompts))
    rollouts = generate(pair.student, prompts, sampling)
    views = [image_view(prompt) for prompt in prompts]
    responses = [rollout.token_ids for rollout in rollouts]
    with torch.no_grad():
        teacher = view_logits(pair.teacher, views, responses, pair.n_ids)
    student = view_logits(pair.student, views, responses, pair.n_ids)
    losses = [kl_nats(log_probs(p), log_probs(q)).mean() for p, q in zip(student, teacher, strict=True)]
    return torch.stack(losses).mean()


def greedy_verdicts(pair: "Pair", prompts: Sequence[Prompt]) -> "list[Verdict]":
    """The student's greedy answers, judged."""
    from vlm.responses.evaluation import evaluate
    from vlm.responses.rollouts import Sampling

    greedy = Sampling(max_response=MAX_RESPONSE, greedy=True, batch=128)
    return evaluate(pair.student, prompts, greedy)


def measure(settings: Distillation, n_scenes: int = 3000, evaluation_seed: int = 0) -> dict[str, float | list[float]]:
    """Accuracy on scenes that need the picture, before and after, with a 95 % interval of the paired difference."""
    import numpy as np

    from vlm.checkpoints.pair import load_pair

    pair = load_pair("bundled")
    prompts = group_prompts("high", n_scenes, evaluation_seed)
    before = [v.correct is True for v in greedy_verdicts(pair, prompts)]
    distil(pair, settings)
    after = [v.correct is True for v in greedy_verdicts(pair, prompts)]
    gain = np.subtract(after, before, dtype=float)
    half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
    return {
        "steps": settings.steps,
        "high_before": float(np.mean(before)),
        "high_after": float(np.mean(after)),
        "gain": float(gain.mean()),
        "interval": [float(gain.mean() - half), float(gain.mean() + half)],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write the accuracies; return the exit code."""
    parser = Parser("bundled.headroom", __doc__)
    for group in (Distillation, HeadroomOptions):
        parser.add_options(group)
    parsed = parser.parse_args(argv)
    return exit_code(lambda: _write(pick(parsed, Distillation), pick(parsed, HeadroomOptions)))


def _write(settings: Distillation, options: HeadroomOptions) -> None:
    measured = measure(settings, options.scenes)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    print_out(json.dumps(measured))


if __name__ == "__main__":
    sys.exit(main())
