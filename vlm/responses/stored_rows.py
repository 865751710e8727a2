"""Rows of stored responses: from a .jsonl or .parquet file or from memory, and what each of them says."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from cli.errors import OptionError
from cli.foreign_json import read_json
from vlm.prompts.read_through import read_through
from vlm.responses.rollouts import Rollout

Row = Rollout | Mapping[str, Any]
Source = str | Path | Sequence[Row]
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "prompt_id": ("prompt_id",),
    "prompt": ("prompt", "input"),
    "ids": ("response_ids", "token_ids", "completion_ids"),
    "text": ("response", "completion", "output"),
    "log_probs": ("log_probs", "logprobs"),
    "reward": ("reward",),
}
"""What a row may say, and the names of the column that says it."""
NAMES: Final = frozenset(name for names in COLUMNS.values() for name in names)
ROUNDING = 1e-3
"""Nats by which a log-probability may exceed 0."""


def existing(path: str | Path) -> Path:
    """Return the path of a file that is there.

    Raises:
        OptionError: it is not.
    """
    if not Path(path).is_file():
        raise OptionError(f"`rollouts` names the file {path}, which does not exist: check the path")
    return Path(path)


def rows_of(source: Source) -> Iterable[tuple[str, Row]]:
    """Return each row with the words that say where it stands.

    Raises:
        OptionError: the source cannot be read; the line or row is named.
    """
    if not isinstance(source, (str, Path, Sequence)):
        kind = type(source).__name__
        raise OptionError(f"`rollouts` must be a .jsonl or .parquet file or a list of rows, got {kind}")
    if not isinstance(source, (str, Path)):
        return ((f"`rollouts`, row {number}", row) for number, row in enumerate(source))
    path = existing(source)
    return _parquet(path) if path.suffix == ".parquet" else _lines(path)


def _lines(path: Path) -> Iterator[tuple[str, Row]]:
    with path.open("rb") as lines:  # cut at "\n" alone
        for number, line in enumerate(lines, start=1):
            where = f"`rollouts`: {path}, line {number}"
            if line.strip():
                try:
                    yield where, read_json(line)
                except ValueError:
                    raise OptionError(f"{where} must be a JSON object with `prompt_id` or `prompt`: mend it") from None


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise OptionError(f"`rollouts`: {path} is not a parquet file ({error})".splitlines()[0]) from None
    rows = (row for batch in file.iter_batches(batch_size=64) for row in batch.to_pylist())
    read = enumerate(read_through(rows, f"`rollouts`: {path}", OptionError))
    return ((f"`rollouts`: {path}, row {number}", row) for number, row in read)


def said_by(row: Any, where: str) -> dict[str, Any]:
    """Return what a row says, by the keys of `COLUMNS`; a null says nothing.

    Raises:
        OptionError: it is no mapping, or two columns say the same.
    """
    if not isinstance(row, Mapping):
        raise OptionError(f"{where} must be a JSON object with `prompt_id` or `prompt`: mend it")
    said = {}
    for key, names in COLUMNS.items():
        present = [name for name in names if row.get(name) is not None]
        if len(present) > 1:
            raise OptionError(f"{where} has both `{present[0]}` and `{present[1]}`: leave one of the two out")
        if present:
            value = row[present[0]]
            said[key] = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    return said


def log_probs_of(stated: Any, n_tokens: int, where: str, *, is_text: bool) -> tuple[float, ...] | None:
    """Return stated log-probabilities, one a token; None where there are none.

    Raises:
        OptionError: they are none, or not as many as the tokens.
    """
    if stated is None:
        return None
    if not isinstance(stated, (list, tuple)) or not all(is_number(x) and x <= ROUNDING for x in stated):
        raise OptionError(f"{where} must have `log_probs` that are finite numbers of at most 0, got {short(stated)}")
    if len(stated) != n_tokens:
        others = "; give the `response_ids` that were sampled" if is_text else ""
        raise OptionError(
            f"{where} must have a number in `log_probs` for each of {n_tokens} tokens, got {len(stated)}{others}"
        )
    return tuple(map(float, stated))


def reward_of(stated: Any, where: str) -> float | None:
    """Return a stated reward; None where there is none.

    Raises:
        OptionError: it is no finite number.
    """
    if stated is not None and not (isinstance(stated, bool) or is_number(stated)):
        raise OptionError(f"{where} must have a finite number as `reward`, got {short(stated)}: mend it")
    return None if stated is None else float(stated)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def short(value: Any) -> str:
    """Return a value for a message, cut at 60 characters."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
