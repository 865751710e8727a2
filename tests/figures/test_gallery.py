"""The gallery: every picture can be drawn, pictures and records stay small, and numbers follow from the weights."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from figures import tables
from figures.gallery import __main__ as command
from figures.gallery.rows import GALLERY, ROWS
from geometry import Gramian, decompose
from probes import Analyzer
from probes.stages.gradients import unit_grams
from probes.stages.units import Unit
from records import RecordError, fingerprint, read_record
from records.columns import OBJECTIVES
from tests.figures import studies
from vlm.responses.rollouts import Rollout

FIGURES = [row for row in ROWS if not row.picture.page]
THERE = [row for row in FIGURES if (GALLERY / row.record / "record.json").is_file()]
ANGLES = read_record(GALLERY / "angles", "rollouts", "tokens", "units", "grams", "bins")
PROBED = (3, 300, 600)  # unit ids: from the first, a middle and one of the last rollouts


@pytest.mark.parametrize("row", THERE, ids=lambda row: str(row.place))
def test_every_row_draws(row):
    figure = row.drawn()
    assert figure.get_suptitle() and len(figure.axes) > 0
    assert (GALLERY / f"{row.place}.png").is_file(), "run `python -m figures.gallery`"


def test_every_committed_picture_has_a_row():
    drawn = {f"{row.place}.png" for row in FIGURES}
    committed = {str(path.relative_to(GALLERY)) for path in [*GALLERY.glob("*/*.png"), *GALLERY.glob("*.png")]}
    benchmarks = ("growth", "prompts_growth", "signed_bins")  # each drawn by the benchmark itself
    measured = {f"benchmarks/{name}.png" for name in benchmarks}
    assert committed - drawn == measured and drawn <= committed


def test_rows_of_a_study_draw(tmp_path):
    studies.write_study(tmp_path / "study")
    rows = [row for row in FIGURES if row.record == "study"]
    assert len(rows) == 8
    assert all(row.drawn(tmp_path).axes for row in rows)


def test_the_tables_are_those_of_the_study():
    record = read_record(GALLERY / "study", "verdicts", "effects")
    assert (GALLERY / "study" / "tables.md").read_text() == tables.text(record), "run `python -m figures.gallery`"


def test_pictures_and_records_are_small():
    files = [path for path in GALLERY.rglob("*") if path.is_file()]
    large = [path.name for path in files if path.suffix in (".png", ".svg") and path.stat().st_size > 250_000]
    assert large == []
    tables = [path for path in files if path.suffix in (".parquet", ".csv", ".json")]
    runs = [path for path in tables if path.relative_to(GALLERY).parts[0].startswith(("study", "suite"))]
    others = set(tables) - set(runs)
    assert sum(path.stat().st_size for path in others) < 3_000_000
    assert sum(path.stat().st_size for path in runs) < 25_000_000


# --- the command ---


def test_the_command_draws_again_what_is_there(tmp_path, capsys):
    assert command.main(["--records", "layers", "--out", str(tmp_path)]) == 0
    drawn = tmp_path / "layers" / "layers.png"
    assert str(drawn) in capsys.readouterr().out
    with Image.open(drawn) as new, Image.open(GALLERY / "layers" / "layers.png") as old:
        assert new.mode == "RGB" and new.size == old.size  # a palette would paint wrong colours into the colour bar
        apart = np.abs(np.asarray(new.convert("RGB"), dtype=float) - np.asarray(old.convert("RGB"), dtype=float))
    assert apart.mean() < 0.5  # of 255: the committed picture is that of the committed record


def test_a_record_that_is_not_there_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "GALLERY", tmp_path / "empty")
    assert command.main(["--records", "study", "--out", str(tmp_path / "out")]) == 0
    written = capsys.readouterr()
    assert written.err.startswith("study: no record in ") and written.out == ""


def test_a_broken_record_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "record.json").write_text("{}")
    monkeypatch.setattr(command, "GALLERY", tmp_path)
    assert command.main(["--records", "layers", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_large_vector_pictures_are_left_out(tmp_path, monkeypatch):
    figure = next(row for row in ROWS if row.record == "layers").drawn()
    assert [path.suffix for path in command.save_small(figure, tmp_path / "one")] == [".png", ".svg"]
    monkeypatch.setattr(command, "LARGEST_SVG_BYTES", 10)
    assert [path.name for path in command.save_small(figure, tmp_path / "two")] == ["two.png"]
    assert not (tmp_path / "two.svg").exists()


def test_a_palette_is_taken_where_it_moves_no_colour_much(tmp_path):
    figure = next(row for row in ROWS if row.name == "bin_shares").drawn()
    assert not command.has_colour_map(figure)
    [png, *_] = command.save_small(figure, tmp_path / "bars")
    with Image.open(png) as picture:
        assert picture.mode == "P"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert command.from_palette(Image.fromarray(noise)) is None


def test_the_picture_of_the_readme_is_light():
    hero = next(row for row in ROWS if row.file == "hero")
    assert (hero.name, hero.record, str(hero.place)) == ("language_visual", "angles", "hero")
    assert (GALLERY / "hero.png").stat().st_size < 200_000


def test_keeping_a_record_drops_what_no_picture_reads(tmp_path, capsys):
    kept = read_record(command.keep(GALLERY / "angles", "corpus_bin", tmp_path), "bins")
    assert dict(kept.record["tables"]) == {"bins": 20}
    assert kept.header == ANGLES.header and kept.record["fingerprint"] == fingerprint(ANGLES.header)
    assert not (tmp_path / "corpus_bin" / "grams.parquet").exists()
    assert kept.tables["bins"].equals(ANGLES.tables["bins"])
    assert command.main(["--keep", str(GALLERY / "angles"), "nothing"]) == 2
    assert "`name` must be one that pictures are drawn from" in capsys.readouterr().err
    with pytest.raises(RecordError, match="forecast"):
        command.keep(GALLERY / "angles", "sensitivity", tmp_path)


# --- the numbers of `angles`, from the weights ---


@pytest.fixture(scope="module")
def analyzer():
    """The bundled pair and the stored responses."""
    settings = ANGLES.header["settings"]
    analyzer = Analyzer("bundled", **{name: settings[name] for name in ("limit", "seed", "batch")})
    described = analyzer.pair.describe()
    assert {side: described[side]["fingerprint"] for side in ("student", "teacher")} == ANGLES.header["weights"]
    ids = ANGLES.tables["tokens"].sort_values(["rollout_id", "position"]).groupby("rollout_id")["token_id"].apply(tuple)
    rows = ANGLES.tables["rollouts"].sort_values("rollout_id").to_dict("records")
    rollouts = [Rollout(row["prompt_id"], 0, ids[row["rollout_id"]], row["response"], row["truncated"]) for row in rows]
    return analyzer.having(rollouts=rollouts)


def probed(analyzer):
    units = ANGLES.tables["units"]
    rows = units[(units["scope"] == "all") & units["unit_id"].isin(PROBED)].to_dict("records")
    for row in rows:
        weights = torch.zeros(len(analyzer.rollouts[row["rollout_id"]].token_ids))
        weights[row["position"]] = 1.0
        place = (row["unit_id"], "token", row["bin"], row["prompt_id"], row["rollout_id"], row["position"])
        yield Unit(*place, {row["rollout_id"]: weights})


def stored(unit_id, group):
    rows = ANGLES.tables["grams"]
    row = rows[(rows["unit_id"] == unit_id) & (rows["group"] == group)].iloc[0]
    pairs = [(a, b) if (a <= b) else (b, a) for a in range(5) for b in range(5)]
    return np.reshape([row[f"gram_{OBJECTIVES[a]}_{OBJECTIVES[b]}"] for a, b in pairs], (5, 5))


def test_grams_follow_from_the_weights(analyzer):
    engine = Gramian(analyzer.pair.student.model, analyzer.pair.student.groups)
    compared = 0
    for members, grams in unit_grams(analyzer, engine, list(probed(analyzer))):
        for place, unit in enumerate(members):
            for group, found in grams.items():
                ours = np.array([[found.product(a, b)[place] for b in OBJECTIVES] for a in OBJECTIVES])
                theirs = stored(unit.unit_id, group)
                lengths = np.sqrt(np.diag(theirs))
                assert (np.abs(ours - theirs) <= 1e-3 * np.outer(lengths, lengths) + 1e-12).all(), (unit, group)
                compared += 1
    assert compared == len(PROBED) * ANGLES.tables["grams"]["group"].nunique()


def test_divergences_follow_from_the_weights(analyzer):
    names = {"vds": "vds", "student_vds": "student_vds", "standard": "kl_standard", "visual": "kl_visual"}
    tokens = ANGLES.tables["tokens"].sort_values("position")
    for number, views in enumerate(analyzer.score(analyzer.rollouts[:4])):
        parts = decompose(views)
        rows = tokens[tokens["rollout_id"] == number]
        for name, column in names.items():
            found = getattr(parts, name).double().numpy()
            np.testing.assert_allclose(found, rows[f"{column}_nats"], rtol=1e-3, atol=1e-5)


def test_bins_follow_from_the_units():
    units, bins = ANGLES.tables["units"], ANGLES.tables["bins"]
    means = units.groupby(["scope", "bin"])["angle_language_visual_deg"].mean()
    for row in bins.to_dict("records"):
        assert row["angle_language_visual_mean_deg"] == pytest.approx(means[row["scope"], row["bin"]], abs=1e-6)


def test_headers_name_the_bundled_pair():
    for name in ("layers", "trajectory_bin", "corpus_bin", "sensitivity"):
        record = json.loads((GALLERY / name / "record.json").read_bytes())
        assert record["header"]["weights"] == ANGLES.header["weights"], name
