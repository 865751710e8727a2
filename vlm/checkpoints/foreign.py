"""What loading a checkpoint that somebody else made can raise, said in one line."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from cli.errors import UserError
from vlm.checkpoints.places import CheckpointError, first_line

_ADVICE = 'attn_implementation="eager"'


@contextmanager
def naming(
    asked: str, what: str = "cannot be loaded", way_out: str = "save it again", *, argument: str = "checkpoint"
) -> Iterator[None]:
    """Say of what a context raises which checkpoint it is about.

    asked: the checkpoint, as it was asked for.
    argument: the option that names it, for the message.

    Raises:
        CheckpointError: libraries that read configs, tokenizers, templates and weights raise many kinds.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # what libraries say of a config to whoever wrote it
            yield
    except UserError:
        raise
    except Exception as error:
        said = first_line(error)
        if _ADVICE in said:  # for callers of transformers
            said, way_out = "its classes have no `attention` of the kind that was asked for", "use eager"
        elif isinstance(error, (KeyError, AttributeError, TypeError, IndexError, AssertionError)):
            said = f"{type(error).__name__} {said}"
        raise CheckpointError(f"`{argument}` {asked} {what} ({said:.300}): {way_out}") from None
