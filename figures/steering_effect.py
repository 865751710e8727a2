"""Does the angle predict the effect? What an arm changes against the angle between standard and steered gradient.

    python -m figures figures/gallery/phases steering_effect

Reads the table `phases` of a record written by `python -m study.phases`. One point for each pair and arm, with its
95 % interval: the difference between the arm and standard distillation in the change of a loss in bins 7-9. The angle
lies between the standard gradient and standard plus 2 visual, before the first step; preservation has no part in it.
The arms of a pair have the same angle and stand side by side. The cross is the identity's prediction: without a
language gap the two gradients have one direction, and the difference is 0.
"""

from matplotlib.figure import Figure

from figures import panels
from figures.fitting import finish
from figures.phase_diagram import against_standard, unit_words
from figures.style import INK, NULL_GREY, arm_colour, styled
from records import Measurement

APART_DEG = 0.7  # between the arms of one pair, whose angle is the same


def draw(record: Measurement, quantity: str = "standard") -> Figure:
    """Draw the differences against the angle, one colour for each arm.

    Raises:
        RecordError: there is no such quantity, or no pair.
    """
    rows = against_standard(record, quantity)
    with styled():
        figure, [ax] = panels.grid(1, 1, (2.6,))
        ax.axhline(0, color=NULL_GREY, linewidth=0.9, zorder=1)
        ax.axvspan(0, 10, color=NULL_GREY, alpha=0.12, linewidth=0)
        ax.plot([0], [0], marker="x", color=INK, ls="none", ms=7, label="identity: no language gap", zorder=5)
        n_arms = rows["arm"].nunique()
        for number, (arm, own) in enumerate(rows.groupby("arm", sort=False)):
            colour, x = arm_colour(str(arm)), own["steered_deg"] + APART_DEG * (number - (n_arms - 1) / 2)
            panels.interval(ax, x, own["low"], own["high"], colour=colour)
            ax.plot(x, own["difference"], marker="o", ls="none", color=colour, label=arm, zorder=4)
        ax.set_xlim(left=-0.5)
        ax.set_xlabel("angle between standard and standard + 2 visual (degrees); grey: below 10")
        ax.set_ylabel(f"arm \u2212 standard: {unit_words(quantity)}")
        ax.legend()
        finish(figure, "The effect of steering against the angle to standard", "angles before the first step")
    return figure
