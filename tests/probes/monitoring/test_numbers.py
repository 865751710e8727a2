"""The numbers of a monitor against a slow twin from the definitions, in float64."""

import numpy as np
import pytest
import torch

from geometry import bin_edges, equal_frequency_bins
from records.journal import read_journal
from records.run_folder import read_tokens, steps_with_tokens
from stats import N_BINS, bootstrap_interval, chain_order, upper_bins
from tests import models
from tests.probes.monitoring.small import angle_deg, four_views, gradients, losses, monitor_of
from vlm.responses.rollouts import Sampling, generate

UPPER = list(upper_bins(N_BINS))


@pytest.fixture(scope="module")
def run(checkpoints, tmp_path_factory):
    """A monitored run of two measurements in float64, the weights moved in between; with the pair as it is then."""
    pair = models.load(checkpoints, "float64")
    monitor = monitor_of(pair, tmp_path_factory.mktemp("monitor") / "run", gamma=1.5)
    monitor.begin()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in pair.student.model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    assert monitor.step(1) == {}
    values = monitor.step(2)
    place, bench = monitor._opened()
    monitor.end(2)
    prompts = monitor._analyzer.prompts
    return {"pair": pair, "monitor": monitor, "values": values, "rollouts": bench.rollouts, "prompts": prompts}


@pytest.fixture(scope="module")
def journal(run):
    return read_journal(run["monitor"].folder)


@pytest.fixture(scope="module")
def scored(run):
    """The divergences of each fixed response at the last weights."""
    return [losses(run["pair"], run["prompts"][said.prompt_id], said) for said in run["rollouts"]]


@pytest.fixture(scope="module")
def bins(run, scored):
    """The bins of each response's tokens, -1 without a picture."""
    shown = [run["prompts"][said.prompt_id].has_image for said in run["rollouts"]]
    assert 0 < sum(shown) < len(shown)
    vds = torch.cat([one.vds for one, is_shown in zip(scored, shown, strict=True) if is_shown])
    numbers = iter(
        equal_frequency_bins(vds, N_BINS).split([len(o.vds) for o, s in zip(scored, shown, strict=True) if s])
    )
    assert bin_edges(vds, equal_frequency_bins(vds, N_BINS), N_BINS).isfinite().all()
    return [next(numbers) if s else torch.full((len(o.vds),), -1) for o, s in zip(scored, shown, strict=True)]


def test_losses_are_means_by_bin_on_the_fixed_responses(run, journal, scored, bins):
    line, where = journal.evaluations[1], torch.cat(bins)
    for name in ("standard", "language", "visual"):
        values = torch.cat([getattr(one, name) for one in scored])
        whole = values[where >= 0] if name == "visual" else values
        assert line.losses[name] == pytest.approx(float(whole.mean()), rel=1e-8)
        expected = [float(values[where == number].mean()) for number in range(N_BINS)]
        assert line.losses_by_bin[name] == pytest.approx(expected, rel=1e-8)
    assert run["values"]["monitor/visual_upper_nats"] == pytest.approx(np.mean(line.losses_by_bin["visual"][7:]))


def test_the_rise_of_the_language_loss_is_paired_by_token(run, checkpoints, journal, scored, bins):
    first_pair = models.load(checkpoints, "float64")
    first = [losses(first_pair, run["prompts"][said.prompt_id], said).language for said in run["rollouts"]]
    upper = torch.isin(torch.cat(bins), torch.tensor(UPPER)).numpy()
    before = torch.cat(first).numpy()[upper]
    rise = torch.cat([one.language for one in scored]).numpy()[upper] - before
    ids = np.array([said.prompt_id for said in run["rollouts"] for _ in said.token_ids])[upper]
    expected, line = bootstrap_interval(rise, ids, seed=0), journal.evaluations[1].language_rise
    assert (line.mean_nats, line.low_nats, line.high_nats) == pytest.approx(
        (rise.mean(), expected.low, expected.high), rel=1e-8
    )
    assert line.first_nats == pytest.approx(before.mean(), rel=1e-8)
    assert journal.evaluations[0].language_rise.mean_nats == journal.evaluations[0].language_rise.high_nats == 0.0


def test_own_losses_are_those_of_the_present_students_responses(run, journal):
    prompts = list(run["prompts"].values())
    own = generate(run["pair"].student, prompts, Sampling(5, batch=4))
    assert [one.token_ids for one in own] != [one.token_ids for one in run["rollouts"]]
    language = torch.cat([losses(run["pair"], run["prompts"][r.prompt_id], r).language for r in own])
    assert journal.evaluations[1].own_losses["language"] == pytest.approx(float(language.mean()), rel=1e-8)


@pytest.fixture(scope="module")
def whole(run):
    """The gradients of each response's mean losses."""
    weights = [torch.ones(len(said.token_ids), dtype=torch.float64) / len(said.token_ids) for said in run["rollouts"]]
    parts = zip(run["rollouts"], weights, strict=True)
    return [gradients(run["pair"], run["prompts"][said.prompt_id], said, weight) for said, weight in parts]


def test_norms_angles_and_eta_are_those_of_the_batch(run, journal, whole):
    shown = [run["prompts"][r.prompt_id].has_image for r in run["rollouts"]]
    batch = {
        name: sum(one[name] for one, is_shown in zip(whole, shown, strict=True) if is_shown) / len(whole)
        for name in whole[0]
    }
    line = journal.geometry[1]
    for name in ("standard", "language", "visual"):
        assert line.norms["all"][name] == pytest.approx(float(batch[name].norm()), rel=1e-8)
    for name, (one, two) in {
        "angle_language_visual": ("language", "visual"),
        "angle_standard_visual": ("standard", "visual"),
        "angle_standard_language": ("standard", "language"),
        "angle_language_visual_attached": ("language", "visual_attached"),
    }.items():
        assert line.angles_deg["all"][name] == pytest.approx(angle_deg(batch[one], batch[two]), rel=1e-7)
    steered = batch["standard"] + 1.5 * batch["visual"]
    assert line.gamma == 1.5 and line.eta == pytest.approx(float(batch["standard"].norm() / steered.norm()), rel=1e-8)


@pytest.mark.parametrize("tokens", ["all", "upper"])
def test_angles_against_the_null_are_those_of_whole_gradients(run, journal, bins, tokens):
    said, units = run["rollouts"][:3], []
    for rollout, own in zip(said, bins, strict=False):
        weights = own >= 0 if tokens == "all" else torch.isin(own, torch.tensor(UPPER))
        if weights.any():
            prompt = run["prompts"][rollout.prompt_id]
            units.append((rollout.prompt_id, gradients(run["pair"], prompt, rollout, weights.double() / len(own))))
    ids = np.array([prompt_id for prompt_id, _ in units])
    pairs = chain_order(np.zeros(len(units), dtype=int), ids, np.random.default_rng(0)).tolist()
    assert len(pairs) >= 2
    measured = journal.geometry[1].against_null["all"][tokens]
    for angle, visual in (("angle_language_visual", "visual"), ("angle_language_visual_attached", "visual_attached")):
        own = np.array([angle_deg(units[i][1]["language"], units[i][1][visual]) for i, _ in pairs])
        null = np.array([angle_deg(units[i][1]["language"], units[j][1][visual]) for i, j in pairs])
        one = measured[angle]
        assert one["angle_deg"] == pytest.approx(own.mean(), rel=1e-7)
        assert one["null_deg"] == pytest.approx(null.mean(), rel=1e-7)
        assert one["difference_deg"] == pytest.approx((own - null).mean(), rel=1e-6)
        assert one["error_deg"] == pytest.approx((own - null).std(ddof=1) / np.sqrt(len(pairs)), rel=1e-6)
        assert one["n_pairs"] == len(pairs)


def test_the_kept_tokens_are_those_that_were_measured(run, scored, bins):
    folder = run["monitor"].folder
    assert steps_with_tokens(folder) == [0, 2]
    rows = read_tokens(folder, 2)
    assert rows["bin"].tolist() == torch.cat(bins).tolist()
    assert rows["student_vds_nats"].to_numpy() == pytest.approx(torch.cat([o.student_vds for o in scored]).numpy())
    views = four_views(run["pair"], run["prompts"][run["rollouts"][0].prompt_id], run["rollouts"][0])
    log_p = views.student_image.log_softmax(-1)
    entropy = -(log_p.exp() * log_p.nan_to_num(neginf=0.0)).sum(-1)
    assert rows.query("rollout_id == 0")["entropy_nats"].to_numpy() == pytest.approx(entropy.detach().numpy())
