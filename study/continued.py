"""The record of a study that goes on: what it holds is not run again, and new runs are added to it.

A run is held if the record has its arm and seed with the same flags and began with the same weights. A run of that
name with other flags is refused, because one record cannot hold both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from records import Measurement, RecordError, read_record
from records.fingerprint import difference, plain
from records.tables.study import EFFECTS, VERDICTS
from train.config import STATED_IF_GIVEN, Config

if TYPE_CHECKING:
    import pandas as pd

Tables = Mapping[str, "pd.DataFrame"]


def held_runs(record: str | Path, planned: Mapping[str, Config], prompt_ids: Iterable[str]) -> set[str]:
    """Return which of the planned runs a record holds.

    Args:
        record: the folder of a record of `study.effects`.
        planned: the flags of each run, by its name, `<arm>-<seed>`.
        prompt_ids: of the prompts that the runs answer at the end.

    Raises:
        RecordError: there is no such record, its runs began with other weights or answered other prompts, or it holds
            a planned run with other flags.
    """
    content = read_record(record, VERDICTS.name)
    made = content.header["settings"]["runs"]
    _refuse_other_weights(content, next(iter(planned.values())))
    if {*content.table(VERDICTS.name)["prompt_id"]} != {*prompt_ids}:
        raise RecordError(f"`continue` {record} holds answers to other prompts: give the same `--answers` and prompts")
    shared = {name: config for name, config in planned.items() if name in made}
    for name, config in shared.items():
        if other := other_flag(made[name], config):
            raise RecordError(f"`continue` {record} holds {name} with {other}: give the same, or leave it out")
    return {*shared}


def other_flag(made_with: Mapping[str, Any], config: Config) -> str:
    """Return the first flag in which a run was made otherwise, in words; empty if there is none.

    Flags that are newer than the run are let pass, except those that a run states only where they are set.
    """
    stated = plain({f.name: f.default for f in fields(Config) if f.name in STATED_IF_GIVEN}) | dict(made_with)
    for flag, wanted in plain(asdict(config) | config.settings).items():
        if stated.get(flag, wanted) != wanted:
            return f"`{flag}` {stated[flag]!r}, not {wanted!r}"
    return ""


def joined_header(ours: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Return the header of a record with the runs of both; those that both have are the same.

    Raises:
        RecordError: the two began with other weights, or have a run with other flags.
    """
    if other := difference(ours["weights"], added["weights"]):
        raise RecordError(f"the runs began with other weights ({other.field}): give the models of the record")
    mine, new = ours["settings"]["runs"], added["settings"]["runs"]
    for name in sorted({*mine} & {*new}):
        if other := difference(mine[name], new[name]):
            raise RecordError(f"both hold {name}, with `{other.field}` {other.left!r} and {other.right!r}: drop one")
    return {**ours, "settings": {"runs": {**new, **mine}}}


def joined_tables(ours: Tables, added: Tables) -> dict[str, "pd.DataFrame"]:
    """Return the rows of a record and those of the runs that it lacks, table by table, `effects` left out."""
    import pandas as pd

    runs = {tuple(run) for run in ours[VERDICTS.name][["arm", "seed"]].drop_duplicates().itertuples(index=False)}
    tables = {}
    for name, rows in ours.items():
        if name == EFFECTS.name:
            continue
        new = added[name]
        is_new = [run not in runs for run in zip(new["arm"], new["seed"], strict=True)]
        tables[name] = pd.concat([rows, new[is_new]], ignore_index=True)
    return tables


def _refuse_other_weights(content: Measurement, config: Config) -> None:
    """Refuse a record whose runs began with other weights than these would."""
    from vlm.checkpoints.checkpoint import fingerprints
    from vlm.checkpoints.pair import teacher_named
    from vlm.names import resolve

    checkpoints = {
        "student": resolve(config.student),
        "teacher": teacher_named(config.student, config.teacher).checkpoint,
    }
    for side, checkpoint in checkpoints.items():
        if (own := fingerprints(checkpoint)[0]) != (held := content.header["weights"][side]):
            raise RecordError(
                f"`continue` {content.path} began with a {side} of fingerprint {held}, not {own}: give that {side}"
            )
