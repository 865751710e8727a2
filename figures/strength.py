"""Figures 5 and 8 of arXiv:2606.00564: accuracy against the strength of steering and of preservation.

    python -m figures figures/gallery/study strength
    python -m figures RECORD strength --group low --out pictures

Reads the table `effects` and the flags of the runs in the header of a record written by `python -m study.effects`.

(a) gamma: language steering to the left, visual steering to the right, standard distillation at 0. The paper shows this
at lambda = 0.01; here `vgs`, which has no preservation term, is drawn as well as `vgs-lp`. (b) lambda, at gamma = 2;
`vgs` has lambda 0. The axis is the difference from standard distillation. Levels cannot be compared with the paper's,
whose benchmarks and models are others. Bars are 95 % intervals over seeds, small ticks the least and the greatest seed
minus the mean of standard. The title names the arms of the paper's figures that the record lacks. Arms with another
form of a term (q* attached, Eq. 21 as printed) and with gamma by token are not drawn.

Below each gamma of visual steering stands 1 / (1 + gamma). Visual steering distils toward a teacher whose language
prior has this weight (docs/theory.md). So the effect of gamma saturates, while the student's own prior stands still.
Language steering changes the target of the image view through lambda alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import arms as study
from figures import panels
from figures.accuracy import against_standard
from figures.fitting import finish
from figures.selection import check_choice
from figures.sheets import sheet
from figures.style import DASHED, INK, PAPER_INK, arm_colour, styled
from geometry.objective_settings import GAMMA, LAMBDA
from records import Measurement, RecordError

FAMILIES = {"language-steering": -1, "vgs": 1, "vgs-lp": 1}  # objective, and the sign that its gamma is drawn with
# Points of difference from standard, 43.74 of the 2B and 56.64 of the 4B student, read off Figures 5 and 8.
PUBLISHED_GAMMA = {-3: -1.24, -2: -0.74, -1: -1.24, 0: 0.0, 1: 1.26, 2: 2.36, 3: 2.76, 4: 2.76}
PUBLISHED_LAMBDA = {0.0: 0.16, 0.01: 1.56, 0.1: 0.66}
SPREAD = 0.09  # between the families at one place


@dataclass(frozen=True)
class Steered:
    """An arm with one gamma for all tokens."""

    arm: str
    objective: str
    gamma: float
    lambda_: float

    @property
    def signed_gamma(self) -> float:
        return FAMILIES[self.objective] * self.gamma


def steered_arms(record: Measurement) -> list[Steered]:
    """Return the arms that stand in the figure, by the flags of their runs."""
    steered = []
    for arm, flags in study.settings_of(record).items():
        usual_form = flags["prior"] == "detached" and flags["vp"] == "gated"
        if flags["objective"] in FAMILIES and usual_form:
            steered.append(_steered(arm, flags))
    return steered


def _steered(arm: str, flags: Mapping[str, Any]) -> Steered:
    objective = str(flags["objective"])
    lambda_ = 0.0 if objective == "vgs" else float(flags["lambda_"])
    return Steered(arm, objective, float(flags["gamma"]), lambda_)


def measured(record: Measurement, group: str) -> pd.DataFrame:
    """Return each arm's difference from standard in percentage points, with its gamma and lambda."""
    arms = [
        {"arm": one.arm, "objective": one.objective, "gamma": one.signed_gamma, "lambda": one.lambda_}
        for one in steered_arms(record)
    ]
    effects = against_standard(record.table("effects"), group).set_index("arm")
    percent = 100.0 * effects[["difference", "low", "high", "least", "greatest"]]
    places = pd.DataFrame(arms, columns=["arm", "objective", "gamma", "lambda"])
    return places.join(percent.assign(n_seeds=effects["n_seeds"]), on="arm", how="inner")


def against_gamma(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what stands in the panel of gamma: without preservation, or with the paper's lambda."""
    return rows[(rows["objective"] == "vgs") | (rows["lambda"] == LAMBDA)]


def against_lambda(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what stands in the panel of lambda: visual steering at the paper's gamma."""
    return rows[rows["gamma"] == GAMMA]


def missing(rows: pd.DataFrame) -> list[str]:
    """Name the places of the paper's two figures where the record has no arm."""
    gammas, lambdas = set(against_gamma(rows)["gamma"]), set(against_lambda(rows)["lambda"])
    words = [
        f"{'language' if gamma < 0 else 'visual'} \u03b3 = {abs(gamma)}"
        for gamma in PUBLISHED_GAMMA
        if gamma and gamma not in gammas
    ]
    return words + [f"\u03bb = {value:g}" for value in PUBLISHED_LAMBDA if value not in lambdas]


def draw_points(ax: Axes, rows: pd.DataFrame, places: Sequence[float]) -> None:
    """Draw differences with their intervals and the ends over seeds."""
    for place, row in zip(places, rows.to_dict("records"), strict=True):
        colour = arm_colour(row["objective"])
        panels.interval(ax, [place], [row["low"]], [row["high"]], colour=colour)
        ends = [row["least"], row["greatest"]] if row["n_seeds"] > 1 else []
        ax.plot([place] * len(ends), ends, ls="none", marker="_", color=colour, ms=9, mew=0.8, alpha=0.7)
        ax.plot([place], [row["difference"]], ls="none", marker="o", color=colour, ms=5, zorder=4)


def gamma_words(signed_gamma: int) -> str:
    """Return the label of a gamma: of visual steering with the weight of the teacher's prior below it.

    >>> gamma_words(2), gamma_words(0), gamma_words(-2)
    ('2\\n1/3', '0\\n1', '2')
    """
    if signed_gamma < 0:
        return str(-signed_gamma)
    return f"{signed_gamma}\n{Fraction(1, 1 + signed_gamma)}"


def draw_gamma(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the differences against gamma; the families stand side by side."""
    shown = against_gamma(rows)
    aside = {"vgs": -SPREAD, "vgs-lp": SPREAD}
    places = [row["gamma"] + aside.get(row["objective"], 0.0) for row in shown.to_dict("records")]
    draw_points(ax, shown, places)
    ax.plot([0], [0], ls="none", marker="o", color=arm_colour(study.STANDARD), ms=5, zorder=4)
    panels.published_points(ax, list(PUBLISHED_GAMMA), list(PUBLISHED_GAMMA.values()))
    ax.set_xticks(range(-3, 5), [gamma_words(gamma) for gamma in range(-3, 5)])
    ax.set_xlabel("\u2190 language     steering \u03b3     visual \u2192\nbelow \u03b3: 1 / (1 + \u03b3)")
    ax.set_title("(a) strength of the steering")


def draw_lambda(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the differences of visual steering against lambda, evenly spaced."""
    shown = against_lambda(rows)
    values = sorted({*PUBLISHED_LAMBDA, *shown["lambda"]})
    draw_points(ax, shown, [values.index(value) for value in shown["lambda"]])
    panels.published_points(ax, [values.index(value) for value in PUBLISHED_LAMBDA], list(PUBLISHED_LAMBDA.values()))
    ax.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    ax.set_xlim(-0.5, len(values) - 0.5)
    ax.set_xlabel(f"\u03bb of language preservation, at \u03b3 = {GAMMA:g}")
    ax.set_title("(b) strength of the preservation")


def legend_entries(rows: pd.DataFrame) -> list[Line2D]:
    """Return one handle for each kind of mark that is drawn."""
    names = {"standard": "standard"} | {name: name for name in FAMILIES if name in set(rows["objective"])}
    if "vgs" in names:
        names["vgs"] = "vgs: no preservation"
    marks = [Line2D([], [], color=arm_colour(arm), marker="o", ls="none", label=label) for arm, label in names.items()]
    marks.append(Line2D([], [], color=INK, marker="|", ls="none", ms=8, label="95 % interval over seeds"))
    if (rows["n_seeds"] > 1).any():
        marks.append(Line2D([], [], color=INK, marker="_", ls="none", ms=8, label="least and greatest seed"))
    return [*marks, Line2D([], [], color=PAPER_INK, lw=1.1, ls=DASHED, label="paper: other models and benchmarks")]


def draw(record: Measurement, group: str = "high") -> Figure:
    """Draw the differences from standard on one group of scenes.

    Raises:
        RecordError: no steered arm was compared with standard.
    """
    check_choice("group", group, study.GROUPS)
    rows = measured(record, group)
    if rows.empty:
        raise RecordError(f"`{record.path}` lacks a steered arm or standard: train with `--arms standard vgs-lp`")
    standard = against_standard(record.table("effects"), group)["mean_against"].iloc[0]
    with styled():
        ratios = {} if sheet().narrow else {"width_ratios": (1.7, 1)}
        figure, axes = panels.grid(2, sheet().across(2), (2.3,), sharey=True, **ratios)
        for ax, panel in zip(axes, (draw_gamma, draw_lambda), strict=True):
            ax.axhline(0, color=arm_colour(study.STANDARD), linewidth=0.9, zorder=1)
            panel(ax, rows)
        for ax in axes[: 2 if sheet().narrow else 1]:
            ax.set_ylabel("difference from standard (percentage points)")
        absent = missing(rows)
        note = f"not in this record: {', '.join(absent)}" if absent else ""
        words = (f"group {group}", f"standard distillation: {100 * standard:.1f} % right", note)
        title = "Accuracy against the strength of steering and preservation"
        finish(figure, title, *words, handles=legend_entries(rows))
    return figure
