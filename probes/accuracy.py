"""How often is a model right, by task and by what the question depends on?

    python -m probes.accuracy                                  # the bundled student, greedy
    python -m probes.accuracy teacher-folder --samples 16      # mean over 16 sampled answers, as Acc@16
    python -m probes.accuracy --without-image                  # the same questions, pictures left out
    python -m probes.accuracy CKPT --prompts data.parquet --rollouts answers.jsonl     # answers given elsewhere

Reads one checkpoint; writes a record (`record.json`, `rollouts`) and prints accuracy with its 95 % interval over
prompts.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from jsonargparse.typing import NonNegativeInt, PositiveInt

from cli.errors import OptionError
from cli.options import flag
from cli.tables import aligned
from probes import command, stages
from probes.probe import Plan, Probe, Tables
from probes.settings import DEVICE_HELP, DTYPE_HELP, Dtype, Sampler
from stats import bootstrap_interval
from vlm.prompts.reading import Reading

if TYPE_CHECKING:
    import pandas as pd

    from probes.analyzer import Analyzer
    from probes.measurement import Measurement


@dataclass(frozen=True)
class AskedOptions(Reading):
    """Model and prompts"""

    prompts: str = flag(
        "bundled", "bundled, a .jsonl, .json or .parquet file, a datasets folder, a benchmark or a hub id"
    )
    split: str = flag("train", "split of a datasets folder or hub id (a benchmark: its own, unless another than train)")
    limit: PositiveInt = flag(500, "number of prompts")
    rollouts: str | None = flag(None, "a .jsonl or .parquet file with answers that are judged in place of the model's")
    sampler: Sampler = flag("transformers", "what samples the answers; vllm: an extra, see docs/responses.md")
    max_response: PositiveInt | None = flag(
        None, "longest response, tokens (default: 1024, or an eighth of a context below 4096; bundled: 64)"
    )
    allow_truncated: bool = flag(False, "go on although more than 80 % of the responses are truncated")
    batch: PositiveInt = flag(64, "responses generated together")
    seed: NonNegativeInt = flag(0, "seed of the bundled scenes and of sampling")
    dtype: Dtype = flag("auto", f"the model's dtype; {DTYPE_HELP}")
    device: str = flag("auto", f"where the model runs: {DEVICE_HELP}")


@dataclass(frozen=True)
class AnswerOptions:
    """Answers"""

    samples: NonNegativeInt = flag(0, "sampled answers per prompt at temperature 1; 0 is one greedy answer")
    without_image: bool = flag(False, "leave the pictures out of the prompts")


def refuse(analyzer: "Analyzer", options: AnswerOptions) -> None:
    """Refuse further samples of answers that are there already."""
    if analyzer.stored is not None and (options.samples or options.without_image):
        raise OptionError("`samples` and `without_image` belong to answers that are sampled; leave `rollouts` out")


def plan(analyzer: "Analyzer", options: AnswerOptions) -> Plan:
    """Return what identifies a record of answers: one model alone."""
    from vlm.prompts.prompt import prompts_fingerprint

    student = analyzer.student
    stages.stored_answers(analyzer)
    header = {
        "probe": PROBE.module,
        "pair": {"student": student.name},
        "weights": {"student": student.fingerprint},
        "setup": {"student": student.setup},
        "source": prompts_fingerprint(analyzer.answered.prompts),
        "settings": analyzer.settings_of(AskedOptions) | asdict(options),
    }
    return Plan(header)


def measure(analyzer: "Analyzer", options: AnswerOptions) -> Tables:
    """Return the table `rollouts`: the answers, judged."""
    if (stored := stages.stored_answers(analyzer)) is not None:
        return {"rollouts": stored}
    return {"rollouts": stages.answer_table(analyzer, options.samples, without_image=options.without_image)}


def summary(measured: "Measurement", options: AnswerOptions) -> str:
    """Return accuracy by dependency group and by task, and how many answers are in no box."""
    return accuracy_table(measured.rollouts)


def accuracy_table(rollouts: "pd.DataFrame") -> str:
    """Accuracy by dependency group, then by task, in percent with its interval over prompts.

    Responses to prompts that state no answer are counted below the table alone, and those without a box beside it.
    """
    judged = rollouts[rollouts["correct"].notna()]
    lines = [
        _row(column, str(name), rows)
        for column in ("dependency", "task")
        for name, rows in judged.groupby(column, sort=False)
    ]
    columns = ["by", "", "answers", "correct %", "95 % interval", "without a box"]
    notes = [] if len(judged) == len(rollouts) else [_unanswered(rollouts, len(rollouts) - len(judged))]
    return "\n".join([*([aligned([columns, *lines])] if lines else []), *notes])


def _row(column: str, name: str, rows: "pd.DataFrame") -> list[str]:
    interval = bootstrap_interval(100.0 * rows["correct"].to_numpy(dtype=float), rows["prompt_id"].to_numpy(str))
    spread = f"{interval.low:.1f} to {interval.high:.1f}"
    unboxed = str(int((~rows["boxed"].astype(bool)).sum())) if "boxed" in rows else "-"
    return [column, name, str(len(rows)), f"{interval.estimate:.1f}", spread, unboxed]


def _unanswered(rollouts: "pd.DataFrame", n: int) -> str:
    if n == len(rollouts):
        return (
            f"no accuracy: none of the prompts states an answer ({n} responses); name its column with --columns answer="
        )
    return f"not judged: {n} of {len(rollouts)} responses, whose prompts state no answer"


PROBE = Probe("accuracy", measure, summary, (AskedOptions,), (AnswerOptions,), refuse=refuse, plan=plan)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return command.run(PROBE, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
