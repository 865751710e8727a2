"""How often is a model right, by task and by what the question depends on?

    python -m probes.accuracy                                  # the bundled student, greedy
    python -m probes.accuracy teacher-folder --samples 16      # mean over 16 sampled answers, as Acc@16
    python -m probes.accuracy --without-image                  # the same questions, pictures left out

Reads one checkpoint; writes a record (`record.json`, `rollouts`) and prints accuracy with its 95 % interval over
prompts.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import pandas as pd
from jsonargparse.typing import NonNegativeInt, PositiveInt

from cli.options import flag
from cli.progress import progress
from cli.tables import aligned
from probes import corpus as corpora
from probes.options import Dtype, OutputOptions, run_probe
from stats.bootstrap import bootstrap_interval
from vlm.checkpoint import load_model, quiet
from vlm.evaluation import evaluate
from vlm.prompts import Prompt, prompts_fingerprint
from vlm.rollouts import Sampling
from vlm.sources import load_prompts
from vlm.views import text_view


@dataclass(frozen=True)
class AccuracyOptions:
    """Model, prompts and sampling"""

    prompts: str = flag("bundled", "bundled, a .jsonl or .parquet file, a datasets folder or a hub id")
    split: str = flag("train", "split of a datasets folder or hub id")
    limit: PositiveInt = flag(500, "number of prompts")
    samples: NonNegativeInt = flag(0, "sampled answers a prompt at temperature 1; 0 is one greedy answer")
    without_image: bool = flag(False, "leave the pictures out of the prompts")
    max_response: PositiveInt = flag(64, "longest response, tokens")
    batch: PositiveInt = flag(64, "responses generated together")
    seed: NonNegativeInt = flag(0, "seed of the bundled scenes and of sampling")
    dtype: Dtype = flag("float32", "the model's dtype")
    device: str = flag("cpu", "where the model runs, such as cpu or cuda")


def main(argv: Sequence[str] | None = None) -> int:
    return run_probe(__doc__, (AccuracyOptions, OutputOptions), measure, argv)


def measure(checkpoint: str, options: AccuracyOptions, output: OutputOptions) -> None:
    """Answer, judge, record and print."""
    began = time.monotonic()
    quiet()
    member = load_model(checkpoint, dtype=options.dtype, device=options.device)
    prompts = load_prompts(options.prompts, limit=options.limit, seed=options.seed, split=options.split)
    if options.without_image:
        prompts = [_without_image(prompt) for prompt in prompts]
    header = {
        "probe": "probes.accuracy",
        "pair": {"student": member.name},
        "weights": {"student": member.fingerprint},
        "source": prompts_fingerprint(prompts),
        "settings": asdict(options),
    }
    with corpora.open_folder("accuracy", header, output) as writer:
        greedy = options.samples == 0
        sampling = Sampling(options.max_response, max(options.samples, 1), options.seed, greedy, options.batch)
        with progress("answers", len(prompts) * sampling.per_prompt) as show:
            verdicts = evaluate(member, prompts, sampling, progress=show)
        rows = [corpora.rollout_row(number, verdict.prompt, verdict.rollout) for number, verdict in enumerate(verdicts)]
        rollouts = pd.DataFrame(rows)
        writer.finish({"rollouts": rollouts}, {"seconds": round(time.monotonic() - began, 1)})
    print(accuracy_table(rollouts))
    print(f"record: {writer.path}")


def accuracy_table(rollouts: pd.DataFrame) -> str:
    """Accuracy by dependency group, then by task, in percent with its interval over prompts."""
    lines = []
    for column in ("dependency", "task"):
        for name, rows in rollouts.groupby(column, sort=False):
            interval = bootstrap_interval(
                100.0 * rows["correct"].to_numpy(dtype=float), rows["prompt_id"].to_numpy(str)
            )
            spread = f"{interval.low:.1f} to {interval.high:.1f}"
            lines.append([column, str(name), str(len(rows)), f"{interval.estimate:.1f}", spread])
    return aligned([["by", "", "answers", "correct %", "95 % interval"], *lines])


def _without_image(prompt: Prompt) -> Prompt:
    view = text_view(prompt)
    return replace(prompt, messages=view.messages, images=view.images)


if __name__ == "__main__":
    sys.exit(main())
