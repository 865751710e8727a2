"""What a command exits with: a mistake of its user, or work that cannot go on, is one line on stderr."""

from collections.abc import Callable

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


def exit_code(main: Callable[[], object]) -> int:
    """Run `main` and return 0; 2 for a `UserError` or a path that cannot be used, 1 for `Stopped`.

    Each of these is printed as one line. Threads of what `main` loads wait passively.
    """
    wait_passively()
    try:
        main()
    except UserError as error:
        print_err(f"error: {visible(str(error))}")
        return REFUSED
    except _PATH_ERRORS as error:
        if error.filename is None:
            raise
        print_err(f"error: cannot use `{visible(str(error.filename))}` ({error.strerror}): choose another path")
        return REFUSED
    except Stopped as error:
        print_err(f"stopped: {visible(str(error))}")
        return STOPPED
    return 0
