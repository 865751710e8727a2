"""Read prompts, with and without pictures: the bundled scenes, JSON, parquet, a datasets folder, a hub id, a benchmark.

`vlm.prompts.schemas` says which column is what, `vlm.prompts.messages` where pictures stand, `vlm.prompts.cells` what a
cell may be, and `vlm.prompts.benchmarks` has the benchmarks by name. Paths of pictures are relative to the file, or to
`image_root`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cli.errors import OptionError
from cli.foreign_json import read_json
from vlm.names import drawn_prompts
from vlm.pictures.picture import Picture, PictureError, read_picture
from vlm.prompts.benchmarks import BENCHMARKS, Chosen, benchmark_named
from vlm.prompts.cells import PromptError as PromptError
from vlm.prompts.cells import UnplacedPictureError, Written, meant
from vlm.prompts.prompt import Prompt, apply_reading
from vlm.prompts.read_through import read_through
from vlm.prompts.reading import Reading
from vlm.prompts.rows import Defaults, RowReader
from vlm.prompts.schemas import Row, parse_columns

DRAWN = 64  # prompts that a source which draws them gives by default
AS_FOUND = Reading()
_FILES = (".jsonl", ".json", ".parquet")
_FOUND = ("bytes", "path")
_HUB_ADDRESS = re.compile(r"hf://datasets/[^/]+/[^/]+")  # a whole set; datasets takes it as its hub id


class BadPicture(PromptError):
    """A picture that cannot be read."""


@dataclass(frozen=True)
class PromptSet:
    """Prompts, where they are from, and which columns were read as what.

    bad: why rows were left out, one reason each.
    """

    prompts: list[Prompt]
    source: str
    columns: str
    bad: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, str]:
        """Two lines: what was read, and how many prompts have pictures and answers."""
        pictured = sum(prompt.has_image for prompt in self.prompts)
        answered = sum(bool(prompt.answer) for prompt in self.prompts)
        left_out = f"; {len(self.bad)} left out, the first: {self.bad[0]}" if self.bad else ""
        return (
            f"prompts: {self.source}: {self.columns}",
            f"prompts: {len(self.prompts)}, {pictured} with pictures, {answered} with an answer{left_out}",
        )


def load_prompts(
    source: str, *, limit: int | None = None, seed: int = 0, split: str = "train", reading: Reading = AS_FOUND
) -> list[Prompt]:
    """Read up to `limit` prompts from `source`, as `prompt_set` does.

    Raises:
        PromptError, OptionError: as `prompt_set`.
    """
    return prompt_set(source, limit=limit, seed=seed, split=split, reading=reading).prompts


def prompt_set(
    source: str, *, limit: int | None = None, seed: int = 0, split: str = "train", reading: Reading = AS_FOUND
) -> PromptSet:
    """Read up to `limit` prompts from `source`.

    `bundled` draws the scenes of the bundled pair from `seed`; a path ending in .jsonl, .json or .parquet is read as
    such; any other existing folder as a saved datasets folder; the name of a benchmark as its prompt set; anything else
    as a hub id, whose `split` is read.

    Raises:
        PromptError: nothing there, an unknown format, a row that cannot be read without a guess, or an unreadable
            picture.
        OptionError: `columns` cannot be read, or a setting of rows is given for prompts that are drawn.
    """
    if (draw := drawn_prompts(source)) is not None:
        _refuse_unread(reading, source)
        drawn = [apply_reading(prompt, reading) for prompt in draw(DRAWN if limit is None else limit, seed)]
        return PromptSet(drawn, source, f"drawn with seed {seed}")
    chosen = None if Path(source).exists() else benchmark_named(source)
    reader = _reader(reading, Path(source).parent, chosen)
    rows = _benchmark(chosen, split) if chosen else _rows(source, split)
    return _read(islice(rows, limit), source, reader, reading)


def read_prompts(rows: Iterable[Prompt | Row], *, limit: int | None = None, reading: Reading = AS_FOUND) -> PromptSet:
    """Read up to `limit` prompts from objects, or from rows as a file of prompts has them.

    Raises:
        PromptError: there is none, or a row cannot be read.
    """
    if not isinstance(rows, Iterable):
        raise PromptError(f"`prompts` must be a file, a name or a list of prompts, got {type(rows).__name__}")
    return _read(islice(rows, limit), "`prompts`", _reader(reading, None, None), reading)


def _refuse_unread(reading: Reading, source: str) -> None:
    for name in ("columns", "image_root", "allow_remote"):
        if (value := getattr(reading, name)) != getattr(AS_FOUND, name):
            raise OptionError(
                f"`{name}` is about rows of a file, but {source} draws its prompts, got {value!r}; leave it out"
            )


def _reader(reading: Reading, folder: Path | None, chosen: Chosen | None) -> RowReader:
    columns, defaults = parse_columns(reading.columns), Defaults()
    if chosen is not None:
        columns, own = chosen.columns(columns), chosen.benchmark
        defaults = Defaults(task=chosen.name, dependency=own.group, answers=own.answers)
    root = folder if reading.image_root is None else Path(reading.image_root)
    return RowReader(columns, _picture_reader(root, reading.allow_remote), defaults)


def _picture_reader(root: Path | None, allow_remote: bool) -> Callable[[Any, str], Any]:
    def read(entry: Any, where: str) -> Picture:
        try:
            picture = read_picture(entry, where=where, root=root, allow_remote=allow_remote)
            picture.check()
        except PictureError as error:
            raise BadPicture(str(error)) from None
        return picture

    return read


def _read(rows: Iterable[Prompt | Row], source: str, reader: RowReader, reading: Reading) -> PromptSet:
    prompts: list[Prompt] = []
    bad: list[str] = []
    for number, row in enumerate(rows):
        try:
            made = row if isinstance(row, Prompt) else reader.prompt(row, f"{source}, row {number}", str(number))
            prompts.append(apply_reading(made, reading))
        except (BadPicture, UnplacedPictureError) as error:
            if not reading.skip_bad:
                raise
            bad.append(str(error))
    if bad and not prompts:
        raise PromptError(f"{bad[0]}; no prompt of {source} is left without the {len(bad)} that `skip_bad` leaves out")
    if not prompts:
        raise PromptError(f"`prompts` must hold at least one prompt, but {source} is empty; name another source")
    if reader.seen:
        reader.refuse_missing(source)
    _refuse_double_ids(prompts, source)
    return PromptSet(prompts, source, reader.summary, tuple(bad))


def _rows(source: str, split: str) -> Iterable[Row]:
    path = Path(source)
    if "://" in source and not path.exists() and not _HUB_ADDRESS.fullmatch(source):
        raise PromptError(
            f"`prompts` must be a file, a datasets folder, a benchmark or a hub id, got the address {source}: give the"
            " hub id alone, such as me/data, or download the file"
        )
    if path.suffix in _FILES:
        if not path.is_file():
            raise PromptError(f"`prompts` names the file {source}, which does not exist; check the path")
        return {".jsonl": _jsonl, ".json": _json, ".parquet": _parquet}[path.suffix](path)
    if path.is_file():
        raise PromptError(
            f"`prompts` must be .jsonl or .parquet, .json, a datasets folder, a benchmark or a hub id, got {source}"
        )
    return _datasets(source, split)


def _jsonl(path: Path) -> Iterator[Row]:
    """The rows of JSON lines, which end at a line feed alone; numbers keep how they are written."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
            if text.strip():
                yield _object(_parsed(text, f"{path}, row {number}"), f"{path}, row {number}")


def _json(path: Path) -> Iterator[Row]:
    """The rows of a JSON list of objects."""
    rows = _parsed(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), str(path))
    if not isinstance(rows, list):
        raise PromptError(f"`prompts`: {path} must be a JSON list of objects, got {type(rows).__name__}; use .jsonl")
    yield from (_object(row, f"{path}, row {number}") for number, row in enumerate(rows))


def _parsed(text: bytes, where: str) -> Any:
    try:
        return read_json(text, parse_float=Written, object_pairs_hook=_unique)
    except ValueError as error:
        raise PromptError(f"`prompts`: {where} is not JSON ({error})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len({*names}) < len(names):
        raise ValueError(f"it has {max(names, key=names.count)!r} twice")
    return dict(pairs)


def _object(row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise PromptError(f"`prompts`: {where} must be a JSON object, got {type(row).__name__}")
    return row


def _parquet(path: Path) -> Iterable[Row]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        file = pa.parquet.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise PromptError(f"`prompts`: {path} is not a parquet file ({error}): check the path") from None
    names = file.schema_arrow.names
    if twice := {name for name in names if names.count(name) > 1}:
        raise PromptError(f"`prompts`: {path} has several columns `{min(twice)}`; rename all but one")
    narrow = {field.name: np.float32 for field in file.schema_arrow if field.type in (pa.float16(), pa.float32())}
    rows = (row for batch in file.iter_batches(batch_size=64) for row in batch.to_pylist())
    yield from (meant(row, narrow) for row in read_through(rows, f"`prompts`: {path}", PromptError))


def _datasets(source: str, split: str) -> Iterable[Row]:
    import datasets

    if not Path(source).is_dir():
        return _hub(source, None, split)
    try:
        loaded = datasets.load_from_disk(source)
    except Exception as error:  # datasets raises many kinds; each means "not readable"
        raise PromptError(_unreadable(source, error)) from None
    if isinstance(loaded, datasets.DatasetDict):
        if split not in loaded:
            raise PromptError(f"`split` must be one of {', '.join(loaded)} in {source}, got {split!r}")
        loaded = loaded[split]
    return read_through(_undecoded(loaded.to_iterable_dataset(), None), f"`prompts`: {source}", PromptError)


def _benchmark(chosen: Chosen, split: str) -> Iterable[Row]:
    return _hub(chosen.benchmark.hub, chosen.benchmark.config, chosen.split(split))


def _hub(source: str, config: str | None, split: str) -> Iterable[Row]:
    import datasets

    try:
        loaded = datasets.load_dataset(source, config, split=split, streaming=True)
    except Exception as error:  # the hub client raises many kinds; each means "not readable"
        raise PromptError(_unreadable(source, error)) from None
    return read_through(_undecoded(loaded, source), f"`prompts`: {source}", PromptError)


def _undecoded(loaded: Any, hub_id: str | None) -> Iterable[Row]:
    """The rows with their pictures as bytes or paths; those that are files of this set on the hub are decoded."""
    import datasets

    meanings: dict[str, Callable[[Any], Any]] = {}
    for name, kind in (loaded.features or {}).items():
        if isinstance(kind, datasets.ClassLabel):
            meanings[name] = kind.int2str
        elif getattr(kind, "dtype", None) in ("float16", "float32"):
            meanings[name] = np.float32
    for row in loaded.decode(False):
        yield meant({name: _fetched(value, hub_id) for name, value in row.items()}, meanings)


def _fetched(value: Any, hub_id: str | None) -> Any:
    import datasets

    if isinstance(value, list):
        return [_fetched(entry, hub_id) for entry in value]
    if hub_id and isinstance(value, dict) and tuple(sorted(value)) == _FOUND and value["bytes"] is None:
        own = rf"(?:zip://[^:]*::)?hf://datasets/{re.escape(hub_id)}(?:@[^/]*)?/.*"
        return datasets.Image().decode_example(value) if re.fullmatch(own, str(value["path"])) else value
    return value


def _unreadable(source: str, error: Exception) -> str:
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    if "offline" in reason.lower():  # what the client says while HF_HUB_OFFLINE is set
        reason = "HF_HUB_OFFLINE is set and this machine does not have it: unset the variable, or give a file"
    hint = "" if "/" in source else f"; the benchmarks are {', '.join(BENCHMARKS)}"
    return f"`prompts`: {source} is neither a file, a datasets folder nor a hub id ({reason}){hint}"


def _refuse_double_ids(prompts: Sequence[Prompt], source: str) -> None:
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.prompt_id in seen:
            raise PromptError(f"`prompts`: {source} uses the id {prompt.prompt_id!r} twice; ids must differ")
        seen.add(prompt.prompt_id)
