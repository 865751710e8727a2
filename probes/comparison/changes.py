"""From the same tokens, units and prompts before and after to the tables of a comparison, with paired intervals."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from geometry import OBJECTIVES
from probes.stages.pictures import picture_png
from probes.stages.responses import rollout_row
from records import ANGLES, TABLES
from records.tables.comparison import LOSSES, SIDES
from stats import bootstrap_interval
from vlm.prompts.prompt import Prompt

if TYPE_CHECKING:
    from probes.compare import Comparison, Side

ALL, TEXT = "all", "text"

Sided = Mapping[str, pd.DataFrame]
"""One table of each side, rows in the same order."""


def tables(both: "Comparison", sides: "Mapping[str, Side]", seed: int) -> dict[str, pd.DataFrame]:
    """Return the tables of a comparison; those of gradients and answers where these were asked for."""
    sampled, prompts = sides[both.options.rollouts_of], both.asked.prompts
    rows = [rollout_row(n, prompts[said.prompt_id], said) for n, said in enumerate(sampled.rollouts)]
    tokens = token_changes(sampled.tokens, {side: sides[side].tokens for side in SIDES})
    made = {"rollouts": pd.DataFrame(rows), "token_changes": tokens, "changes": change_rows(tokens, seed)}
    units = {side: one.units for side, one in sides.items() if one.units is not None}
    if units:
        made["unit_changes"] = unit_changes(units)
        made["angle_changes"] = angle_change_rows(made["unit_changes"], seed)
    answered = {side: one.answers for side, one in sides.items() if one.answers is not None}
    if answered:
        made["answers"] = answer_rows(both.questions, answered)
        made["accuracy_changes"] = accuracy_rows(made["answers"], seed)
        made["examples"] = example_rows(made["answers"], both.questions, both.options.examples, seed)
    return made


def token_changes(sampled: pd.DataFrame, tokens: Sided) -> pd.DataFrame:
    """Return one row per token: its divergences on either side, and its bin and VDS as in `sampled`."""
    return _side_by_side(
        sampled.drop(columns=[*(f"{loss}_nats" for loss in LOSSES), "entropy_nats"]), tokens, LOSSES, "_nats"
    )


def unit_changes(units: Sided) -> pd.DataFrame:
    """Return one row per unit and scope: norms and angles on either side."""
    keys = ["unit_id", "prompt_id", "rollout_id", "position", "bin", "scope"]
    units_before = units[SIDES[0]][keys]
    normed = _side_by_side(units_before, units, [f"norm_{name}" for name in OBJECTIVES], "")
    return _side_by_side(normed, units, ANGLES, "_deg")


def change_rows(tokens: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The table `changes` from `token_changes`."""
    rows = [
        {"bin": bin_, "n_tokens": len(inside), "vds_mean_nats": inside["vds_nats"].mean()}
        | _paired(inside, LOSSES, "_nats", seed)
        for bin_, inside in _by_bin(tokens)
    ]
    return pd.DataFrame(rows)


def angle_change_rows(units: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The table `angle_changes` from `unit_changes`; a unit that has an angle on one side only is left out of it."""
    rows = [
        {"scope": scope, "bin": bin_, "n_units": len(inside), **_paired(inside, ANGLES, "_deg", seed)}
        for scope, members in units.groupby("scope")
        for bin_, inside in _by_bin(members)
    ]
    return pd.DataFrame(rows)


def answer_rows(prompts: Sequence[Prompt], answers: Sided) -> pd.DataFrame:
    """The table `answers`: what either side said to each prompt, judged where an answer is known."""
    rows = [
        {
            "prompt_id": prompt.prompt_id,
            "task": prompt.task,
            "dependency": prompt.dependency,
            "has_image": prompt.has_image,
            "prompt": prompt.text,
            "answer": " or ".join(prompt.answers),
        }
        for prompt in prompts
    ]
    table = pd.DataFrame(rows)
    answered = table["answer"] != ""
    for side in SIDES:
        table[f"response_{side}"] = answers[side]["response"].to_numpy()
    for side in SIDES:
        table[f"correct_{side}"] = answers[side]["correct"].astype(object).where(answered, None)
    return table


def accuracy_rows(answers: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The table `accuracy_changes`: over all prompts, by dependency and by task; none where no answer is known."""
    judged = answers[answers["correct_before"].notna()]
    shares = {f"accuracy_{side}_percent": 100.0 * judged[f"correct_{side}"].astype(float) for side in SIDES}
    judged = judged.assign(**shares)
    rows = [
        {"by": by, "name": name, "n_prompts": len(inside)}
        | _paired(inside, ["accuracy"], "_percent", seed)
        | {"n_gained": int(_gained(inside).sum()), "n_lost": int(_lost(inside).sum())}
        for by, name, inside in _groups(judged)
    ]
    return pd.DataFrame(rows, columns=list(TABLES["accuracy_changes"].names))


def example_rows(answers: pd.DataFrame, prompts: Sequence[Prompt], n: int, seed: int) -> pd.DataFrame:
    """The table `examples`: up to `n` answers whose verdict changed, drawn at random, half of them gained.

    Where one kind has fewer than its half, the other takes the places that are left.
    """
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    kinds = {"gained": answers[_gained(answers)], "lost": answers[_lost(answers)]}
    n_gained = min(len(kinds["gained"]), max(n - n // 2, n - len(kinds["lost"])))
    counts = {"gained": n_gained, "lost": min(len(kinds["lost"]), n - n_gained)}
    drawn = [_drawn(kinds[kind], counts[kind], seed).assign(verdict=kind) for kind in kinds]
    chosen = pd.concat(drawn, ignore_index=True)
    chosen["picture"] = [picture_png(by_id[name].images) for name in chosen["prompt_id"]]
    return chosen[list(TABLES["examples"].names)]


def _side_by_side(tokens: pd.DataFrame, sides: Sided, names: Sequence[str], unit: str) -> pd.DataFrame:
    columns = {f"{name}_{side}{unit}": sides[side][f"{name}{unit}"].to_numpy() for name in names for side in SIDES}
    return tokens.assign(**columns)


def _by_bin(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each bin in order, all of these, and then those of prompts without a picture."""
    pictured, others = rows[rows["bin"] >= 0], rows[rows["bin"] < 0]
    for bin_, inside in pictured.groupby("bin"):
        yield str(bin_), inside
    yield ALL, pictured
    if len(others):
        yield TEXT, others


def _groups(judged: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    if len(judged):
        yield ALL, ALL, judged
    for by in ("dependency", "task"):
        for name, inside in judged.groupby(by, sort=False):
            yield by, str(name), inside


def _paired(rows: pd.DataFrame, names: Sequence[str], unit: str, seed: int) -> dict[str, float]:
    """Means on either side, and the mean change with its 95 % interval; over rows that have both."""
    row: dict[str, float] = {}
    for name in names:
        before, after = (rows[f"{name}_{side}{unit}"].to_numpy(copy=True) for side in SIDES)
        both = ~np.isnan(before) & ~np.isnan(after)
        change = bootstrap_interval((after - before)[both], rows["prompt_id"].to_numpy(str)[both], seed=seed)
        for side, values in zip(SIDES, (before, after), strict=True):
            row[f"{name}_{side}_mean{unit}"] = values[both].mean() if both.any() else np.nan
        ends = {"mean": change.estimate, "low": change.low, "high": change.high}
        row |= {f"{name}_change_{end}{unit}": value for end, value in ends.items()}
    return row


def _gained(answers: pd.DataFrame) -> pd.Series:
    return answers["correct_before"].eq(False) & answers["correct_after"].eq(True)


def _lost(answers: pd.DataFrame) -> pd.Series:
    return answers["correct_before"].eq(True) & answers["correct_after"].eq(False)


def _drawn(answers: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """`n` of the rows, in their order."""
    generator = np.random.default_rng([seed, n])
    return answers.iloc[np.sort(generator.choice(len(answers), n, replace=False))]
