"""Whether a record is the one that claims rest on: its probe, its weights and its settings, not its folder's name.

The command that measures a record says what its header must say: each flag its value, every other setting the default.
Settings that the record does not state are newer than it and are let pass.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from functools import cache
from typing import Any, Final

from cli.errors import OptionError
from records import RecordError

_FREE: Final = {
    "device", "teacher_device", "device_map", "offload", "attention", "batch", "dtype", "max_response", "scope",
    "precision_check", "allow_truncated", "allow_remote",
}  # fmt: skip
"""Settings that say where and how a probe ran, or that a default leaves to the models."""
_FREE_IN_TRAINING: Final = {"device", "dtype", "max_response", "micro_batch", "generation_batch"}


def refuse_other(where: str, header: Mapping[str, Any], command: str) -> None:
    """Refuse a record that a command did not measure on the bundled pair.

    where: the record in words, for the message.
    command: the command, without the names of arms.

    Raises:
        RecordError: the message names the field, what it must be and what it is.
    """
    for field, wanted, stated in _differences(header, command):
        raise RecordError(
            f"{where} must be the record that claims rest on, with `{field}` {wanted!r}, got {stated!r}: measure it"
            f" with `{command}`"
        )


def flags_of(command: str) -> dict[str, str]:
    """Return the flags of a command that measures a record, but those of arms and of its folder.

    >>> flags_of("python -m probes.angles --seed 1 --per-bin 128 --out runs/a && python -m figures")
    {'seed': '1', 'per_bin': '128'}
    """
    own = next(part for part in command.split(" && ") if " --out " in part)
    words = shlex.split(own)
    flags = {
        name[2:].replace("-", "_"): value
        for name, value in zip(words, words[1:], strict=False)
        if name.startswith("--")
    }
    return {name: value for name, value in flags.items() if name not in ("arms", "out")}


def _differences(header: Mapping[str, Any], command: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield each field in which a header is not that of a command: its name, what it must be, what it is."""
    flags = flags_of(command)
    probe = "study" if "-m study " in command else "probes.angles"
    if header["probe"] != probe:
        yield "probe", probe, header["probe"]
        return
    yield from _other_weights(header["weights"], "teacher" in flags)
    yield from (
        _other_runs(header["settings"], flags) if probe == "study" else _other_settings(header["settings"], flags)
    )


def _other_weights(weights: Mapping[str, Any], has_own_teacher: bool) -> Iterator[tuple[str, Any, Any]]:
    student, teacher = bundled_weights()
    if weights.get("student") != student:
        yield "weights.student", student, weights.get("student")
    if not has_own_teacher and weights.get("teacher") != teacher:
        yield "weights.teacher", teacher, weights.get("teacher")
    if has_own_teacher and weights.get("teacher") in (None, teacher, student):
        yield "weights.teacher", "that of the blind teacher", weights.get("teacher")


@cache
def bundled_weights() -> tuple[str, str]:
    """Return the fingerprints of the bundled student and teacher."""
    from bundled import STUDENT
    from vlm.checkpoints.weights import WEIGHTS, files_fingerprint  # here, as it loads torch

    teacher = json.loads((STUDENT / "pair.json").read_bytes())["fingerprint"]
    return files_fingerprint(STUDENT, [WEIGHTS]), str(teacher)


def _other_settings(stated: Mapping[str, Any], flags: Mapping[str, str]) -> Iterator[tuple[str, Any, Any]]:
    from probes.settings import BinOptions, MetricOptions, PairOptions, PromptOptions, UnitOptions

    groups = (PairOptions, PromptOptions, BinOptions, MetricOptions, UnitOptions)
    usual = {f.name: f.default for group in groups for f in fields(group) if f.name not in _FREE}
    for name, default in usual.items():
        wanted = flags.get(name, default)
        if name in stated and str(stated[name]) != str(wanted):
            yield f"settings.{name}", wanted, stated[name]


def _other_runs(stated: Mapping[str, Any], flags: Mapping[str, str]) -> Iterator[tuple[str, Any, Any]]:
    runs = stated.get("runs")
    if not isinstance(runs, Mapping) or not runs:
        yield "settings.runs", "the settings of each run", runs
        return
    for name, settings in runs.items():
        wanted = _run_settings(name, flags)
        if wanted is None or not isinstance(settings, Mapping):
            yield "settings.runs", "arms of study/arms.py, each with a seed", name
            return
        for flag, value in settings.items():
            if flag not in _FREE_IN_TRAINING and flag in wanted and value != wanted[flag]:
                yield f"settings.runs.{name}.{flag}", wanted[flag], value


def _run_settings(name: str, flags: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the settings of the run of an arm and a seed; None for a name that is none."""
    from study.arms import arm_flags
    from train.config import Config

    arm, _, seed = name.rpartition("-")
    shared = {flag: _value(text) for flag, text in flags.items() if flag != "answers"}
    try:
        config = Config(**arm_flags(arm, int(seed), shared))
    except (OptionError, ValueError):
        return None
    return asdict(config) | {"eta": config.normalisation, "rollouts_per_prompt": config.group_size}


def _value(text: str) -> Any:
    """Return the number that a flag was given, else its text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
