"""Where the forecast holds: predicted against measured change, and the error of the forecast by learning rate.

    python -m figures runs/sensitivity-0123456789ab forecast_reach
    python -m figures figures/gallery/sensitivity forecast_reach --style page --out pictures

Reads the tables `step_changes` and `step_fits` of a record written by `python -m probes.sensitivity --check`, which
takes real steps. Each point of (a) is one VDS bin, loss, step and rate; on the dotted line the forecast is exact. Its
points are filled where the relative error over the bins is below the line of (b): there first order holds.
"""

from matplotlib.figure import Figure

from figures import captions, panels
from figures.fitting import finish
from figures.sensitivity import draw_error, draw_steps
from figures.sheets import sheet
from figures.style import styled
from records import Measurement


def draw(record: Measurement) -> Figure:
    """Draw the steps that were taken against their forecasts."""
    changes, fits = record.table("step_changes"), record.table("step_fits")
    with styled():
        figure, (left, right) = panels.grid(2, sheet().across(2), (2.2,))
        draw_steps(left, changes, fits)
        left.set_title("(a) steps taken, one point per bin")
        draw_error(right, fits)
        right.set_title("(b) relative error of the forecast")
        finish(figure, "Where the forecast holds", captions.pair(record), captions.metric(record))
    return figure
