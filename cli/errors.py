"""What a command exits with: a mistake of its user, or work that cannot go on, is one line on stderr.

| exit code | why |
|---|---|
| 2 | a mistake of the user: options, files or folders that cannot be used |
| 1 | work that cannot go on, such as a full disk |
| 130, 143 | Ctrl-C, SIGTERM |
"""

import os
import signal
import sys
from collections.abc import Callable

from cli.refused_writes import reason_not_written
from cli.signals import Interrupted, terminable
from cli.threads import wait_passively
from cli.visible import print_err, visible

REFUSED, STOPPED = 2, 1
_PATH_ERRORS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)


class UserError(ValueError):
    """A mistake that whoever typed it can mend; the message is one line that says how."""


class OptionError(UserError):
    """Options that make no sense, alone or together."""


class Stopped(RuntimeError):
    """Work that cannot go on; the message is one line."""


class NotWritten(Stopped):
    """A file that the system did not let us write; the message names the file, the reason and the way out."""


def exit_code(main: Callable[[], object]) -> int:
    """Run `main` and return 0; 2 for a `UserError` or a path that cannot be used, 1 for `Stopped` or a full disk.

    Ctrl-C and SIGTERM give 130 and 143. Each of these is printed as one line. Threads of what `main` loads wait
    passively.
    """
    wait_passively()
    with terminable():
        try:
            main()
            sys.stdout.flush()
        except KeyboardInterrupt as error:
            return say_interrupted(error)
        except Exception as error:
            code, line = _ending(error)
            print_err(visible(line))
            return code
    return 0


def say_interrupted(error: KeyboardInterrupt) -> int:
    """Print Ctrl-C or SIGTERM as one line; return its exit code."""
    print_err(f"stopped: {visible(str(error if isinstance(error, Interrupted) else Interrupted()))}")
    return 128 + int(getattr(error, "number", signal.SIGINT))


def _ending(error: Exception) -> tuple[int, str]:
    """Return the exit code of an error and its line; raise it again where it is a fault of this program."""
    if isinstance(error, UserError):
        return REFUSED, f"error: {error}"
    if isinstance(error, Stopped):
        return STOPPED, f"stopped: {error}"
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter complains again as it ends
        return STOPPED, "stopped: whatever read the output has ended"
    if reason := reason_not_written(error):
        where = f" `{error.filename}`" if isinstance(error, OSError) and error.filename else ""
        return STOPPED, f"stopped: cannot write{where} ({reason}): mend that and run the same command again"
    if isinstance(error, _PATH_ERRORS) and error.filename is not None:
        return REFUSED, f"error: cannot use `{error.filename}` ({error.strerror}): choose another path"
    raise error
