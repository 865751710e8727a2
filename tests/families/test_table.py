"""docs/families.md is of the families that are built and of the checks that there are."""

from tests.families import table
from tests.families.checks import CHECKS
from tests.families.registry import FAMILIES


def rows():
    text = table.PAGE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells for cells in split if len(cells) == len(table.TITLES)], text


def test_its_columns_and_families_are_those_of_the_checks():
    (titles, _, *families), text = rows()
    assert tuple(titles) == table.TITLES
    assert [cells[0] for cells in families] == [family.name for family in FAMILIES.values()]
    assert all(f"| {check} | {table._COLUMNS[check]} |" in text for check in CHECKS)


def test_nothing_in_it_failed_and_most_of_it_passes():
    (_, _, *families), text = rows()
    assert "FAILED" not in text
    passed = [cells for cells in families if not any("refused" in cell for cell in cells)]
    assert len(passed) >= 26


def test_a_refusal_is_numbered_and_its_reason_stands_below():
    cells = dict.fromkeys(CHECKS, "yes") | {"training": "refused: a reason", "gram": "refused: a reason"}
    text = table.page({"llava": cells})
    assert "| LLaVA 1.5 | yes | yes | yes | refused (1) | yes | refused (1) | yes | yes |" in text
    assert "\n\n1. a reason\n" in text
