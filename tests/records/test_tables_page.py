"""The page of the tables is the one that the tables make."""

from pathlib import Path

from records import TABLES
from records.tables.__main__ import main, page

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "tables.md"


def test_the_committed_page_is_the_generated_one():
    assert COMMITTED.read_text(encoding="utf-8") == page(), "run `python -m records.tables`"


def test_every_table_and_column_has_its_line():
    lines = page().splitlines()
    for table in TABLES.values():
        section = lines[lines.index(f"### `{table.name}`") :]
        assert f"`{table.file}`" in section[2] and f"`{table.command}`" in section[2]
        for place, column in enumerate(table.columns, start=6):
            assert section[place].startswith(f"| `{column.name}` |")
    assert all(line.count("|") - line.count("\\|") == 5 for line in lines if line.startswith("|"))


def test_the_command_writes_the_page(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "tables.md")]) == 0
    assert (tmp_path / "tables.md").read_text(encoding="utf-8") == page()
    assert capsys.readouterr().out == f"{tmp_path / 'tables.md'}\n"


def test_a_page_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["--out", str(tmp_path / "file" / "tables.md")]) == 1
    assert capsys.readouterr().err.startswith("stopped: cannot write")
