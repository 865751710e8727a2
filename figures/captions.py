"""Words that the captions of several pictures share."""

from records import Measurement


def metric(record: Measurement) -> str:
    """Return how gradients were multiplied, to stand at the end of a caption; nothing if as usual."""
    name = record.header["settings"].get("metric", "plain")  # older records have no other
    return "" if name == "plain" else f" \u00b7 metric: {name.capitalize()}'s second moments"
