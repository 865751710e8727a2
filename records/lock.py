"""One writer for each folder. The system frees the lock of a process that dies, so none is ever stale."""

import fcntl
import os
from pathlib import Path

from records.errors import RecordError

NAME = "lock"


class Lock:
    """Hold `folder/lock`, with our process id in it, until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._descriptor: int | None = self._take()

    def _take(self) -> int:
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 32).decode() or "unknown"
                os.close(descriptor)
                folder = self.path.parent
                raise RecordError(
                    f"`{folder}` is being written by process {holder}: wait, or choose another `--out`"
                ) from None
            if self._is_ours(descriptor):
                os.truncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
                return descriptor
            os.close(descriptor)  # the last holder removed this file between our opening and locking it

    def _is_ours(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Remove the lock; a second call does nothing."""
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None
