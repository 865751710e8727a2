"""Which code computes attention: any that transformers brings or a package on this machine does, none from the hub."""

import re

from transformers import utils
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from vlm.checkpoints.places import CheckpointError

_FLASH = re.compile(r"flash_attention_(\d+)")
FORWARD_MODE = ("sdpa", "eager")
"""What has a derivative along a direction; `geometry.push_forward` takes scaled dot products in plain steps."""


def refuse_unusable_attention(attention: str) -> None:
    """Refuse attention that would be downloaded as code, that nobody has named, or whose package is missing.

    Raises:
        CheckpointError: the reason, and what to choose.
    """
    if "/" in attention or ":" in attention:
        raise CheckpointError(
            f"`attention` must be code that is installed, got {attention!r}, which would run code from the hub; choose"
            " sdpa, eager or flash_attention_2"
        )
    names = {"eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()}
    one_at_a_time = sorted(name for name in names if not name.startswith("paged|"))  # those need a server's cache
    if attention not in one_at_a_time and not _FLASH.fullmatch(attention):
        raise CheckpointError(f"`attention` must be one of {', '.join(one_at_a_time)}, got {attention!r}")
    if flash := _FLASH.fullmatch(attention):  # transformers would take a kernel from the hub in its place
        is_there = getattr(utils, f"is_flash_attn_{flash[1]}_available", None)
        if is_there is None or not is_there():
            raise CheckpointError(
                f"`attention` {attention} needs the package flash-attn of that version and a GPU; install it, or"
                " choose sdpa"
            )
