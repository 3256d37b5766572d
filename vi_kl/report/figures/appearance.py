"""The look of the figures: colours, dashes, and settings of matplotlib that hold within a context."""

import io

import matplotlib
from matplotlib.figure import Figure

from vi_kl.algorithms.method import BROWN, GREY, PURPLE, SKY
from vi_kl.algorithms.registry import METHODS

INK, QUIET, FILL = "#222222", "#767676", "#d9d9d9"
PATTERNS = {"solid": "-", "dashed": (0, (5, 2)), "dotted": (0, (1, 1)), "dash_dot": (0, (4, 1, 1, 1))}
OTHERS = (SKY, PURPLE, BROWN, GREY)  # of guides, and of methods whose entry names no colour


def style():
    """Return a context manager that sets the style of figures: `with plots.style(): figure = ...`."""
    return matplotlib.rc_context(
        {
            "font.size": 10,
            "font.family": "sans-serif",
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": QUIET,
            "axes.labelcolor": INK,
            "text.color": INK,
            "xtick.color": QUIET,
            "ytick.color": QUIET,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "legend.frameon": False,
            "svg.fonttype": "none",
            "savefig.dpi": 150,
        }
    )


class ShownFigure(Figure):
    """A figure that a notebook shows although pyplot does not know it."""

    def _repr_png_(self):
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()


def subplots(rows: int = 1, columns: int = 1, *, figsize, **kwargs):
    """Make a figure and axes as pyplot's `subplots` does, without pyplot's global list of figures."""
    figure = ShownFigure(figsize=figsize, layout="constrained")
    return figure, figure.subplots(rows, columns, **kwargs)


def colour(name: str) -> str:
    """Return the colour of a method's lines and points: that of its registry entry, or one chosen by its name."""
    known = METHODS[name].colour if name in METHODS else None
    return known or OTHERS[sum(map(ord, name)) % len(OTHERS)]


def dash(name: str):
    """Return the dashes of a method's lines, as matplotlib takes them."""
    return PATTERNS[METHODS[name].dash if name in METHODS else "solid"]
