"""What identifies the record of a comparison of two students."""

from collections.abc import Sequence
from typing import Any

from records.tables.comparison import SIDES
from vlm.checkpoints.places import CheckpointError


def joined_header(headers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one header of two: the students as a list, the warnings of either.

    Raises:
        CheckpointError: the two have different teachers.
    """
    teachers = [f"{header['pair']['teacher']} ({header['weights']['teacher']})" for header in headers]
    if len({header["weights"]["teacher"] for header in headers}) > 1:
        raise CheckpointError(
            f"`teacher` must be one for both, but pair.json of BEFORE names {teachers[0]} and that of AFTER"
            f" {teachers[1]}; add --teacher CKPT"
        )
    warnings = [
        f"{side}: {warning}"
        for side, header in zip(SIDES, headers, strict=True)
        for warning in header["pair"]["warnings"]
    ]
    joined = dict(headers[-1])
    for field in ("pair", "weights", "setup"):
        joined[field] = joined[field] | {"student": [header[field]["student"] for header in headers]}
    joined["pair"]["warnings"] = warnings
    return joined
