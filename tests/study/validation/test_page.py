"""The page and the command: the first sentence says whether the diagnosis predicts, and all comes from records."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from records import open_record
from records.tables.phases import PHASES
from study.validation.__main__ import main
from study.validation.page import first_sentence, markdown_page
from study.validation.reading import LOSS, POINTS, SETTINGS, pair_rows, predictions, read_folder, realised
from tests.probes.diagnosis.cases import BELOW, NEAR
from tests.records.synthetic import HEADER
from tests.study.validation.tables import line, row, table

LOSSES = ("standard", "visual", "language")


def trial(predicted):
    """The table `trial` of standard distillation and of settings: (gamma, lambda, prior) to the interval."""
    rows = []
    for (gamma, lambda_, prior), interval in {(0.0, 0.0, "detached"): NEAR, **predicted}.items():
        for bin_ in ("high", "all"):
            for loss in LOSSES:
                one = {"gamma": gamma, "lambda": lambda_, "prior": prior, "steps": 16, "lr": 3e-4, "bin": bin_}
                one |= {"loss": loss, "n_tokens": 3, "change_nats": 0.0, "low_nats": 0.0, "high_nats": 0.0}
                ends = {"": interval.estimate, "low_": interval.low, "high_": interval.high}
                one |= {f"against_standard_{end}nats": value for end, value in ends.items()}
                rows.append(one | {"margin_nats": 0.1, "verdict": "undecided" if gamma or lambda_ else ""})
    return pd.DataFrame(rows)


def effects(**losses):
    """The table `effects` of arms against standard: by arm the difference of the loss, and ten points per nat."""
    rows = []
    for arm, loss in losses.items():
        arm = arm.replace("_", "-")
        for quantity, where, value in (("standard", "bins 7-9", loss), ("correct", "high", -10 * loss)):
            one = {"arm": arm, "against": "standard", "quantity": quantity, "where": where, "difference": value}
            rows += [one | {"low": value - 0.1, "high": value + 0.1}, one | {"against": "initial"}]
    return pd.DataFrame(rows)


_FILL = {"string": "", "int64": 0, "double": 0.0}


def _in_shares(table):
    """The table as a record of a study has it: accuracy in shares."""
    shares = (table["quantity"] == "correct").map({True: 0.01, False: 1.0})
    return table.assign(**{column: shares * table[column] for column in ("difference", "low", "high")})


def recommendation(verdict, gamma="-", lambda_="-", prior="-"):
    names = ("verdict", "objective", "gamma", "lambda", "prior")
    choices = (verdict, "vgs-lp", gamma, lambda_, prior)
    return pd.DataFrame({"setting": names, "choice": choices, "reason": "because"})


def test_arms_and_settings_have_the_same_names():
    assert SETTINGS["vgs"] == (2.0, 0.0, "detached") and SETTINGS["vgs-frozen"] == (2.0, 0.0, "frozen")
    assert SETTINGS["vgs-lp"] == (2.0, 0.01, "detached")
    assert SETTINGS["vgs-lp-gamma-0-lambda-1"] == (0.0, 1.0, "detached")
    assert not {"standard", "grpo", "language-steering", "vgs-lp-unclipped"} & SETTINGS.keys()


def test_a_pair_has_a_row_for_what_was_tried_and_trained():
    tried = {(2.0, 0.01, "detached"): BELOW, (2.0, 0.1, "detached"): NEAR}
    trained = effects(vgs_lp=-0.2, vgs=0.3)
    rows = pair_rows("a", "vision", trial(tried), recommendation("steer", "2", "0.01", "detached"), trained)
    [one] = rows.to_dict("records")
    assert (one["pair"], one["kind"], one["verdict"], one["trial"]) == ("a", "vision", "steer", "undecided")
    assert one["advised"] and (one["gamma"], one["lambda"], one["prior"]) == (2.0, 0.01, "detached")
    assert (one["predicted"], one["predicted_low"], one["predicted_high"]) == (-0.3, -0.4, -0.2)
    assert (one[LOSS], one[POINTS]) == (-0.2, pytest.approx(2.0)) and one["loss_low"] == pytest.approx(-0.3)
    other = pair_rows("a", "vision", trial(tried), recommendation("undecided"), trained)
    assert not other["advised"].any()


def test_without_a_trial_or_accuracy_there_is_less():
    assert predictions(pd.DataFrame()).empty
    only_losses = effects(vgs=0.3).query("quantity == 'standard'")
    assert realised(only_losses)[POINTS].isna().all() and realised(only_losses)[LOSS].tolist() == [0.3]


def test_the_first_sentence():
    assert first_sentence(line(8)).startswith("**The diagnosis predicts the order of the realised changes")
    assert first_sentence(line(8, slope=-1.0)).startswith("**The diagnosis does not predict the realised changes")
    draws = [0.1, -0.2, 0.3, 0.0, -0.1, 0.2]
    mixed = table(*(row(f"p{n}", predicted=0.1 * n, **{LOSS: value}) for n, value in enumerate(draws)))
    assert first_sentence(mixed).startswith("**The diagnosis does not predict")
    assert first_sentence(line(4)).startswith("**It is not shown that the diagnosis predicts: 4 pairs")


def test_the_page_starts_with_it_and_has_every_part():
    rows = line(8)
    page = markdown_page(rows, "folder")
    assert page.splitlines()[2] == first_sentence(rows)
    for words in ("| always standard |", "| always gamma 2, lambda 0.01 |", "| the other half |", "| vision |"):
        assert words in page
    assert page.count("| p0") == 8 and "nan" not in page and page.endswith("\n")
    assert "Fewer than two pairs" in markdown_page(line(1), "folder")


@pytest.fixture
def folder(tmp_path):
    """Six pairs as records; what is predicted is what is realised."""
    for number in range(6):
        place, loss = tmp_path / f"p{number}", -0.3 + 0.1 * number
        result = type(BELOW)(loss - 0.05, loss + 0.05, loss)
        tables = {"trial": trial({(2.0, 0.01, "detached"): result}), "recommendation": recommendation("undecided")}
        with open_record(place / "diagnosis", HEADER | {"probe": "probes.diagnose"}) as writer:
            writer.finish(tables, {})
        (place / "study").mkdir()
        _in_shares(effects(vgs_lp=loss)).to_csv(place / "study" / "effects.csv", index=False)
    (tmp_path / "pairs.csv").write_text("pair,kind\n" + "".join(f"p{n},{'ab'[n % 2]}\n" for n in range(6)))
    return tmp_path


def test_accuracies_are_read_in_points(folder):
    rows = read_folder(folder)
    assert rows[POINTS].to_numpy() == pytest.approx(-10 * rows[LOSS].to_numpy())


def test_what_training_did_may_be_read_from_a_record_of_many_pairs(folder, tmp_path_factory):
    ours = read_folder(folder)
    frames = []
    for number in range(6):
        table = effects(vgs_lp=-0.3 + 0.1 * number).query("against == 'standard'")
        frames.append(table.drop(columns="where").assign(pair=f"p{number}"))
        shutil.rmtree(folder / f"p{number}" / "study")
    phases = tmp_path_factory.mktemp("phases") / "record"
    every = pd.concat(frames)
    filled = {column.name: _FILL[column.type] for column in PHASES.columns if column.name not in every}
    table = every.assign(**filled)
    with open_record(phases, HEADER | {"probe": "study.phases"}) as writer:
        writer.finish({"phases": table[PHASES.names]}, {})
    pd.testing.assert_frame_equal(read_folder(folder, phases), ours)


def test_the_command_writes_the_page_from_records(folder, capsys):
    out = folder / "page.md"
    assert main(["--records", str(folder), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("The diagnosis predicts the order") and f"page: {out}" in said
    text = out.read_text()
    assert main(["--records", str(folder), "--out", str(out)]) == 0 and out.read_text() == text


@pytest.mark.parametrize("listed", [False, True])
def test_without_records_it_says_in_one_line_what_to_run(listed, tmp_path, capsys):
    if listed:
        (tmp_path / "pairs.csv").write_text("pair,kind\na,vision\n")
    assert main(["--records", str(tmp_path), "--out", str(tmp_path / "page.md")]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "python -m probes.diagnose" in said.err and "study.effects" in said.err
    assert said.out == "" and not (tmp_path / "page.md").exists()


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("pairs.csv", "name,kind\n", "must have the column `pair`"),
        ("pairs.csv", "", "cannot be read"),
        ("p0/study/effects.csv", "arm,against\n", "must have the column `quantity`"),
        ("p0/study/effects.csv", None, "cannot be read"),
    ],
)
def test_a_broken_table_is_one_line(file, text, complaint, folder, capsys):
    path = folder / file
    path.unlink() if text is None else path.write_text(text)
    assert main(["--records", str(folder), "--out", str(folder / "page.md")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and complaint in said and file in said


def test_the_committed_page_is_what_the_records_say():
    root = Path(__file__).parents[3]
    rows = read_folder(root / "figures/gallery/validation", root / "figures/gallery/phases")
    page = (root / "docs" / "validation.md").read_text(encoding="utf-8")
    assert page == markdown_page(rows, "figures/gallery/validation", 0)
