"""The prompts that every run of a study answers at the end, and the answers.

They are never trained on. Where they come from:

    a source that draws prompts    some of each dependency group, by a seed that training does not use
    `held_out_prompts`             the first of them
    any other `prompts`            the last of them, which training leaves out

Greedy answers are judged, and counted by the prompts' dependency: high, low, text, or unknown.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import ArrowException

import bundled  # noqa: F401  # makes its name known
from cli.errors import OptionError
from cli.progress import progress
from records import RecordError
from records.files import write_whole
from records.tables.study import VERDICTS
from train.config import Config
from vlm.checkpoints.checkpoint import LoadedModel, load_model
from vlm.names import drawn_evaluation_prompts
from vlm.prompts.prompt import Prompt, apply_reading
from vlm.prompts.reading import Reading
from vlm.prompts.sources import load_prompts
from vlm.responses.evaluation import evaluate
from vlm.responses.rollouts import Sampling
from vlm.responses.truncation import Truncation

ANSWERS = "answers.parquet"
_CHECKSUM = "sha256"
_WAY_OUT = "put back what the run wrote, or remove the file and run the study again"
MOST, SHARE = 4000, 5
"""Where no number is asked for: so many, and of a source that is trained on at most a fifth."""
DRAWN_SEED = 500_000  # below those of training, and not the default of any probe


@dataclass(frozen=True)
class Evaluation:
    """The prompts to answer, and how many of the last training prompts they are."""

    prompts: Sequence[Prompt]
    left_out: int = 0

    @property
    def groups(self) -> dict[str, list[Prompt]]:
        """The prompts by dependency, in order of appearance."""
        groups: dict[str, list[Prompt]] = {}
        for prompt in self.prompts:
            groups.setdefault(prompt.dependency, []).append(prompt)
        return groups


def evaluation_of(flags: Mapping[str, Any], n: int | None = None) -> Evaluation:
    """Return the prompts that runs with these flags answer; `n` of them, or as many as is usual.

    Raises:
        OptionError: too few prompts, or one without an answer to judge by.
        PromptError: a source that cannot be read.
    """
    source, split = flags.get("prompts", Config.prompts), flags.get("split", Config.split)
    apart, reading = flags.get("held_out_prompts"), _reading(flags)
    if draw := drawn_evaluation_prompts(apart or source):
        return Evaluation([apply_reading(prompt, reading) for prompt in draw(MOST if n is None else n, DRAWN_SEED)])
    if apart:
        chosen = load_prompts(apart, limit=MOST if n is None else n, split=split, reading=reading)
        _check_number(n, len(chosen), apart)
        return _with_answers(Evaluation(chosen), apart)
    pool = load_prompts(source, split=split, reading=reading)
    size = min(MOST, len(pool) // SHARE) if n is None else n
    _check_number(size, len(pool) - 1, source)
    return _with_answers(Evaluation(pool[len(pool) - size :], left_out=size), source)


def _reading(flags: Mapping[str, Any]) -> Reading:
    return Reading(**{f.name: flags[f.name] for f in fields(Reading) if f.name in flags})


def _check_number(n: int | None, most: int, source: str) -> None:
    if n is not None and not 1 <= n <= most:
        raise OptionError(f"`answers` must be from 1 to {most} with the prompts of {source}, got {n}")


def _with_answers(evaluation: Evaluation, source: str) -> Evaluation:
    if silent := [prompt.prompt_id for prompt in evaluation.prompts if not prompt.answer]:
        raise OptionError(
            f"`prompts` must have answers to judge by, but {len(silent)} of {source} have none, the first {silent[0]!r}"
        )
    return evaluation


def answer(checkpoint: str, evaluation: Evaluation, config: Config) -> pd.DataFrame:
    """Load a checkpoint and let it answer greedily, with the dtype, device and longest response of a run.

    Returns:
        One row for each prompt: `group, task, prompt_id, correct, n_tokens, truncated`.
    """
    student = load_model(checkpoint, dtype=config.precision, device=config.device)
    sampling = Sampling(config.longest_response, greedy=True, batch=2 * config.generation_batch)
    rows: list[dict[str, Any]] = []
    with progress("answers", len(evaluation.prompts)) as show:
        for group, prompts in evaluation.groups.items():
            rows += _rows(student, group, prompts, sampling)
            show(len(rows))
    Truncation(sum(row["truncated"] for row in rows), len(rows), config.longest_response).say()
    return pd.DataFrame(rows)


def _rows(student: LoadedModel, group: str, prompts: Sequence[Prompt], sampling: Sampling) -> list[dict[str, Any]]:
    return [
        {
            "group": group,
            "task": judged.prompt.task,
            "prompt_id": judged.prompt.prompt_id,
            "correct": judged.correct is True,  # prompts without an answer are refused
            "n_tokens": len(judged.rollout.token_ids),
            "truncated": judged.rollout.truncated,
        }
        for judged in evaluate(student, prompts, sampling)
    ]


def write_answers(path: Path, rows: pd.DataFrame) -> None:
    """Write the answers of a run, whole or not at all, with a checksum.

    Raises:
        NotWritten: the system refuses.
    """
    rows.attrs = {_CHECKSUM: _checksum(rows)}
    write_whole(path, lambda part: rows.to_parquet(part, index=False))


def read_answers(path: Path) -> pd.DataFrame:
    """Read the answers of a run, and hold them against their checksum and the folder that they stand in.

    Answers that earlier versions wrote have no checksum.

    Raises:
        RecordError: the file is damaged, was changed, or is another run's.
    """
    try:
        rows = pd.read_parquet(path)
    except (OSError, ValueError, ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise RecordError(f"cannot read `{path}` ({reason}): {_WAY_OUT}") from None
    if missing := [name for name in VERDICTS.names if name not in rows]:
        raise RecordError(
            f"`{path}` must have the columns {', '.join(VERDICTS.names)}, misses {missing[0]}: {_WAY_OUT}"
        )
    stated = rows.attrs.pop(_CHECKSUM, None)
    if stated not in (None, _checksum(rows)):
        raise RecordError(f"`{path}` was changed since the run wrote it: {_WAY_OUT}")
    named = {f"{arm}-{seed}" for arm, seed in zip(rows["arm"], rows["seed"], strict=True)}
    if named != {path.parent.name}:
        raise RecordError(
            f"`{path}` must have the answers of {path.parent.name}, got {min(named, default='none')}: {_WAY_OUT}"
        )
    return rows


def _checksum(rows: pd.DataFrame) -> str:
    return hashlib.sha256(rows.to_csv(index=False).encode("utf-8", "surrogatepass")).hexdigest()


def refuse_other_prompts(path: Path, prompt_ids: Sequence[str]) -> None:
    """Refuse answers to other prompts than these.

    Raises:
        RecordError: the file has another number of prompts, or other ones.
    """
    answered = list(read_answers(path)["prompt_id"])
    if len(answered) != len(prompt_ids):
        raise RecordError(
            f"`{path}` has answers to {len(answered)} prompts, not {len(prompt_ids)}: pass that `--answers`, "
            "or choose another `--out`"
        )
    if strangers := sorted({*answered} - {*prompt_ids}):
        raise RecordError(
            f"`{path}` has an answer to prompt {strangers[0]!r}, which is not asked: choose other `--out`"
        )
