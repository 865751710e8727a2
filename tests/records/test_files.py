"""Files are written whole or not at all."""

import math

import pytest

from records.files import write_json, write_whole


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("old")

    def half(part):
        part.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, half)
    assert path.read_text() == "old"


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "record.json", {"a": math.nan})
    assert not list(tmp_path.iterdir())
