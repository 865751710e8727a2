"""The diagnoses of a suite: what is kept of each, what is not made again, and the list of pairs."""

import pandas as pd

import probes.diagnose
from records import open_record, read_record
from records.tables.forecast import READINGS
from study.validation.diagnoses import main
from tests.probes.diagnosis.cases import BELOW
from tests.records.synthetic import HEADER
from tests.study.validation.test_page import recommendation, trial


def suite(folder, *names):
    for name in names:
        (folder / name / "student").mkdir(parents=True)
        (folder / name / "student" / "pair.json").write_text("{}")
    return str(folder)


def test_each_pair_is_diagnosed_once_and_two_tables_are_kept(tmp_path, monkeypatch, capsys):
    asked = []

    def diagnose(argv):
        asked.append(argv)
        tables = {"trial": trial({(2.0, 0.0, "detached"): BELOW}), "recommendation": recommendation("undecided")}
        with open_record(argv[argv.index("--out") + 1], HEADER | {"probe": "probes.diagnose"}) as writer:
            writer.finish(tables | {"readings": pd.DataFrame(columns=READINGS.names)}, {})
        return 0

    monkeypatch.setattr(probes.diagnose, "main", diagnose)
    out = tmp_path / "kept"
    flags = ["--suite", suite(tmp_path / "suite", "both", "grid-v0-l0"), "--out", str(out)]
    flags += ["--whole", str(tmp_path / "whole")]
    assert main(flags) == 0 and main(flags) == 0
    assert [argv[0].rsplit("/", 2)[1] for argv in asked] == ["both", "grid-v0-l0"]
    assert all("--try-every" in argv and argv[argv.index("--lr") + 1] == "0.0001" for argv in asked)
    assert set(read_record(out / "both" / "diagnosis").record["tables"]) == {"trial", "recommendation"}
    assert (out / "pairs.csv").read_text() == "pair,kind\nboth,both\ngrid-v0-l0,vision\n"


def test_a_diagnosis_that_fails_ends_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(probes.diagnose, "main", lambda argv: 2)
    out = tmp_path / "kept"
    flags = ["--suite", suite(tmp_path / "suite", "both"), "--out", str(out), "--whole", str(tmp_path / "whole")]
    assert main(flags) == 2 and "failed, see above" in capsys.readouterr().err and not out.exists()
