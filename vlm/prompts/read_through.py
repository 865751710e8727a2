"""Rows of a file that somebody else wrote, read to the end: damage that shows on the way is one line."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from cli.errors import UserError

Row = TypeVar("Row")


def read_through(rows: Iterable[Row], where: str, kind: type[UserError]) -> Iterator[Row]:
    """Yield the rows.

    where: begins the message, such as "`prompts`: x.parquet".
    kind: of the error that is raised.

    Raises:
        UserError: a row cannot be read; libraries that decode tables raise many kinds.
    """
    following = iter(rows)
    while True:
        try:
            row = next(following)
        except StopIteration:
            return
        except UserError:
            raise
        except Exception as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise kind(f"{where} is damaged ({said:.200}): write or fetch it again") from None
        yield row
