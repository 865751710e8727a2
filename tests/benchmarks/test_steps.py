"""The benchmark of steps compares what it says: one gradient got in two ways, samplers of one length, ratios."""

import pandas as pd
import pytest
import torch

from records import read_record
from records.journal_lines import PHASES
from study.claims.training_statistics import step_time
from tests.benchmarks import steps
from tests.benchmarks.step_contest import ARMS, LEAN, RUNS, STANDARD, lean_gradient, plain_sample, ratios
from tests.train.small import batch, learner, small, watch
from train.step import summed_gradient


def test_lean_standard_is_standard(checkpoints):
    found = learner(small(checkpoints, objective="standard", micro_batch=4))
    made, spent = batch(found), watch()
    expected = torch.cat([g.flatten() for g in summed_gradient(found, made, watch()).gradient])
    lean = torch.cat([g.flatten() for g in lean_gradient(found, made.responses, spent)])
    assert (lean - expected).norm() < 1e-5 * expected.norm()
    assert min(spent.seconds[phase] for phase in ("teacher", "student", "update")) > 0


def test_the_plain_sampler_makes_as_many_columns(checkpoints):
    found = learner(small(checkpoints))
    responses = batch(found).responses
    columns = plain_sample(found.pair.student, responses).shape
    assert columns == (len(responses), max(response.n_tokens for response in responses))


def test_ratios_are_medians_of_each_round_s():
    """Rounds of unequal length, in each of which the second arm's update takes twice as long, except in one."""
    spent = {LEAN: (1.0, 10.0, 100.0), STANDARD: (2.0, 20.0, 500.0)}
    rows = [
        {"arm": arm, "round": number, "rollout": 0.0, "teacher": 0.0, "student": value, "update": value}
        for arm, values in spent.items()
        for number, value in enumerate(values)
    ]
    found = ratios(pd.DataFrame(rows), LEAN)
    assert found.loc[STANDARD].tolist() == [2.0, 2.0] and found.loc[LEAN].tolist() == [1.0, 1.0]


def test_it_writes_the_two_tables(checkpoints, tmp_path, capsys):
    pair = ["--student", str(checkpoints / "student"), "--teacher", str(checkpoints / "teacher")]
    assert steps.main([*pair, "--steps", "1", "--batch", "6", "--max-response", "5", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "steps.md").read_text()
    assert text == capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert rows[0][1 : 1 + len(PHASES)] == list(PHASES)
    arms = {row[0]: [float(cell) for cell in row[1:]] for row in rows[2 : 2 + len(ARMS)]}
    assert arms.keys() == ARMS.keys()
    for seconds in arms.values():
        assert seconds[4] == pytest.approx(sum(seconds[:4]), abs=0.003)
    assert [row[0] for row in rows[-2:]] == ["the trainer's", "plain `generate`"]


def test_the_record_has_the_seconds_of_each_arm_and_seed(checkpoints, tmp_path):
    pair = ["--student", str(checkpoints / "student"), "--teacher", str(checkpoints / "teacher")]
    flags = ["--steps", "1", "--batch", "6", "--max-response", "5", "--seeds", "0", "4"]
    where = ["--out", str(tmp_path), "--record", str(tmp_path / "record")]
    assert steps.main([*pair, *flags, *where]) == 0
    table = read_record(tmp_path / "record", "steps").steps
    assert set(table["arm"]) == set(RUNS.values()) and set(table["seed"]) == {0, 4} and len(table) == 2 * len(RUNS)
    assert (table[[f"{phase}_seconds" for phase in PHASES]] > 0).all(axis=None)
    ratio = step_time("vgs-lp", "standard-lean").estimate(lambda name: table)
    assert ratio.evidence.ours.n == 2 and ratio.value > 0
