"""Read prompts, with and without pictures: the bundled scenes, JSONL, parquet, a datasets folder or a hub id.

A row holds either `problem, answer, images` (an `<image>` marker in `problem` says where a picture stands; without
markers the pictures come first) or the conversational `prompt, images` (a list of messages). `dependency` (high, low,
text), `task` and `id` are read where they are present. A picture is a path (relative to the file), bytes, or
`{"bytes": ..., "path": ...}`, as parquet and datasets hold it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from cli.errors import UserError
from vlm.names import drawn_prompts
from vlm.pictures import Picture, read_picture
from vlm.prompts import IMAGE_MARKER, Prompt

DRAWN = 64  # prompts that a source which draws them gives by default


class PromptError(UserError):
    """A prompt source that cannot be read; the message names the row."""


def load_prompts(source: str, *, limit: int | None = None, seed: int = 0, split: str = "train") -> list[Prompt]:
    """Read up to `limit` prompts from `source`.

    `bundled` draws the scenes of the bundled pair from `seed`; a path ending in .jsonl or .parquet is read as such; any
    other existing folder as a saved datasets folder; anything else as a hub id, whose `split` is read.

    Raises:
        PromptError: nothing there, an unknown format, a row without a needed column, or an unreadable picture.
    """
    if (draw := drawn_prompts(source)) is not None:
        return draw(DRAWN if limit is None else limit, seed)
    rows = _rows(source, split)
    prompts: list[Prompt] = []
    for number, row in enumerate(islice(rows, limit)):
        prompts.append(_prompt(row, f"{source}, row {number}", str(number), _folder(source)))
    if not prompts:
        raise PromptError(f"`prompts` must hold at least one prompt, but {source} is empty; name another source")
    _refuse_double_ids(prompts, source)
    return prompts


def read_prompts(rows: Iterable[Prompt | Mapping[str, Any]], source: str = "`prompts`") -> list[Prompt]:
    """Return prompts from objects, or from rows as a file of prompts has them.

    Raises:
        PromptError: there is none, or a row lacks a column or has an unreadable picture.
    """
    if not isinstance(rows, Iterable):
        raise PromptError(f"`prompts` must be a file, a name or a list of prompts, got {type(rows).__name__}")
    prompts = [
        row if isinstance(row, Prompt) else _prompt(row, f"{source}, row {number}", str(number), Path())
        for number, row in enumerate(rows)
    ]
    if not prompts:
        raise PromptError(f"`prompts` must hold at least one prompt, but {source} is empty; name another source")
    _refuse_double_ids(prompts, source)
    return prompts


def _folder(source: str) -> Path:
    return Path(source).parent


def _rows(source: str, split: str) -> Iterable[Mapping[str, Any]]:
    path = Path(source)
    if path.suffix in (".jsonl", ".parquet"):
        if not path.is_file():
            raise PromptError(f"`prompts` names the file {source}, which does not exist; check the path")
        return _jsonl(path) if path.suffix == ".jsonl" else _parquet(path)
    if path.is_file():
        raise PromptError(f"`prompts` must be .jsonl or .parquet, a datasets folder or a hub id, got {source}")
    return _datasets(source, split)


def _jsonl(path: Path) -> Iterable[Mapping[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise PromptError(f"`prompts`: {path}, row {number} is not JSON ({error})") from None
                if not isinstance(row, dict):
                    raise PromptError(
                        f"`prompts`: {path}, row {number} must be a JSON object, got {type(row).__name__}"
                    )
                yield row


def _parquet(path: Path) -> Iterable[Mapping[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise PromptError(f"`prompts`: {path} is not a parquet file ({error})") from None
    for batch in file.iter_batches(batch_size=64):
        yield from batch.to_pylist()


def _datasets(source: str, split: str) -> Iterable[Mapping[str, Any]]:
    import datasets

    try:
        if Path(source).is_dir():
            loaded = datasets.load_from_disk(source)
        else:
            loaded = datasets.load_dataset(source, split=split, streaming=True)
    except Exception as error:  # the hub client and datasets raise many kinds; each means "not readable"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PromptError(f"`prompts`: {source} is neither a file, a datasets folder nor a hub id ({reason})") from None
    if not isinstance(loaded, datasets.DatasetDict):
        return loaded
    if split not in loaded:
        raise PromptError(f"`split` must be one of {', '.join(loaded)} in {source}, got {split!r}")
    return loaded[split]


def _prompt(row: Mapping[str, Any], where: str, number: str, folder: Path) -> Prompt:
    listed = row.get("images")
    entries = [] if listed is None else listed if isinstance(listed, (list, tuple)) else [listed]
    images = tuple(_image(entry, where, folder) for entry in entries)
    known = {name: value for name, value in row.items() if value is not None}
    if "problem" in known:
        messages = _from_problem(str(known["problem"]), len(images), where)
    elif "prompt" in known:
        messages = _from_messages(known["prompt"], len(images), where)
    else:
        raise PromptError(f"`prompts`: {where} must have a column `problem` or `prompt`, got {sorted(row)}")
    return Prompt(
        prompt_id=str(known.get("id", number)),
        messages=messages,
        images=images,
        answer=str(known.get("answer", "")),
        task=str(known.get("task", "unknown")),
        dependency=str(known.get("dependency", "unknown" if images else "text")),
    )


def _from_problem(problem: str, n_images: int, where: str) -> tuple[Mapping[str, Any], ...]:
    pieces = problem.split(IMAGE_MARKER)
    if len(pieces) == 1:
        pieces = [""] * n_images + pieces
    if len(pieces) - 1 != n_images:
        raise PromptError(f"`prompts`: {where} has {len(pieces) - 1} markers {IMAGE_MARKER} but {n_images} images")
    content: list[dict[str, str]] = []
    for index, piece in enumerate(pieces):
        content += [{"type": "image"}] if index else []
        content += [{"type": "text", "text": piece.strip()}] if piece.strip() else []
    return ({"role": "user", "content": content},)


def _from_messages(messages: Any, n_images: int, where: str) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise PromptError(f"`prompts`: {where}: `prompt` must be a list of messages, got {type(messages).__name__}")
    try:
        normal = [{"role": message["role"], "content": _parts(message["content"])} for message in messages]
    except (KeyError, TypeError) as error:
        raise PromptError(
            f"`prompts`: {where}: a message must have `role` and `content`, a text or parts of type text or image"
            f" ({type(error).__name__}: {error})"
        ) from None
    first_user = next((message for message in normal if message["role"] == "user"), None)
    if first_user is None:
        raise PromptError(f"`prompts`: {where}: `prompt` must hold a message of role user, got none")
    marked = sum(part["type"] == "image" for message in normal for part in message["content"])
    if marked == 0 and n_images:
        first_user["content"] = [{"type": "image"}] * n_images + first_user["content"]
    elif marked != n_images:
        raise PromptError(f"`prompts`: {where} has {marked} image parts but {n_images} images")
    return tuple(normal)


def _parts(content: Any) -> list[dict[str, str]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [{"type": "image"} if part["type"] == "image" else _text_part(part) for part in content]


def _text_part(part: Mapping[str, Any]) -> dict[str, str]:
    if part["type"] != "text":
        raise TypeError(f"a part of type {part['type']!r}")
    return {"type": "text", "text": str(part["text"])}


def _image(entry: Any, where: str, folder: Path) -> Picture:
    picture = read_picture(entry, where=where, root=folder)
    picture.check()
    return picture


def _refuse_double_ids(prompts: Sequence[Prompt], source: str) -> None:
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.prompt_id in seen:
            raise PromptError(f"`prompts`: {source} uses the id {prompt.prompt_id!r} twice; ids must differ")
        seen.add(prompt.prompt_id)
