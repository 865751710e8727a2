"""The explorer of a forecast: sliders for gamma, lambda and the prior of a step, in a browser or in a notebook.

    python -m figures runs/sensitivity-0123456789ab
    python -m figures runs/sensitivity-0123456789ab explorer --out folder

Reads the tables `sensitivity`, `direction_products` and `tokens` of a record written by `python -m probes.sensitivity`
or `probes.diagnose`; writes `explorer.html`, one file that needs no network. To first order the losses after a step are
linear in the directions of the objectives, so every setting follows from sums that the page holds. It shows the
predicted change of each loss by VDS bin with its 95 % interval over prompts, eta, and the angle to each objective. A
click on a bin lists its tokens, with their pictures where the record holds them. Steps that a diagnosis has tried stand
as points over the forecast.

In a notebook, as the last line of a cell:

    from figures.explorer import Explorer
    Explorer(measured)
"""

from figures.explorer.cell import Explorer
from figures.explorer.page import content, text

__all__ = ["Explorer", "content", "text"]
