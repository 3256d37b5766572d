"""The look of the figures: colours, dashes, and settings of matplotlib that hold within a context."""

import contextlib
import io
from collections.abc import Iterator

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from vi_kl.algorithms.method import BROWN, GREY, PURPLE, SKY
from vi_kl.algorithms.registry import METHODS
from vi_kl.core.languages import speaking
from vi_kl.report.figures.languages import font_settings

INK, QUIET, FILL = "#222222", "#767676", "#d9d9d9"
PATTERNS = {"solid": "-", "dashed": (0, (5, 2)), "dotted": (0, (1, 1)), "dash_dot": (0, (4, 1, 1, 1))}
OTHERS = (SKY, PURPLE, BROWN, GREY)  # of guides, and of methods whose entry names no colour


def style(language: str = "en") -> contextlib.AbstractContextManager[None]:
    """Return a context manager that sets the style of figures: `with plots.style(): figure = ...`.

    Args:
        language: "en", or "zh" for words in Chinese and a font that has its characters.

    Raises:
        NoFontError: no such font is installed; the message says where there is one.
        ValueError: another language.
    """
    settings = {
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
        "svg.hashsalt": "vi_kl",  # the same figure is the same text
        "savefig.dpi": 150,
        **font_settings(language),
    }
    return in_style(settings, language)


@contextlib.contextmanager
def in_style(settings: dict, language: str) -> Iterator[None]:
    """Draw by settings of matplotlib, with words in a language, within a context."""
    with speaking(language), matplotlib.rc_context(settings):
        yield


class ShownFigure(Figure):
    """A figure that a notebook shows although pyplot does not know it."""

    def _repr_png_(self):
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()


def subplots(rows: int = 1, columns: int = 1, *, figsize, **kwargs):
    """Make a figure and axes as pyplot's `subplots` does, without pyplot's global list of figures."""
    figure = ShownFigure(figsize=figsize, layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)  # the last number of one axis stays clear of the first of the next
    return figure, figure.subplots(rows, columns, **kwargs)


class LogTicks(ticker.Locator):
    """Ticks of a log axis that has few decades, or one, or a part of one: as many as have room for their numbers.

    Attributes:
        DECADES: the number of decades above which the ticks are powers of ten.
        STEPS: the number above which they are 1, 2 and 5 times those, and below which they are round numbers.
    """

    DECADES, STEPS = 2.5, 0.9

    def __call__(self):
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin, vmax):
        low, high = sorted((vmin, vmax))
        decades = np.log10(high / low)
        if decades > self.DECADES:
            return ticker.LogLocator(numticks=12).tick_values(low, high)
        if decades > self.STEPS:
            return ticker.LogLocator(subs=(1.0, 2.0, 5.0), numticks=12).tick_values(low, high)
        ticks = ticker.MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
        return ticks[ticks > 0]


def label_log_axis(axis: Axis) -> None:
    """Give a log axis ticks whose numbers do not touch, however many decades it has: powers, or plain numbers."""
    power = ticker.LogFormatterMathtext()
    power.set_axis(axis)

    def number(value, place):
        low, high = sorted(axis.get_view_interval())
        if np.log10(high / low) > LogTicks.DECADES:
            return power(value, place)
        return f"{value:,.0f}" if 1000 <= value < 1e7 else f"{value:.3g}"

    axis.set_major_locator(LogTicks())
    axis.set_major_formatter(number)
    axis.set_minor_formatter(ticker.NullFormatter())


def colour(name: str) -> str:
    """Return the colour of a method's lines and points: that of its registry entry, or one chosen by its name."""
    known = METHODS[name].colour if name in METHODS else None
    return known or OTHERS[sum(map(ord, name)) % len(OTHERS)]


def dash(name: str):
    """Return the dashes of a method's lines, as matplotlib takes them."""
    return PATTERNS[METHODS[name].dash if name in METHODS else "solid"]
