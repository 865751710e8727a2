"""Facts that stand among the findings: accuracy with and without the picture, the steered angle, what was not asked."""

from collections.abc import Mapping
from math import nan

import numpy as np
import pandas as pd

from geometry import Gram
from geometry.gram import NEAR_STANDARD_DEG
from geometry.objective_settings import GAMMA
from probes.diagnosis.evidence import Evidence
from probes.diagnosis.finding import Row, finding
from probes.stages.forecast import gram_of
from probes.stages.steering import is_near
from probes.stages.tables import gram_of_rows
from records.tables.diagnosis import PICTURE_ANSWERS
from stats import Interval, bootstrap_of_mean, share_interval

Tables = Mapping[str, pd.DataFrame]
RIGHT, NOT_ASKED = "how often are they right", "what was not asked"
NEAR = f"the steered direction stands within {NEAR_STANDARD_DEG:g} degrees of standard: little to expect"


def accuracy_rows(tables: Tables) -> list[Row]:
    """Return one row for each model and view: the share of right greedy answers; none where none was asked."""
    answers = tables.get(PICTURE_ANSWERS.name, pd.DataFrame())
    rows = []
    if len(answers):
        for (side, with_picture), members in answers.groupby(["side", "with_picture"], sort=False):
            share = share_interval(members["correct"].to_numpy(bool), members["prompt_id"].to_numpy(str))
            name = f"{side}, {'with' if with_picture else 'without'} the picture"
            reason = f"greedy answers to {len(members)} prompts with a picture"
            rows.append(finding(RIGHT, name, "share", share.estimate, share.low, share.high, "", reason))
    return rows


def steered_angle_row(question: str, tables: Tables, evidence: Evidence, seed: int) -> list[Row]:
    """Return the row of the angle between standard and the steered direction; none without gradients.

    From the mean Gram matrix of the probed units, with its interval over prompts; where the geometry was left out, from
    the directions of the forecast.
    """
    gamma = evidence.gamma if evidence.gamma > 0.0 else GAMMA
    if "grams" in tables and "units" in tables:
        angle = pooled_angle(tables["grams"], tables["units"], gamma, seed)
        source = "mean Gram matrix of the probed units, all parameters"
    elif "direction_products" in tables:
        value = float(gram_of(tables["direction_products"]).angle_to_steered_deg(gamma))
        angle, source = Interval(nan, nan, value), "gradients of the forecast, all parameters"
    else:
        return []
    near = is_near(angle.estimate)
    reason = f"{source}; {NEAR}" if near else source
    name = f"angle between standard and standard + {gamma:.3g} visual"
    verdict = "little to expect" if near else ""
    return [finding(question, name, "degrees", angle.estimate, angle.low, angle.high, verdict, reason)]


def pooled_angle(grams: pd.DataFrame, units: pd.DataFrame, gamma: float, seed: int) -> Interval:
    """Return the angle between standard and standard + gamma visual, of the mean Gram matrix over units, in degrees.

    The interval resamples prompts.

    Args:
        grams: the table `grams`, summed here over all groups of parameters.
        units: the table `units`, which names the prompt of each unit.
    """
    entries = grams.drop(columns="group").groupby("unit_id", sort=True).sum().reset_index()
    prompts = units.drop_duplicates("unit_id").set_index("unit_id")["prompt_id"].loc[entries["unit_id"]]

    def angles(means: np.ndarray) -> np.ndarray:
        return Gram(means).angle_to_steered_deg(gamma)

    return bootstrap_of_mean(gram_of_rows(entries).values, prompts.to_numpy(str), angles, seed=seed)


def not_asked_rows(reasons: Mapping[str, str]) -> list[Row]:
    """Return a row for each question that was left out, with the reason."""
    return [finding(NOT_ASKED, name, "", nan, verdict="not asked", reason=why) for name, why in reasons.items()]
