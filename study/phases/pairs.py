"""The pairs that a table is about: those that have a card and a record of runs, all made in the same way."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from records import Measurement, RecordError, read_record
from records.fingerprint import difference
from records.record_json import RECORD

Pair = tuple[Mapping[str, Any], Measurement]
"""The card of a pair and the record of its runs."""
_OF_A_RUN: Final = ("seed", "student", "teacher")
"""Flags in which the runs of an arm may differ."""
_WEIGHTS: Final = {"student": "weights_of_model", "teacher": "weights_of_teacher"}
"""The field of a card with the fingerprint of a model."""


def read_pairs(cards: Path, records: Path) -> dict[str, Pair]:
    """Return by name all pairs that have both, in the order of their names.

    Raises:
        RecordError: there is none; a record is broken; a card is that of other models than the runs began with; or
            the runs of an arm were not all made with the same flags.
    """
    names = [path.stem for path in sorted(cards.glob("*.json")) if (records / path.stem / RECORD).is_file()]
    if not names:
        raise RecordError(f"`records` {records} holds no record of a pair with a card in `cards` {cards}")
    pairs = {name: (_card(cards / f"{name}.json"), read_record(records / name)) for name in names}
    for name, (card, record) in pairs.items():
        _refuse_other_models(name, card, record)
    _refuse_other_flags(records, pairs)
    return pairs


def _card(path: Path) -> Mapping[str, Any]:
    card: Mapping[str, Any] = json.loads(path.read_bytes())
    return card


def _refuse_other_models(name: str, card: Mapping[str, Any], record: Measurement) -> None:
    for side, field in _WEIGHTS.items():
        if card.get(field) != (began := record.header["weights"][side]):
            raise RecordError(
                f"the card of {name} must be of the models that its runs began with, and its {side} is"
                f" {card.get(field)}, not {began}: make the cards again with `python -m study.suite`"
            )


def _refuse_other_flags(records: Path, pairs: Mapping[str, Pair]) -> None:
    """Refuse pairs whose runs of one arm differ in more than the seed and the models."""
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    for pair, (_, record) in pairs.items():
        for run, flags in record.header["settings"]["runs"].items():
            arm = run.rpartition("-")[0]
            shared = {name: value for name, value in flags.items() if name not in _OF_A_RUN}
            where, wanted = first.setdefault(arm, (f"{pair}/{run}", shared))
            if other := difference(shared, wanted):
                raise RecordError(
                    f"`records` {records} must hold runs with the same flags, and {pair}/{run} has `{other.field}`"
                    f" {other.left!r}, {where} {other.right!r}: keep them in two folders"
                )
