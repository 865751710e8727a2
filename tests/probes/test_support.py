"""The probe of top-k supports against a loop by hand, and against what buckets can do."""

import numpy as np
import pytest
import torch

from probes import support
from records import read_record
from records.tables.support import COMPARED
from tests import models
from vlm.prompts.sources import load_prompts
from vlm.responses.rollouts import Sampling, generate
from vlm.responses.scoring import view_logits
from vlm.views.view import image_view, text_view

TOP_K = (2, 6, 30, 100_000)


@pytest.fixture(scope="module")
def record(flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("support") / "record"
    asked = [str(k) for k in (TOP_K[1], *TOP_K, TOP_K[0])]  # in any order, twice or not
    assert support.main([*flags, "--dtype", "float64", "--top-k", *asked, "--out", str(folder)]) == 0
    return read_record(folder, "rollouts", "support_tokens", "support")


@pytest.fixture(scope="module")
def tokens(record):
    return record.tables["support_tokens"]


@pytest.fixture(scope="module")
def rows(record):
    return record.tables["support"]


def by_k(tokens, name):
    """The tokens' divergences over K, a column a K, in ascending order."""
    return tokens.pivot(index=["rollout_id", "position"], columns="top_k", values=f"{name}_top_nats").to_numpy()


def test_all_ids_cost_nothing(tokens, rows):
    every = tokens[tokens["top_k"] == TOP_K[-1]]
    for name in COMPARED:
        np.testing.assert_allclose(every[f"{name}_top_nats"], every[f"{name}_full_nats"], rtol=1e-9, atol=1e-12)
        assert (rows.loc[rows["top_k"] == TOP_K[-1], f"{name}_difference_mean_nats"] < 1e-12).all()
    assert (rows.query("top_k == @TOP_K[-1] and bin != 'text'")["same_bin_share"] == 1.0).all()


@pytest.mark.parametrize("name", ["vds", "kl_standard", "kl_language"])
def test_fewer_ids_never_make_a_divergence_larger(tokens, name):
    found = by_k(tokens, name)
    assert (np.diff(found, axis=1) > -1e-12).all()
    assert (found[:, 1] - found[:, 0]).max() > 0.005


def test_responses_by_hand(tokens, checkpoints):
    """Sorting, sums and logarithms of the four views of the responses, sampled again; K = 6."""
    pair = models.load(checkpoints, "float64")
    prompts = load_prompts("bundled", limit=8, seed=0)
    rollouts = generate(pair.student, prompts, Sampling(max_response=5))
    members = [member for member in (pair.student, pair.teacher) for _ in range(2)]
    for number in (0, 3, 5):
        views = [image_view(prompts[number]), text_view(prompts[number])] * 2
        ids = rollouts[number].token_ids
        with torch.no_grad():
            logits = [view_logits(m, [v], [ids], pair.n_ids)[0] for m, v in zip(members, views, strict=True)]
        inside = tokens[(tokens["rollout_id"] == number) & (tokens["top_k"] == 6)].sort_values("position")
        assert len(inside) == len(ids)
        for position, row in enumerate(inside.to_dict("records")):
            expected = by_hand(*(_probabilities(view[position]) for view in logits))
            assert [row[f"{name}_top_nats"] for name in COMPARED] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def by_hand(*probabilities):
    """VDS, standard, language and visual of one token over six ids and a tail."""
    kept = np.argsort(-probabilities[2])[:6]
    p_image, p_text, q_image, q_text = (np.append(p[kept], np.delete(p, kept).sum()) for p in probabilities)
    target = p_text * q_image / q_text
    pairs = ((q_image, q_text), (p_image, q_image), (p_text, q_text), (p_image, target / target.sum()))
    return [(a * np.log(a / b)).sum() for a, b in pairs]


def _probabilities(logits):
    weights = np.exp(logits.numpy() - logits.max().item())
    return weights / weights.sum()


def test_rows_are_means_of_their_tokens(tokens, rows):
    for row in rows.to_dict("records"):
        own = tokens[tokens["top_k"] == row["top_k"]]
        inside = {"all": own["bin"] >= 0, "text": own["bin"] < 0}.get(row["bin"])
        inside = own[own["bin"].astype(str) == row["bin"]] if inside is None else own[inside]
        assert row["n_tokens"] == len(inside)
        for name in COMPARED:
            apart = (inside[f"{name}_top_nats"] - inside[f"{name}_full_nats"]).abs()
            assert row[f"{name}_top_mean_nats"] == pytest.approx(inside[f"{name}_top_nats"].mean())
            assert row[f"{name}_difference_mean_nats"] == pytest.approx(apart.mean())
    assert set(rows["bin"]) == {"0", "1", "2", "all", "text"} and tuple(rows["top_k"].unique()) == TOP_K


def test_the_table_has_all_ids_first(rows):
    lines = support.support_table(rows).splitlines()[2:]
    assert [line.split()[0] for line in lines[::5]] == ["all", *map(str, TOP_K)]
    shown = rows.query("top_k == 2 and bin == 'all'").iloc[0]
    (line,) = (line for line in lines if line.split()[:2] == ["2", "all"])
    assert f"{shown['vds_top_mean_nats']:.2g} +-{shown['vds_difference_mean_nats']:.1g}" in line
    assert line.endswith(f"{100 * shown['same_bin_share']:.1f}")


def test_no_ids_are_refused(flags, tmp_path):
    with pytest.raises(SystemExit):
        support.main([*flags, "--top-k", "0", "--out", str(tmp_path / "record")])
    assert not (tmp_path / "record").exists()
