"""The benchmark of the sketch: a line for each number of columns, its errors against the exact engine."""

from tests.benchmarks import sketch


def test_errors_vanish_once_the_sketch_is_as_wide_as_the_model(capsys):
    flags = ["--sizes", "2M", "--length", "24", "--probed", "2", "--columns", "4", "4096"]
    assert sketch.main([*flags, "--rounds", "1"]) == 0
    titles, _, exact, few, all_columns = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (titles, exact, few, all_columns)]
    assert {len(row) for row in cells} == {7}
    assert [row[:2] for row in cells[1:]] == [["2M", "exact"], ["2M", "4"], ["2M", "4096"]]
    assert cells[3][4:] == ["0.00, 0.00"] * 3
    for cell in cells[2][4:]:
        mean, most = map(float, cell.split(", "))
        assert 0 < mean <= most
