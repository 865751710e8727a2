"""A trial's steps are those of a plain training loop; the weights are put back, and the batch changes nothing."""

import numpy as np
import pandas as pd
import pytest
import torch

from geometry import FourViews, Objective, Thresholds, objective_loss
from probes.stages import real_steps, trial_steps
from probes.stages.trial_steps import CONFIDENCE, MARGIN_SHARE, Ground, Pace, Setting, can_step, frozen, trial_rows
from records.tables.diagnosis import TRIAL, TRIED
from stats import prompt_mean
from vlm.responses.scoring import view_logits

PACE = Pace(3, 1e-3)
SETTINGS = [
    Setting(0.0, 0.0, "detached"),
    Setting(3.25, 0.01, "detached"),
    Setting(1.0, 1.0, "attached"),
    Setting(2.0, 0.1, "frozen"),
    Setting(0.0, 1.0, "detached"),
]


def loss_of(analyzer, tokens, number, objective, thresholds, before):
    """The loss of one response as the trainer has it, mean over its tokens, with a graph.

    before: by number, the logits of the text view of the student before training.
    """
    rollout, pair = analyzer.rollouts[number], analyzer.pair
    views, n = analyzer.views(rollout), len(rollout.token_ids)
    image, text = (view_logits(pair.student, [view], [rollout.token_ids], pair.n_ids)[0] for view in views)
    with torch.no_grad():
        teacher = [view_logits(pair.teacher, [view], [rollout.token_ids], pair.n_ids)[0] for view in views]
    seen = torch.from_numpy(tokens.loc[tokens["rollout_id"] == number, "has_image"].to_numpy(copy=True))
    shares = torch.full((n,), 1.0 / n, dtype=image.dtype)
    prior = before[number] if objective.prior == "frozen" else None
    return objective_loss(
        FourViews(image, text, *teacher, prior), objective, thresholds=thresholds, shares=shares, has_image=seen
    ).loss


@torch.no_grad()
def text_logits(analyzer, number):
    """The student's logits of a response under the text view."""
    rollout, pair = analyzer.rollouts[number], analyzer.pair
    return view_logits(pair.student, [analyzer.views(rollout)[1]], [rollout.token_ids], pair.n_ids)[0]


def trained(analyzer, tokens, halves, setting):
    """The losses of the second half after a loop that anybody would write."""
    named = {"gamma": setting.gamma, "lambda_": setting.lambda_, "prior": setting.prior}
    objective = Objective("vgs-lp", **named) if setting.gamma or setting.lambda_ else Objective("standard")
    first, second = halves
    before = {number: text_logits(analyzer, number) for number in first.numbers}
    of_gate = tokens[tokens["rollout_id"].isin(first.numbers) & tokens["has_image"]]
    thresholds = Thresholds(0.0, float(of_gate["vds_nats"].quantile(0.7)))
    parameters = list(analyzer.pair.student.model.parameters())
    start = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=PACE.lr, weight_decay=0.01)
    for _ in range(PACE.steps):
        optimizer.zero_grad()
        for number in first.numbers:
            (loss_of(analyzer, tokens, number, objective, thresholds, before) / len(first.numbers)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    optimizer.zero_grad()
    found = real_steps.losses(analyzer, second)
    with torch.no_grad():
        for parameter, value in zip(parameters, start, strict=True):
            parameter.copy_(value)
    return found


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: f"gamma-{setting.gamma:g}-{setting.prior}")
def test_the_steps_are_those_of_a_plain_loop(analyzer, tokens, halves, setting):
    found = Ground(analyzer, halves, PACE).changes(setting)
    twin = trained(analyzer, tokens, halves, setting) - real_steps.losses(analyzer, halves[1])
    assert list(found.columns) == list(TRIED) and (twin[list(TRIED)].abs().max() > 1e-3).all()
    np.testing.assert_allclose(found, twin[list(TRIED)], rtol=1e-3, atol=1e-5)


def test_the_weights_are_put_back_bit_for_bit(analyzer, halves):
    before = {name: tensor.clone() for name, tensor in analyzer.pair.student.model.state_dict().items()}
    Ground(analyzer, halves, PACE).changes(SETTINGS[1])
    after = analyzer.pair.student.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in analyzer.pair.student.model.parameters())


def test_and_where_a_step_fails_too(analyzer, halves, monkeypatch):
    before = [parameter.clone() for parameter in analyzer.pair.student.model.parameters()]
    real, taken = trial_steps.step_with, []

    def twice(*argv):
        taken.append(real(*argv))
        if len(taken) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(trial_steps, "step_with", twice)
    with pytest.raises(KeyboardInterrupt):
        Ground(analyzer, halves, PACE).changes(SETTINGS[1])
    assert all(torch.equal(*two) for two in zip(before, analyzer.pair.student.model.parameters(), strict=True))


def test_the_batch_changes_nothing(analyzer, analyzer_of, halves):
    others = [analyzer_of(batch=batch, rollouts=analyzer.rollouts) for batch in (1, 8)]
    found = [Ground(one, halves, PACE).changes(SETTINGS[1]) for one in (analyzer, *others)]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-3, atol=1e-5)


def test_no_steps_change_nothing(analyzer, halves):
    assert (Ground(analyzer, halves, Pace(0, 1e-3)).changes(SETTINGS[1]) == 0.0).all(axis=None)


def test_a_frozen_weight_stays(analyzer, halves):
    """Where the eyes alone are trained, what is said without the picture stays."""
    model = analyzer.pair.student.model
    try:
        model.requires_grad_(False)
        model.model.visual.requires_grad_(True)
        found = Ground(analyzer, halves, PACE).changes(SETTINGS[0])
    finally:
        model.requires_grad_(True)
    assert found["standard"].abs().max() > 0 and (found["language"] == 0).all()


def test_sixteen_bits_are_too_few(analyzer):
    assert can_step(analyzer)
    model = analyzer.pair.student.model
    narrow = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
    model.register_module("narrow", narrow)
    try:
        assert not can_step(analyzer)
        narrow.requires_grad_(False)
        assert can_step(analyzer)
    finally:
        del model.narrow


def test_rows_hold_both_changes_with_their_intervals():
    draw = np.random.default_rng(0)
    known = pd.DataFrame({"prompt_id": np.repeat(list("abcdef"), 10), "bin": [*range(10)] * 5 + [-1] * 10})
    changes, standard = (known.assign(**{loss: draw.normal(size=60) for loss in TRIED}) for _ in range(2))
    rows = trial_rows(SETTINGS[1], PACE, changes, standard, n_bins=10, seed=0)
    assert [*rows.columns, "verdict"] == TRIAL.names and len(rows) == 2 * len(TRIED)
    assert rows[rows["bin"] == "high"]["n_tokens"].eq(15).all() and rows[rows["bin"] == "all"]["n_tokens"].eq(50).all()
    row = rows[(rows["bin"] == "high") & (rows["loss"] == "visual")].iloc[0]
    inside = known["bin"] >= 7
    against = (changes["visual"] - standard["visual"])[inside].to_numpy()
    twin = prompt_mean(against, known["prompt_id"][inside].to_numpy(str), CONFIDENCE)
    ends = [row[f"against_standard_{end}nats"] for end in ("low_", "high_", "")]
    assert ends == [twin.low, twin.high, twin.estimate] and row["change_nats"] == changes["visual"][inside].mean()
    assert row["margin_nats"] == pytest.approx(MARGIN_SHARE * standard["visual"][inside].abs().mean())
    assert row["low_nats"] < row["change_nats"] < row["high_nats"]


def test_standard_differs_from_itself_by_nothing():
    known = pd.DataFrame({"prompt_id": list("aabb"), "bin": 0, **dict.fromkeys(TRIED, [0.1, 0.2, 0.3, 0.5])})
    rows = trial_rows(SETTINGS[0], PACE, known, known, n_bins=1, seed=0)
    assert (rows.filter(like="against_standard") == 0.0).all(axis=None)


def test_a_frozen_copy_stays_where_the_student_was(analyzer):
    """It shares no weight with the student, and none of its weights trains."""
    copy = frozen(analyzer.pair.student)
    theirs, ours = ({p.data_ptr() for p in one.model.parameters()} for one in (copy, analyzer.pair.student))
    assert not theirs & ours and not any(p.requires_grad for p in copy.model.parameters())


def test_a_frozen_prior_takes_another_way(analyzer, halves):
    """At the first step it is the detached one; the ways part when the student's own text view has moved."""
    one, more = (Ground(analyzer, halves, Pace(steps, 1e-3)) for steps in (1, 3))
    detached, held = Setting(2.0, 0.1, "detached"), Setting(2.0, 0.1, "frozen")
    pd.testing.assert_frame_equal(one.changes(detached), one.changes(held), rtol=1e-5, atol=1e-6)
    assert (more.changes(detached) - more.changes(held)).abs().max(axis=None) > 1e-5
