"""Why the system did not let something be written, whichever library was writing."""

import errno
import os
import re
from typing import Final

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""Errors that only writing meets, or a disk that fails."""
_STATED: Final = re.compile(r"\((?:os )?error (\d+)\)|\[[Ee]rrno (\d+)\]")
"""How safetensors and Arrow state the number of an error."""
_TORCH: Final = ("inline_container", "PytorchStreamWriter")


def reason_not_written(error: BaseException) -> str | None:
    """Return in the system's words why it refused to write; None if that is not what an error says.

    >>> reason_not_written(OSError(28, "No space left on device"))
    'No space left on device'
    >>> reason_not_written(ValueError("too large")) is None
    True
    """
    text = str(error)
    if isinstance(error, OSError) and error.errno is not None:
        number = error.errno
    elif isinstance(error, RuntimeError) and any(name in text for name in _TORCH):
        return "torch could not write the whole file"
    else:
        stated = _STATED.search(text)
        number = int(next(filter(None, stated.groups()))) if stated else 0
    return os.strerror(number) if number in _FULL else None
