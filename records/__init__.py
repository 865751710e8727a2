"""What is written down: the schema of a measurement record, its fingerprint, and the life of its folder."""

from records.fingerprint import fingerprint, first_difference
from records.folder import Measurement, RecordWriter, Shards, open_record, read_record
from records.journal import Journal, JournalError, read_journal
from records.measurement import ANGLES, EFFECTIVE, LAYER_ANGLES, NULL_ANGLES, SCHEMA_VERSION, TABLES, RecordError, check

__all__ = [
    "ANGLES",
    "EFFECTIVE",
    "LAYER_ANGLES",
    "NULL_ANGLES",
    "SCHEMA_VERSION",
    "TABLES",
    "Journal",
    "JournalError",
    "Measurement",
    "RecordError",
    "RecordWriter",
    "Shards",
    "check",
    "fingerprint",
    "first_difference",
    "open_record",
    "read_journal",
    "read_record",
]
