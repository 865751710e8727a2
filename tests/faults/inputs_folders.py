"""Records, runs, optimizer states and files of responses that cannot be read."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.faults.inputs import Case, Pair
from tests.faults.inputs_checkpoints import BYTES, copied, field_of, replaced
from tests.faults.inputs_prompts import VALUES

GALLERY = Path(__file__).resolve().parents[2] / "figures" / "gallery"
RECORD_FIELDS = ("schema_version", "header", "header.probe", "header.pair", "header.settings", "tables", "notes",
                 "complete", "tables.bins")  # fmt: skip
WRONG: Sequence[Any] = ("absent", None, 5, "x", [], {}, [None], -1)
TABLES = ("bins.csv", "units.parquet", "grams.parquet", "tokens.parquet", "rollouts.parquet")
DRAWN = {"bins.csv": "angle_bins", "units.parquet": "gradient_plane", "grams.parquet": "gradient_plane",
         "tokens.parquet": "vds", "rollouts.parquet": "ribbon"}  # fmt: skip
RESPONSES: dict[str, Any] = {
    "a number": 5,
    "a list": [],
    "an empty object": {},
    "no response": {"prompt_id": "0"},
    "a response that is a number": {"prompt_id": "0", "response": 5},
    "a response that is an object": {"prompt_id": "0", "response": {}},
    "half of a character": {"prompt_id": "0", "response": "\ud800"},
    "ids that are text": {"prompt_id": "0", "response_ids": "5"},
    "ids that are negative": {"prompt_id": "0", "response_ids": [-1]},
    "ids that are too large": {"prompt_id": "0", "response_ids": [10**30]},
    "ids that are fractions": {"prompt_id": "0", "response_ids": [1.5]},
    "ids in lists": {"prompt_id": "0", "response_ids": [[1]]},
    "no ids": {"prompt_id": "0", "response_ids": []},
    "an id of a list": {"prompt_id": ["0"], "response": "red"},
    "half of a character as id": {"prompt_id": "\ud800", "response": "red"},
    "signs as id": {"prompt_id": "\x1b[31m", "response": "red"},
    "a prompt that is a number": {"prompt": 5, "response": "red"},
    "a prompt of parts that are numbers": {"prompt": [{"role": "user", "content": [5]}], "response": "red"},
    "a prompt with a part of a number": {"prompt": [{"role": "user", "content": [{"type": 5}]}], "response": "red"},
    "half of a character as prompt": {"prompt": "\ud800", "response": "red"},
    "log-probabilities of text": {"prompt_id": "0", "response_ids": [9, 2], "log_probs": "x"},
    "log-probabilities of nan": {"prompt_id": "0", "response_ids": [9, 2], "log_probs": [float("nan")] * 2},
    "a reward of nan": {"prompt_id": "0", "response_ids": [9, 2], "reward": float("nan")},
    "a reward of text": {"prompt_id": "0", "response_ids": [9, 2], "reward": "x"},
}
STATES: dict[str, Any] = {
    "a number": 5,
    "a list": [1],
    "an empty object": {},
    "nothing in it": {"state": {}, "param_groups": []},
    "groups that are a number": {"state": {}, "param_groups": 5},
    "groups of numbers": {"state": {}, "param_groups": [5]},
    "a state that is a list": {"state": [], "param_groups": [{"params": [0], "betas": (0.9, 0.99), "eps": 1e-8}]},
    "parameters that are a number": {"state": {}, "param_groups": [{"params": 5, "betas": (0.9, 0.99), "eps": 1e-8}]},
    "names that are numbers": {
        "state": {},
        "param_groups": [{"params": [0], "param_names": [5], "betas": (0.9, 0.99), "eps": 1e-8}],
    },
    "an optimizer that is a number": {"optimizer": 5},
}
GROUP_FIELDS: dict[str, Sequence[Any]] = {
    "betas": (None, 5, (), (0.9,), ("a", "b"), (0.9, float("nan")), (0.9, 2.0), (0.9, 1.0)),
    "eps": (None, "x", float("nan"), -1.0, float("inf"), []),
    "params": (None, [], "x", [10**9], [[0]]),
}
ENTRY_FIELDS: dict[str, Sequence[Any]] = {
    "exp_avg_sq": (None, 5, "x", [], "nan", "-1", "inf"),
    "step": (None, "x", -1, float("nan"), [], float("inf")),
}


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    for field in RECORD_FIELDS:
        for value in WRONG:
            yield Case(
                "record",
                f"{field}, {value!r}",
                "figures.__main__",
                _record(field_of("record.json", field, value), "angle_bins"),
            )
    for name in ("record.json", *TABLES):
        for kind, content in BYTES.items():
            words = _record(_bytes(name, content), DRAWN.get(name, "angle_bins"))
            yield Case("file of a record", f"{name}, {kind}", "figures.__main__", words)
    for name in TABLES:
        for kind in ("nulls", "no rows", "half of the columns", "other types"):
            words = _record(_table(name, kind), DRAWN[name])
            yield Case("table", f"{name}, {kind}", "figures.__main__", words, may_pass=True)
    for kind, value in RESPONSES.items():
        yield Case("responses", kind, "probes.vds", _responses(json.dumps(value).encode()))
    for kind, content in BYTES.items():
        yield Case("responses", f"file, {kind}", "probes.vds", _responses(content))
        yield Case("responses", f"parquet, {kind}", "probes.vds", _responses(content, "x.parquet"))
        yield Case("optimizer state", f"file, {kind}", "probes.angles", _state(content))
        for command, words in FOLDERS.items():
            yield Case("folder of a run", f"{command}, {kind}", command, _run_folder(words, content))
    for kind, value in STATES.items():
        yield Case("optimizer state", kind, "probes.angles", _state(value))
    for fields, inner in ((GROUP_FIELDS, False), (ENTRY_FIELDS, True)):
        for field, values in fields.items():
            for value in values:
                name = f"{field}, {value!r}"
                yield Case("optimizer state", name, "probes.angles", _changed_state(field, value, inner))
    for kind in ("a text in place of a path", *VALUES):
        if isinstance(VALUES.get(kind, ""), str):
            words = ["--seen", VALUES.get(kind, "nowhere").replace("\0", "") or "none"]
            yield Case("record of a plan", kind, "probes.plan", lambda pair, w=words: [*pair.flags, *w])


FOLDERS = {
    "study.effects": ("runs",),
    "study.claims.__main__": ("--records", "runs"),
    "probes.plan": ("--seen", "runs"),
}


def _record(spoil: Callable[[Path], None], picture: str) -> Callable[[Pair], list[str]]:
    def prepare(pair: Pair) -> list[str]:
        folder = Path(shutil.copytree(GALLERY / "angles", "record", ignore=shutil.ignore_patterns("*.png", "*.svg")))
        spoil(folder)
        return ["record", picture, "--out", "drawn"]

    return prepare


def _bytes(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: replaced(folder / name, content)


def _table(name: str, kind: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        import pandas as pd

        path = folder / name
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        if kind == "nulls":
            frame = frame.astype(object).where(frame.isna(), None)
        elif kind == "no rows":
            frame = frame.iloc[:0]
        elif kind == "half of the columns":
            frame = frame.iloc[:, ::2]
        else:
            frame = frame.astype(str)
        path.unlink()
        frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path, index=False)

    return spoil


def _responses(content: bytes, name: str = "x.jsonl") -> Callable[[Pair], list[str]]:
    def prepare(pair: Pair) -> list[str]:
        Path(name).write_bytes(content)
        return [*pair.flags, "--rollouts", name]

    return prepare


def _state(content: Any) -> Callable[[Pair], list[str]]:
    def prepare(pair: Pair) -> list[str]:
        import torch

        if isinstance(content, bytes):
            Path("state.pt").write_bytes(content)
        else:
            torch.save(content, "state.pt")
        return [*pair.flags, "--metric", "adam", "--optimizer-state", "state.pt"]

    return prepare


def _changed_state(field: str, value: Any, inner: bool) -> Callable[[Pair], list[str]]:
    """Prepare the state of a real optimizer of the student, one field replaced."""

    def prepare(pair: Pair) -> list[str]:
        import torch

        from vlm.checkpoints.checkpoint import load_model

        model = load_model(str(copied(pair.student, "model"))).model
        state = torch.optim.AdamW(model.parameters()).state_dict()
        shapes = dict(enumerate(model.parameters()))
        state["state"] = {n: {"exp_avg_sq": torch.ones_like(p), "step": 1.0} for n, p in shapes.items()}
        replacing = {"nan": float("nan"), "-1": -1.0, "inf": float("inf")}
        if field == "exp_avg_sq" and isinstance(value, str) and value in replacing:
            state["state"][0][field].fill_(replacing[value])
        else:
            (state["state"][0] if inner else state["param_groups"][0])[field] = value
        torch.save(state, "state.pt")
        return [*pair.flags, "--metric", "adam", "--optimizer-state", "state.pt"]

    return prepare


def _run_folder(words: Sequence[str], content: bytes) -> Callable[[Pair], list[str]]:
    """Prepare a folder whose files are all this."""

    def prepare(pair: Pair) -> list[str]:
        for arm in ("initial-0", "standard-0"):
            folder = Path("runs", arm)
            folder.mkdir(parents=True)
            for name in ("config.json", "metrics.jsonl", "answers.parquet", "record.json"):
                (folder / name).write_bytes(content)
        Path("runs", "record.json").write_bytes(content)
        return [*pair.flags, *words] if words[0] == "--seen" else list(words)

    return prepare
