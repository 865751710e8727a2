"""Hand freed memory back to the system.

The batches of a run differ in size. The C library keeps what they free in pieces, and a long run grows by these
pieces, although nothing in it is held.
"""

import ctypes
import sys


def give_back() -> bool:
    """Give freed memory back where the C library can (glibc); return whether it could give any."""
    if sys.platform != "linux":
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(0))
