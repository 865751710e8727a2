"""From the tables of a diagnosis to the table `findings`: measured values, each with its question and verdict."""

from collections.abc import Mapping, Sequence
from math import inf, nan
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from geometry.objective_settings import GAMMA
from probes.diagnosis.costs import cost_rows
from probes.diagnosis.evidence import GAMMA_MOST, Evidence, says_nothing
from probes.diagnosis.facts import accuracy_rows, steered_angle_row
from probes.diagnosis.finding import Row, finding
from probes.diagnosis.judging import signed
from probes.diagnosis.trial import against_standard, is_standard, setting_name
from probes.settings import RunOptions
from probes.stages.forecast import HIGH
from records import ANGLES
from records.tables.forecast import PRIORS
from stats import bins_label, bootstrap_interval, bootstrap_of_mean, upper_bins
from vlm.responses.scoring import training_refusal
from vlm.responses.truncation import WARNED

if TYPE_CHECKING:
    from probes.analyzer import Analyzer

Tables = Mapping[str, pd.DataFrame]
ENDS = "do the responses end"
SEES, LOOKS, GAP, GEOMETRY, FORECAST, PRECISION, STRENGTH = (
    "does the teacher see",
    "does the student look",
    "where the gap lies",
    "how the gradients stand",
    "what a first step does",
    "what the dtype costs",
    "how hard to steer",
)
CANNOT_TELL = "cannot tell, chooses nothing"
SMALLER_RATE = (
    "at this rate standard distillation already unlearns language on the most visual tokens: try a smaller rate"
)


def finding_table(
    analyzer: "Analyzer", tables: Tables, evidence: Evidence, not_asked: Sequence[Row], run_options: RunOptions
) -> pd.DataFrame:
    """Return the table `findings`: whether the two fit, what was measured, what was not asked, and what it cost."""
    n_prompts = sum(prompt.has_image for prompt in analyzer.prompts.values())
    measured = finding_rows(tables, evidence, n_prompts, analyzer.seed)
    costs = cost_rows(analyzer, run_options)
    return pd.DataFrame([*_compatibility(analyzer), _ends(tables), *measured, *not_asked, *costs])


def halves_notes(tables: Tables) -> dict[str, int]:
    """Return how many prompts made the directions of the forecast, and on how many others it speaks."""
    if "sensitivity" not in tables:
        return {}
    n_all, n_second = (tables[name]["prompt_id"].nunique() for name in ("tokens", "sensitivity"))
    return {"prompts_of_directions": n_all - n_second, "prompts_of_forecast": n_second}


MINUS_STANDARD = "minus standard's"
"""How the reason of a tried setting begins; the table of the trial has the same differences."""


def finding_rows(tables: Tables, evidence: Evidence, n_prompts: int, seed: int) -> list[Row]:
    """All rows but compatibility and cost."""
    rows = [*_looking(tables, evidence, n_prompts, seed), *accuracy_rows(tables), *_gap(tables, evidence, seed)]
    if "bins" in tables:
        rows += _geometry(tables["bins"], tables.get("sketch_error"))
    rows += steered_angle_row(GEOMETRY, tables, evidence, seed)
    if "readings" in tables:
        rows += _forecast(tables["readings"])
    if "trial" in tables:
        rows += _trial(tables["trial"])
    if "precision" in tables:
        rows += _precision(tables["precision"])
    return [*rows, *_strength(tables, evidence, seed)]


def _looking(tables: Tables, evidence: Evidence, n_prompts: int, seed: int) -> list[Row]:
    """Both models' dependence on the picture, and on its content."""
    tokens, content = _pictured(tables), tables["content"]
    n_paired = content["prompt_id"].nunique()
    reason = f"another prompt's picture of the same size, for {n_paired} of {n_prompts} prompts with a picture"
    if n_paired < n_prompts:
        reason += f"; {n_prompts - n_paired} had no partner"
    rows = []
    sides = ((SEES, "teacher", "vds_nats", "VDS"), (LOOKS, "student", "student_vds_nats", "own dependence"))
    for question, side, column, name in sides:
        upper = tokens[tokens[column] >= tokens[column].quantile(0.9)]
        blind = evidence.teacher_is_blind if side == "teacher" else evidence.student_is_blind
        verdict = "blind" if blind else "sees"
        if side == "teacher" and not blind and evidence.sees_presence_only:
            verdict = "presence only"
        rows.append(finding(question, f"{name}, mean", "nats", *_mean(tokens, column, seed), verdict))
        rows.append(finding(question, f"{name}, median", "nats", tokens[column].median()))
        rows.append(finding(question, f"{name}, upper tenth of tokens", "nats", *_mean(upper, column, seed)))
        rows.append(
            finding(question, "content control, mean", "nats", *_mean(content, f"{side}_nats", seed), "", reason)
        )
    return rows


def _gap(tables: Tables, evidence: Evidence, seed: int) -> list[Row]:
    tokens = _pictured(tables)
    rows = []
    for loss in ("standard", "visual", "language"):
        rows.append(finding(GAP, f"{loss} loss, mean", "nats", *_mean(tokens, f"kl_{loss}_nats", seed)))
    where = tables["token_classes"].sort_values("visual_share", ascending=False).iloc[0]
    words = (
        f"{where['visual_share']:.0%} of the visual loss lies in {where['token_class']} tokens" if len(tokens) else ""
    )
    return [*rows, finding(GAP, "visual part of visual + language", "share", evidence.visual_share, reason=words)]


def _geometry(bins: pd.DataFrame, errors: pd.DataFrame | None) -> list[Row]:
    """The upper bins' angle of language and visual gradient against the null, by scope and kind of q*.

    errors: of a sketch, if the angles were estimated.
    """
    upper = upper_bins(int(bins["bin"].max()) + 1)
    rows = []
    for scope, members in bins[bins["bin"].isin(upper)].groupby("scope"):
        for prior, angle in zip(PRIORS, ("angle_language_visual", "angle_language_visual_attached"), strict=True):
            null = members[f"{angle}_null_mean_deg"]
            above, below = ((members[f"{angle}_low_deg"] > null).sum(), (members[f"{angle}_high_deg"] < null).sum())
            verdict = _against_null(above, below, len(members))
            reason = (
                f"null {null.mean():.0f}; of {len(members)} bins {above} above, {below} below it by their intervals"
            )
            if errors is not None:
                off = errors.loc[errors["part"] == scope, f"{angle}_error_mean_deg"].max()
                reason += f"; a unit's angle +- {off:.2f} from the sketch"
            name = f"language-visual angle, {bins_label(upper)}, q* {prior}, {str(scope).replace('_', ' ')}"
            rows.append(
                finding(GEOMETRY, name, "degrees", members[f"{angle}_mean_deg"].mean(), nan, nan, verdict, reason)
            )
    return rows


def _against_null(above: int, below: int, n_bins: int) -> str:
    """Say where the two gradients stand against unrelated tokens, by the numbers of bins above and below the null.

    >>> _against_null(3, 0, 3), _against_null(1, 0, 3), _against_null(0, 2, 3)
    ('conflict', 'conflict in 1 of 3 bins', 'agree in 2 of 3 bins')
    >>> _against_null(1, 2, 3), _against_null(0, 0, 3)
    ('conflict in 1, agree in 2 of 3 bins', 'as unrelated tokens')
    """
    counts = {"conflict": above, "agree": below}
    words = [word if n == n_bins else f"{word} in {n}" for word, n in counts.items() if n]
    partly = f" of {n_bins} bins" if any(0 < n < n_bins for n in counts.values()) else ""
    return ", ".join(words) + partly if words else "as unrelated tokens"


def _forecast(readings: pd.DataFrame) -> list[Row]:
    rows = []
    for prior in PRIORS:
        of_prior = readings[readings["prior"] == prior]
        rise = of_prior[of_prior["reading"] == "gamma_rise"].iloc[0]
        verdict = "not sure to rise" if rise["high"] == inf else ""
        verdict = CANNOT_TELL if says_nothing(rise) else verdict
        name = f"gamma from which the upper bins' language loss rises, q* {prior}"
        rows.append(finding(FORECAST, name, "", rise["estimate"], rise["low"], rise["high"], verdict))
        stops = of_prior[(of_prior["reading"] == "lambda_stop") & (of_prior["gamma"] == GAMMA)].iloc[0]
        name = f"lambda that stops it at gamma {GAMMA:g}, q* {prior}"
        verdict = CANNOT_TELL if says_nothing(stops) else ""
        rows.append(finding(FORECAST, name, "", stops["estimate"], stops["low"], stops["high"], verdict))
    return rows


def _trial(trial: pd.DataFrame) -> list[Row]:
    """What the steps of each setting changed in the upper bins."""
    question = f"what {trial['steps'].iloc[0]} real steps at rate {trial['lr'].iloc[0]:g} do"
    upper = trial[trial["bin"] == HIGH]
    rows = []
    for row, standard in zip(upper.to_dict("records"), is_standard(upper), strict=True):
        name = f"{row['loss']} loss of the upper bins, {setting_name(row['gamma'], row['lambda'], row['prior'])}"
        verdict = row["verdict"]
        reason = f"{MINUS_STANDARD} {signed(against_standard(row))}, margin {row['margin_nats']:.2g}"
        if standard:
            rises = row["loss"] == "language" and row["low_nats"] > 0.0
            verdict, reason = ("rises", SMALLER_RATE) if rises else ("", "")
        change, low, high = (row[f"{end}_nats"] for end in ("change", "low", "high"))
        rows.append(finding(question, name, "nats", change, low, high, verdict, reason))
    return rows


def _precision(rows: pd.DataFrame) -> list[Row]:
    kept = float(np.average(rows["same_bin_share"], weights=rows["n_tokens"]))
    worst = max(rows[f"{angle}_shift_mean_deg"].max() for angle in ANGLES)
    verdict = "fine" if kept >= 0.95 and not worst > 5.0 else "measure in a better dtype"
    return [
        finding(PRECISION, "tokens that keep their bin", "share", kept, verdict=verdict),
        finding(PRECISION, "largest mean shift of an angle in a bin", "degrees", worst),
    ]


def _strength(tables: Tables, evidence: Evidence, seed: int) -> list[Row]:
    """s and gamma with the interval that s gives it."""
    content, tokens = tables["content"], _pictured(tables)
    source, columns = (content, ["teacher_nats", "student_nats"])
    if not len(content):
        source, columns = tokens, ["vds_nats", "student_vds_nats"]

    def share(means: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return means[:, 0] / means.sum(axis=1)

    share_interval = bootstrap_of_mean(
        source[columns].to_numpy(copy=True), source["prompt_id"].to_numpy(str), share, seed=seed
    )
    factor = GAMMA_MOST * evidence.held_back
    return [
        finding(
            STRENGTH,
            "the teacher's share of the looking",
            "share",
            evidence.looking_share,
            share_interval.low,
            share_interval.high,
        ),
        finding(
            STRENGTH, "gamma by the rule", "", evidence.gamma, factor * share_interval.low, factor * share_interval.high
        ),
    ]


def _pictured(tables: Tables) -> pd.DataFrame:
    return tables["tokens"][tables["tokens"]["bin"] >= 0]


def _mean(rows: pd.DataFrame, column: str, seed: int) -> tuple[float, float, float]:
    """The mean with its interval over prompts."""
    interval = bootstrap_interval(rows[column].to_numpy(dtype=float), rows["prompt_id"].to_numpy(dtype=str), seed=seed)
    return interval.estimate, interval.low, interval.high


def _compatibility(analyzer: "Analyzer") -> list[Row]:
    """That the pair was loaded says most; what is left is worth a word."""
    question, pair, left_out = "do the two fit", analyzer.pair, sum(analyzer.asked.left_out.values())
    warnings = "; ".join(pair.warnings) or "no difference in template or preprocessing"
    rows = [
        finding(question, "ids that both hold", "", pair.n_ids, verdict="one tokenizer"),
        finding(question, "warnings", "", len(pair.warnings), verdict="see" if pair.warnings else "", reason=warnings),
    ]
    reason = ", ".join(f"{name}: {n}" for name, n in analyzer.asked.left_out.items() if n)
    return [*rows, finding(question, "prompts left out", "", left_out, reason=reason), *_refusals(analyzer, question)]


def _ends(tables: Tables) -> Row:
    """How many of the responses have no end."""
    share = float(tables["rollouts"]["truncated"].mean())
    reason = "what is measured says little of how responses end: raise `max_response`" if share > WARNED else ""
    return finding(ENDS, "truncated responses", "share", share, verdict="many" if reason else "few", reason=reason)


def _refusals(analyzer: "Analyzer", question: str) -> list[Row]:
    """What `python -m train` would refuse, a row for each model; none where it trains."""
    rollout = analyzer.rollouts[0]
    rows = []
    for side, loaded in (("student", analyzer.pair.student), ("teacher", analyzer.pair.teacher)):
        if reason := training_refusal(loaded, analyzer.views(rollout)[1], rollout.token_ids):
            rows.append(finding(question, f"training with this {side}", "", nan, verdict="refused", reason=reason))
    return rows
