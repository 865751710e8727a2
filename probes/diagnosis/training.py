"""The training run that a diagnosis recommends: the flags of `python -m train` that say all it was measured with.

A setting that training has under the same name is carried as it is. `APART` lists the others: what training has no flag
for, or has under the same name for something else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from cli.errors import UserError
from cli.options import flag_name
from cli.shell import run_module
from probes.diagnosis.strength_rules import Recommendation
from probes.diagnosis.verdict_rules import UNDECIDED
from vlm.names import drawn_prompts

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

Flags = Mapping[str, Any]
"""Values of flags of `python -m train`, by name: `lambda`, `held_out`."""

APART: Final[Mapping[str, str]] = {
    "limit": "",
    "batch": "",
    "dtype": "the models were measured in {}, training has float32 and bfloat16",
    "offload": "",
    "parameters": "measured at the parameters that {} finds, training changes all; see --freeze-vision",
    "sampler": "measured on responses that {} sampled, training samples by transformers",
    "rollouts": "measured on responses of {}, the student is trained on its own; add --rollouts to train on a file",
}
"""Fields of the settings that are not carried by their name, and what is said of one that was given."""
TRAINING: Final = "training"
"""The note of a diagnosis that has the flags."""
DTYPES: Final = ("float32", "bfloat16")
"""What training has as `dtype`."""
HELD_OUT: Final = 200
BATCH: Final = 64
"""The defaults of `held_out` and `batch` in training, which a small source of prompts cannot fill."""


def training_flags(analyzer: "Analyzer", advice: Recommendation, lr: float | None) -> dict[str, Any]:
    """Return the flags that train on the advice with what was measured with; none where that is not possible.

    It is not where there is nothing to train on or nothing is decided, or where models or prompts are in memory.

    lr: the rate of training, None for its default.
    """
    from probes.models_of_analyzer import IN_MEMORY  # torch

    pair, asked = analyzer.pair_options, analyzer.stated_prompt_options  # training has the same default length
    if advice.objective == "none" or advice.verdict == UNDECIDED or IN_MEMORY in (analyzer.checkpoint, asked.prompts):
        return {}
    flags: dict[str, Any] = {"student": analyzer.checkpoint, "teacher": pair.teacher, "objective": advice.objective}
    if advice.objective != "standard":
        flags |= {"gamma": advice.gamma, "lambda": advice.lambda_, "prior": advice.prior}
    flags |= {"dtype": pair.dtype} if pair.dtype in DTYPES[1:] else {}
    stated = {
        name: value for group in (pair, asked) for name, value in given_fields(group).items() if name not in APART
    }
    if stated.get("teacher_dtype") == "auto":  # the default of a diagnosis; that of training is as good a choice
        del stated["teacher_dtype"]
    flags |= stated | _fitting(analyzer) | {"lr": lr}
    return {name: value for name, value in flags.items() if value is not None}


def left_out(analyzer: "Analyzer") -> list[str]:
    """Say which settings were measured with and are not those of training."""
    said = given_fields(analyzer.pair_options) | given_fields(analyzer.stated_prompt_options)
    if analyzer.stored is not None:
        said["rollouts"] = analyzer.prompt_options.rollouts or "memory"
    if said.get("dtype") in DTYPES:
        del said["dtype"]
    return [words.format(said[name]) for name, words in APART.items() if words and name in said]


def command_line(flags: Flags) -> str:
    """Return a command for the shell; empty without flags."""
    words = [word for name, value in flags.items() for word in shell_words(flag_name(name), value)]
    return run_module("train", *words) if flags else ""


def config_file(flags: Flags) -> str:
    """Return the flags as YAML, for `python -m train --config`."""
    return "".join(f"{name}: {_yaml(value)}\n" for name, value in flags.items())


def given_fields(options: Any) -> dict[str, Any]:
    """Return the fields of a group of options that are not left at their default."""
    values = {f.name: getattr(options, f.name) for f in fields(options)}
    return {f.name: values[f.name] for f in fields(options) if values[f.name] != f.default}


def _fitting(analyzer: "Analyzer") -> dict[str, int]:
    """Numbers of prompts to hold out and to a step, where a source has too few for the defaults."""
    if drawn_prompts(analyzer.prompt_options.prompts) is not None:
        return {}
    try:
        n_prompts = len(analyzer.first_prompts(HELD_OUT + BATCH))
    except UserError:  # a row beyond those that were measured, of which training will speak
        return {}
    if n_prompts >= HELD_OUT + BATCH or n_prompts < 2:
        return {}
    held_out = max(n_prompts // 4, 1)
    return {"held_out": held_out, "batch": min(BATCH, n_prompts - held_out)}


def shell_words(flag: str, value: Any) -> Sequence[str]:
    """Return a flag with its value as words of a shell; none for a switch that is off."""
    if isinstance(value, bool):
        return [flag] if value else []
    text = _number(value) if isinstance(value, float) else str(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def _number(value: float) -> str:
    """The shortest text that is read back as this number.

    >>> _number(2.0), _number(1 / 3)
    ('2', '0.3333333333333333')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _yaml(value: Any) -> str:
    """A value as YAML; text in double quotes, so that it is read as text whatever it says."""
    import yaml

    if isinstance(value, str):
        return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf")).strip()
    return _number(value) if isinstance(value, float) else json.dumps(value)
