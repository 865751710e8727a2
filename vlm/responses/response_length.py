"""How long a response may be where nothing is said: it follows from the context of the checkpoint."""

from vlm.checkpoints.configs import context_of

LONGEST = 1024
"""Tokens of a response, where the context has room for four times as many."""


def default_length(context: int) -> int:
    """Return the longest response, tokens: 1,024, or an eighth of a context below 4,096.

    >>> default_length(262_144), default_length(512)
    (1024, 64)
    """
    return LONGEST if context >= 4 * LONGEST else max(context // 8, 1)


def default_length_of(checkpoint: str) -> int:
    """Return `default_length` of a checkpoint, whose weights are not read.

    Raises:
        CheckpointError: it is no checkpoint that reads pictures.
    """
    return default_length(context_of(checkpoint))
