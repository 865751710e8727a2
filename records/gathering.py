"""Shards joined to one table, with little more in memory than the table itself."""

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from records.errors import RecordError

if TYPE_CHECKING:
    import pandas as pd


def joined(shards: Iterable[bytes], repeated: Sequence[str] = ()) -> "pd.DataFrame":
    """Return tables in Parquet, one below the other.

    repeated: columns of text that repeats; they are categories, a number for each row.

    Raises:
        RecordError: a shard is no table in Parquet.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        parts = [parquet.read_table(io.BytesIO(shard), read_dictionary=list(repeated)) for shard in shards]
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise RecordError(
            f"a shard of the record cannot be read ({reason}): measure again with `--overwrite`"
        ) from None
    whole = pa.concat_tables(parts, promote_options="permissive").replace_schema_metadata(None)
    del parts
    frame = whole.unify_dictionaries().to_pandas(self_destruct=True, split_blocks=True)  # a column is freed once made
    pa.default_memory_pool().release_unused()
    return frame
