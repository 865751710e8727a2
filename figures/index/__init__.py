"""One page over all records and runs below a folder."""
