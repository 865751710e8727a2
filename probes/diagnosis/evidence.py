"""The evidence that the rules of a diagnosis read, and what they call blind.

The thresholds are choices of this project.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from probes.diagnosis.trial import Trial, trial_of

if TYPE_CHECKING:
    import pandas as pd

BLIND_NATS = 1e-3  # a dependence on the picture up to which a model is blind; of the mean over tokens
BLIND_SHARE = 0.05  # ... or of the other model's
PRESENCE_SHARE = 0.1  # of VDS: a content control up to which a model reacts to the presence of a picture only
GAMMA_MOST = 2.5
NO_LANGUAGE_GAP = 0.01  # of the gap: language up to which teacher and student have one language prior
LITTLE_LANGUAGE_GAP = 0.05  # ... below which it holds gamma back


@dataclass(frozen=True)
class Evidence:
    """What the rule reads: means over the response tokens of prompts with a picture, in nats."""

    standard_nats: float
    language_nats: float
    visual_nats: float
    vds_nats: float
    student_vds_nats: float
    content_nats: float = math.nan
    """The teacher's content control; nan without partners."""
    student_content_nats: float = math.nan
    has_forecast: bool = False
    """Whether a first step was forecast."""
    gamma_rise: Mapping[str, float] = field(default_factory=dict)
    """By prior, the gamma from which the language loss of the upper bins surely rises; missing where the forecast
    cannot tell, its interval running from 0 to infinity."""
    lambda_stop: Mapping[tuple[str, float], float] = field(default_factory=dict)
    """By prior and gamma, the least lambda that stops it; missing where the forecast cannot tell."""
    trial: Trial | None = None
    """Real steps, where some were taken."""

    @property
    def teacher_looks_nats(self) -> float:
        return self.vds_nats if math.isnan(self.content_nats) else self.content_nats

    @property
    def student_looks_nats(self) -> float:
        return self.student_vds_nats if math.isnan(self.content_nats) else self.student_content_nats

    @property
    def teacher_is_blind(self) -> bool:
        return self.vds_nats <= max(BLIND_NATS, BLIND_SHARE * self.student_vds_nats)

    @property
    def student_is_blind(self) -> bool:
        return self.student_looks_nats <= max(BLIND_NATS, BLIND_SHARE * self.teacher_looks_nats)

    @property
    def sees_presence_only(self) -> bool:
        return self.content_nats <= PRESENCE_SHARE * self.vds_nats  # never of nan

    @property
    def looking_share(self) -> float:
        """s: the teacher's share of the looking."""
        total = self.teacher_looks_nats + self.student_looks_nats
        return self.teacher_looks_nats / total if total > 0 else 0.0

    @property
    def visual_share(self) -> float:
        """v: the visual part of the gap."""
        total = self.visual_nats + self.language_nats
        return self.visual_nats / total if total > 0 else 0.0

    @property
    def held_back(self) -> float:
        """How much of gamma the shares of the gap leave: all of it, except where nearly all is one of the two.

        Without a gap in language the steered gradient is standard's times 1 + gamma, so that gamma changes nothing
        under Adam: a visual share of 1 leaves none.
        """
        return min(1.0, 2.0 * self.visual_share, (1.0 - self.visual_share) / LITTLE_LANGUAGE_GAP)

    @property
    def gamma(self) -> float:
        """Before it is rounded, and before the forecast is asked."""
        return GAMMA_MOST * self.looking_share * self.held_back


def says_nothing(reading: Any) -> bool:
    """Return whether the interval of a row of the table `readings` runs from 0 to infinity."""
    return bool(reading["low"] <= 0.0 and reading["high"] == math.inf)


def evidence_of(tables: Mapping[str, "pd.DataFrame"]) -> Evidence:
    """Return what the rules read, from `tokens`, `content` and, where it is there, `readings`."""
    means = tables["tokens"][tables["tokens"]["bin"] >= 0].filter(like="_nats").mean()
    content = tables["content"]
    rise: dict[str, float] = {}
    stop: dict[tuple[str, float], float] = {}
    readings = tables["readings"].to_dict("records") if "readings" in tables else []
    for row in readings:
        if says_nothing(row):
            continue
        if row["reading"] == "gamma_rise":
            rise[row["prior"]] = row["high"]  # 95 % of resampled prompts agree from here on
        else:
            stop[row["prior"], row["gamma"]] = row["estimate"]
    return Evidence(
        standard_nats=float(means["kl_standard_nats"]),
        language_nats=float(means["kl_language_nats"]),
        visual_nats=float(means["kl_visual_nats"]),
        vds_nats=float(means["vds_nats"]),
        student_vds_nats=float(means["student_vds_nats"]),
        content_nats=float(content["teacher_nats"].mean()) if len(content) else math.nan,
        student_content_nats=float(content["student_nats"].mean()) if len(content) else math.nan,
        has_forecast=bool(readings),
        gamma_rise=rise,
        lambda_stop=stop,
        trial=trial_of(tables["trial"]) if "trial" in tables else None,
    )
