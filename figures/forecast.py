"""What the forecast says: how one step would change the language and the visual loss, by the strength of the steering.

    python -m figures runs/sensitivity-0123456789ab forecast
    python -m figures runs/sensitivity-0123456789ab forecast --prior attached --style column --no-title

Reads the tables `forecast` and `readings` of a record written by `python -m probes.sensitivity`. The step is standard +
gamma visual + lambda gated language (vgs-lp, arXiv:2606.00564, Eq. 17). Changes are for a learning rate of one, on
prompts that made no step. Bands are 95 % intervals over prompts. `forecast_reach` shows up to which rate this holds;
`sensitivity` has all panels.
"""

from matplotlib.figure import Figure

from figures import captions, panels
from figures.fitting import finish
from figures.sensitivity import draw_by_gamma, prompts, rise, rows_of
from figures.sheets import sheet
from figures.style import styled
from records import Measurement


def draw(record: Measurement, prior: str = "detached") -> Figure:
    """Draw the change of both losses against gamma, for one kind of q*.

    Raises:
        RecordError: there is no such kind.
    """
    rows = rows_of(record, "forecast", prior)
    with styled():
        figure, axes = panels.grid(2, sheet().across(2), (1.9,))
        for ax, letter, loss in zip(axes, "ab", ("language", "visual"), strict=True):
            draw_by_gamma(ax, rows, loss)
            ax.set_title(f"({letter}) {loss} loss")
        title = f"What one step of standard + gamma visual would change, q* {prior}"
        words = (captions.pair(record), prompts(record), rise(record, prior), captions.metric(record))
        finish(figure, title, *words)
    return figure
