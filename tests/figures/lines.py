"""What is found in drawn panels."""

from matplotlib.colors import same_color


def line(ax, label):
    """The one line of a label."""
    [found] = [drawn for drawn in ax.lines if drawn.get_label() == label]
    return found


def labels(ax):
    """The names of the lines that have one."""
    return [drawn.get_label() for drawn in ax.lines if not drawn.get_label().startswith("_")]


def in_colour(ax, colour):
    """The lines of a colour."""
    return [drawn for drawn in ax.lines if same_color(drawn.get_color(), colour)]


def panels_overlap(figure):
    """Whether two panels, with their names and ticks, share a spot, or a panel and the legend."""
    figure.draw_without_rendering()
    boxes = [legend.get_window_extent() for legend in figure.legends]
    boxes += [ax.get_tightbbox() for ax in figure.axes if ax.axison]
    return any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[i + 1 :])
