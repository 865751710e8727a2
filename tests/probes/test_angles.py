"""The angles probe from flags to record: numbers against their definitions, repeats, interruptions."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from geometry import OBJECTIVES, Gram
from probes import angles
from probes.stages import gradients
from probes.stages.steering import ALL_BINS, steered_angles, steered_lines
from probes.stages.tables import scope_grams
from records import ANGLES, RecordWriter, read_record
from stats.bootstrap import bootstrap_interval
from tests import models
from tests.killed import Killed
from vlm.families import scopes
from vlm.views.view import encode_prompts, image_view, text_view

TABLES = ("rollouts", "tokens", "units", "grams", "bins")


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".parquet", ".csv")}


@pytest.fixture(scope="module")
def record(angles_record):
    return read_record(angles_record, *TABLES)


@pytest.fixture(scope="module")
def exact_pair(checkpoints):
    return models.load(checkpoints, "float64")


def log_probs(member, view, response, position, allowed):
    """Log-probabilities of one token by a plain forward pass over prompt and response."""
    inputs = encode_prompts([view], member.processor)
    start = inputs["input_ids"].shape[1]
    tail = torch.tensor([response])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], tail], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(tail)], dim=1)
    return torch.log_softmax(member.model(**inputs).logits[0, start - 1 + position, allowed], dim=-1)


def kl(log_a, log_b):
    return (log_a.exp() * (log_a - log_b)).sum()


def angles_by_definition(pair, prompt, response, position, names, scale=lambda parameter: 1.0):
    """The six angles of one token from the losses of Eq. 4, 7, 11 and autograd, nothing of ours between.

    scale: what a parameter's gradient is multiplied by, the root of a diagonal metric.
    """
    allowed = [index for index in range(pair.n_ids) if index not in pair.student.visual_ids]
    args = (response, position, allowed)
    p_image, p_text = (log_probs(pair.student, view(prompt), *args) for view in (image_view, text_view))
    with torch.no_grad():
        q_image, q_text = (log_probs(pair.teacher, view(prompt), *args) for view in (image_view, text_view))
    target = torch.log_softmax(p_text + q_image - q_text, dim=-1)
    standard, language = kl(p_image, q_image), kl(p_text, q_text)
    fixed, following = kl(p_image, target.detach()), kl(p_image, target)
    prior = (p_image.exp() * (p_text - q_text).detach()).sum()
    parameters = [parameter for name in names for parameter in pair.student.groups[name]]

    def gradient(loss):
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        scaled = [None if g is None else g * scale(p) for p, g in zip(parameters, found, strict=True)]
        return models.flat(parameters, scaled)

    def angle(a, b):
        return float((a @ b / a.norm() / b.norm()).clamp(-1, 1).arccos().rad2deg())

    g_std, g_lang, g_vis, g_att, g_prior = map(gradient, (standard, language, fixed, following, prior))
    pairs = (
        (g_lang, g_vis),
        (g_std, g_vis),
        (g_std, g_lang),
        (g_lang, g_att),
        (g_std, g_att),
        (g_prior, g_lang),
    )
    values = [angle(*pair) for pair in pairs]
    divergences = standard, language, fixed, kl(q_image, q_text), kl(p_image, p_text)
    return dict(zip(ANGLES, values, strict=True)), [value.item() for value in divergences]


def test_angles_of_single_tokens_are_those_of_the_definition(record, exact_pair):
    units, tokens = record.tables["units"], record.tables["tokens"]
    prompts = {prompt.prompt_id: prompt for prompt in models.scenes(8)}
    for _, unit in units.iloc[[0, 7, len(units) - 1]].iterrows():
        own = tokens[tokens["rollout_id"] == unit["rollout_id"]]
        names = scopes(exact_pair.student.groups)[unit["scope"]]
        expected, divergences = angles_by_definition(
            exact_pair, prompts[unit["prompt_id"]], own["token_id"].tolist(), unit["position"], names
        )
        for name, angle_deg in expected.items():
            assert unit[f"{name}_deg"] == pytest.approx(angle_deg, abs=1e-5), name
        columns = ["kl_standard_nats", "kl_language_nats", "kl_visual_nats", "vds_nats", "student_vds_nats"]
        assert own.iloc[unit["position"]][columns].tolist() == pytest.approx(divergences, rel=1e-6)


def test_bins_are_plain_statistics_of_units_and_tokens(record):
    bins, units, tokens = (record.tables[name] for name in ("bins", "units", "tokens"))
    assert len(bins) == 6
    for _, row in bins.iterrows():
        inside = tokens[tokens["bin"] == row["bin"]]
        members = units[(units["bin"] == row["bin"]) & (units["scope"] == row["scope"])]
        assert (row["n_units"], row["n_tokens"]) == (len(members), len(inside)) == (4, len(inside))
        assert row["vds_mean_nats"] == pytest.approx(inside["vds_nats"].mean())
        assert (row["vds_low_nats"], row["vds_high_nats"]) == (inside["vds_nats"].min(), inside["vds_nats"].max())
        assert row["kl_visual_mean_nats"] == pytest.approx(inside["kl_visual_nats"].mean())
        for angle in ANGLES:
            values = members[f"{angle}_deg"].to_numpy()
            interval = bootstrap_interval(values, members["prompt_id"].to_numpy(str))
            assert row[f"{angle}_mean_deg"] == pytest.approx(values.mean())
            assert row[f"{angle}_std_deg"] == pytest.approx(np.sqrt(((values - values.mean()) ** 2).mean()))
            assert row[f"{angle}_obtuse_share"] == (values > 90).mean()
            assert (row[f"{angle}_low_deg"], row[f"{angle}_high_deg"]) == pytest.approx((interval.low, interval.high))
        assert 0 < row["angle_language_visual_null_mean_deg"] < 180


def test_norms_and_angles_follow_from_the_grams(record):
    units, grams = record.tables["units"], record.tables["grams"]
    summed = grams.drop(columns="group").groupby("unit_id").sum()
    whole = units[units["scope"] == "all"].set_index("unit_id")
    cosine = summed["gram_language_visual"] / np.sqrt(summed["gram_language_language"] * summed["gram_visual_visual"])
    np.testing.assert_allclose(np.degrees(np.arccos(cosine)), whole["angle_language_visual_deg"])
    np.testing.assert_allclose(np.sqrt(summed["gram_shift_shift"]), whole["norm_shift"])
    vision = grams[grams["group"].isin(["vision_tower", "merger"])]
    assert (vision["gram_language_language"] == 0).all() and (vision["gram_visual_visual"] > 0).all()


def test_corpus_bins_leave_the_products_between_them(flags, tmp_path):
    out = tmp_path / "record"
    assert angles.main([*flags, "--dtype", "float64", "--unit", "corpus-bin", "--out", str(out)]) == 0
    found = read_record(out, "bin_grams", "grams").tables
    products = found["bin_grams"].set_index(["group", "bin_a", "objective_a", "bin_b", "objective_b"])["product"]
    grams = found["grams"].set_index(["group", "unit_id"])["gram_language_visual"]
    for (group, bin_), product in grams.items():
        assert products[(group, bin_, "language", bin_, "visual")] == pytest.approx(product, rel=1e-9, abs=1e-18)
        assert products[(group, 0, "shift", bin_, "prior")] == products[(group, bin_, "prior", 0, "shift")]
    assert len(products) == grams.index.get_level_values(0).nunique() * 15 * 15


def test_the_record_says_which_parameters_nothing_reaches(record):
    assert record.record["notes"]["unreached"] == []


def test_signed_bins_show_the_pooled_angle_and_say_so(flags, tmp_path, capsys):
    out = tmp_path / "record"
    assert angles.main([*flags, "--unit", "signed-bin", "--per-bin", "all", "--out", str(out)]) == 0
    found = read_record(out, "bins", "units").tables
    assert set(found["units"]["unit"]) == {"signed-bin"}
    assert found["bins"]["angle_language_visual_mean_deg"].between(0, 180).all()
    assert (found["bins"]["effective_units_visual"] >= 1).all()
    assert "Pooled angles (of the summed Gram matrices, not means over tokens) in degrees" in capsys.readouterr().out


@pytest.mark.slow
def test_signed_bins_of_one_token_each_give_the_pooled_angle_of_the_tokens(flags, tmp_path):
    """Where no response has two tokens in a bin, there is no sign to average over."""
    tables = {}
    for unit in ("signed-bin", "token"):
        out, command = tmp_path / unit, [*flags, "--dtype", "float64", "--bins", "12", "--per-bin", "all"]
        assert angles.main([*command, "--unit", unit, "--out", str(out)]) == 0
        tables[unit] = read_record(out, "bins", "units", "grams").tables
    shown = tables["signed-bin"]["bins"].query("scope == 'all'").set_index("bin")["angle_language_visual_mean_deg"]
    largest = tables["signed-bin"]["units"].groupby("bin")["n_tokens"].max()
    tokens = tables["token"]["units"].query("scope == 'all'")
    pooled = {}
    for bin_ in largest.index[largest == 1]:
        grams = scope_grams(tables["token"]["grams"], tokens.loc[tokens["bin"] == bin_, "unit_id"], "all")
        pooled[bin_] = float(Gram(grams.values.sum(axis=0)).angle_deg("language", "visual"))
    assert len(pooled) >= 2
    assert shown.loc[list(pooled)].to_dict() == pytest.approx(pooled, abs=1e-6)


def test_one_signed_bin_has_neither_spread_nor_interval(flags, tmp_path):
    out = tmp_path / "record"
    assert angles.main([*flags, "--unit", "signed-bin", "--per-bin", "1", "--out", str(out)]) == 0
    bins = read_record(out, "bins").bins
    assert bins["angle_language_visual_mean_deg"].notna().all()
    assert bins[["angle_language_visual_std_deg", "angle_language_visual_low_deg"]].isna().all(axis=None)
    assert (out / "angle_bins.png").is_file()


def test_prompts_without_a_picture_are_in_no_bin(record):
    tokens = record.tables["tokens"]
    assert ((tokens["bin"] == -1) == ~tokens["has_image"]).all()
    bare = tokens[~tokens["has_image"]]
    assert len(bare) and (bare[["vds_nats", "student_vds_nats"]] == 0).all(axis=None)
    assert (bare["kl_visual_nats"] == 0).all() and (bare["kl_language_nats"] == bare["kl_standard_nats"]).all()
    counts = tokens[tokens["has_image"]].groupby("bin").size()
    assert counts.max() - counts.min() <= 1
    assert record.record["notes"]["prompts"] == 8
    assert record.record["complete"] is True


@pytest.mark.slow
def test_the_same_seed_gives_the_same_tables(flags, tmp_path, capsys):
    for name in ("one", "two"):
        assert angles.main([*flags, "--per-bin", "3", "--out", str(tmp_path / name)]) == 0
        assert "lang-vis" in capsys.readouterr().out
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert {path.name for path in (tmp_path / "one").iterdir()} >= {"angle_bins.png", "angle_bins.svg"}


def test_an_interrupted_run_is_continued_to_the_same_tables(flags, tmp_path, monkeypatch):
    monkeypatch.setattr(gradients, "SHARD", 2)
    argv = [*flags, "--per-bin", "3", "--batch", "2"]
    assert angles.main([*argv, "--out", str(tmp_path / "whole")]) == 0
    adding = RecordWriter.add
    for stop in ("rollouts", "tokens", "units", "null"):

        def add(self, table, shard, frame, stop=stop):
            if (table, shard) == (stop, 1):
                raise Killed
            adding(self, table, shard, frame)

        monkeypatch.setattr(RecordWriter, "add", add)
        with pytest.raises(Killed):
            angles.main([*argv, "--out", str(tmp_path / "parts")])
    monkeypatch.setattr(RecordWriter, "add", adding)
    assert angles.main([*argv, "--out", str(tmp_path / "parts")]) == 0
    assert files(tmp_path / "parts") == files(tmp_path / "whole")
    assert not (tmp_path / "parts" / "pieces").exists()


def test_the_batch_changes_no_number(flags, angles_record, tmp_path):
    argv = [*flags, "--dtype", "float64", "--per-bin", "4", "--batch", "3", "--out", str(tmp_path / "other")]
    assert angles.main(argv) == 0
    for table in TABLES:
        first, second = (read_record(path, table).tables[table] for path in (angles_record, tmp_path / "other"))
        pd.testing.assert_frame_equal(first, second, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("unit", ["trajectory-bin", "corpus-bin"])
def test_the_other_units(flags, tmp_path, unit):
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert angles.main([*flags, "--unit", unit, "--text-view", "blank", "--out", str(tmp_path / "out")]) == 0
    record = read_record(tmp_path / "out", *TABLES)
    assert set(record.tables["units"]["unit"]) == {unit}
    assert record.tables["bins"]["angle_language_visual_null_mean_deg"].isna().all() == (unit == "corpus-bin")


def test_the_printed_table_shows_mean_interval_and_null(record):
    lines = angles.angle_table(record.bins, "language_model").splitlines()
    assert "language_model" in lines[0] and lines.pop(1).startswith("q* is held fixed")
    assert lines[1].split()[0] == "bin"
    assert len(lines) == 5 and len({len(line) for line in lines[1:]}) == 1
    row = record.bins[(record.bins["scope"] == "language_model") & (record.bins["bin"] == 0)].iloc[0]
    assert f"{row['angle_language_visual_mean_deg']:.0f}+-" in lines[2]
    assert lines[2].split()[-2] == f"{row['angle_language_visual_null_mean_deg']:.0f}"


@pytest.mark.parametrize("scope", ["all", "language_model"])
def test_the_angle_to_the_steered_gradient_is_that_of_the_mean_products(record, scope):
    measured = steered_angles(record.units, record.grams, scope, gamma=3.0).set_index("bin")
    chosen = record.grams[record.grams["group"].isin(scopes(record.grams["group"].unique())[scope])]
    products = chosen.drop(columns="group").groupby("unit_id").sum()
    bins = record.units[record.units["scope"] == scope].set_index("unit_id")["bin"]
    means = products.groupby(bins).mean()
    means.loc[ALL_BINS] = means.mean()
    for bin_, row in means.iterrows():
        for prior, parts in (("detached", ["visual"]), ("attached", ["visual", "shift"])):
            steered = [("standard", 1.0), *((part, 3.0) for part in parts)]
            square = sum(p * q * row[column(a, b)] for a, p in steered for b, q in steered)
            along = sum(p * row[column("standard", a)] for a, p in steered)
            expected = np.degrees(np.arccos(along / np.sqrt(square * row["gram_standard_standard"])))
            assert measured.loc[bin_, f"{prior}_deg"] == pytest.approx(expected, abs=1e-5)
    assert list(measured.index) == [0, 1, 2, ALL_BINS]


def column(a, b):
    return f"gram_{a}_{b}" if OBJECTIVES.index(a) <= OBJECTIVES.index(b) else f"gram_{b}_{a}"


def test_the_angle_to_the_steered_gradient_is_printed(flags, tmp_path, capsys):
    assert angles.main([*flags, "--per-bin", "1", "--out", str(tmp_path / "out")]) == 0
    words = capsys.readouterr().out
    record = read_record(tmp_path / "out", "units", "grams")
    assert steered_lines(steered_angles(record.units, record.grams, "all")) in words
    assert "pooled angle between the standard and the steered gradient (gamma 2), degrees:\n  q* detached: " in words


def test_only_bins_near_standard_say_that_little_is_to_expect():
    angles = pd.DataFrame({"bin": [0, 1, 2, ALL_BINS], "detached_deg": [4.0, 12.0, 9.0, 8.0], "attached_deg": 20.0})
    assert steered_lines(angles).splitlines()[1:] == [
        "  q* detached: 8 over all bins; 4 12 9 in bins 0 to 2; below 10 in bin 0, 2: little to expect there",
        "  q* attached: 20 over all bins; 20 20 20 in bins 0 to 2",
    ]
