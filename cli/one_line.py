"""Files that somebody else wrote, read by libraries that raise many kinds: whatever is raised is one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from cli.errors import UserError


@contextmanager
def one_line(rule: str, way_out: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """Raise an error of ours in the place of any other.

    rule: names what is read and says what it must be. way_out: what to do. Errors of ours stay as they are.

    Raises:
        UserError: of the `kind`; it says what was raised, between the rule and the way out.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise kind(f"{rule}, got another ({said:.200}): {way_out}") from error
