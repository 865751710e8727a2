"""Which code computes attention: any that transformers brings or a package on this machine does, none from the hub."""

import re

from transformers import utils

from vlm.checkpoints.places import CheckpointError

_FLASH = re.compile(r"flash_attention_(\d+)")
FORWARD_MODE = ("sdpa", "eager")
"""What has a derivative along a direction; `geometry.push_forward` takes scaled dot products in plain steps."""


def refuse_remote_attention(attention: str) -> None:
    """Refuse attention that would be downloaded as code, or whose package is missing.

    Raises:
        CheckpointError: the reason, and what to choose.
    """
    if "/" in attention or ":" in attention:
        raise CheckpointError(
            f"`attention` must be code that is installed, got {attention!r}, which would run code from the hub; choose"
            " sdpa, eager or flash_attention_2"
        )
    if flash := _FLASH.fullmatch(attention):  # transformers would take a kernel from the hub in its place
        is_there = getattr(utils, f"is_flash_attn_{flash[1]}_available", None)
        if is_there is None or not is_there():
            raise CheckpointError(
                f"`attention` {attention} needs the package flash-attn of that version and a GPU; install it, or"
                " choose sdpa"
            )
