"""Figures of fits and comparisons. Each function draws on the axes it is given and returns them.

Nothing here changes matplotlib's settings: the look comes from `style()`, a context for the caller to use.
"""

import itertools
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter1d

from vi_kl.algorithms.algorithm import Fit
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.estimate import UNITS

INK, QUIET, FILL = "#222222", "#767676", "#d9d9d9"
# Okabe & Ito's palette, which stays apart for colour-blind readers
COLOURS = {
    "laplace": "#E69F00",
    "mean_field": "#0072B2",
    "full_rank": "#009E73",
    "flow": "#CC79A7",
    "moment_matching": "#D55E00",
}
OTHERS = ("#56B4E9", "#7B5EA7", "#8C6D31", "#444444")
DASHES = {"laplace": (0, (1, 1)), "mean_field": (0, (5, 2)), "moment_matching": (0, (4, 1, 1, 1))}
FLOOR = 1e-7  # nats; smaller divergences are drawn here, at the axis


def style():
    """A context manager: with plots.style(): figure = ..."""
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


def subplots(rows: int = 1, columns: int = 1, *, figsize, **kwargs):
    """Like pyplot's `subplots`, without pyplot's global list of figures."""
    figure = Figure(figsize=figsize, layout="constrained")
    return figure, figure.subplots(rows, columns, **kwargs)


def label(name: str) -> str:
    return name.replace("_", " ")


def colour(name: str) -> str:
    return COLOURS.get(name, OTHERS[sum(map(ord, name)) % len(OTHERS)])


def dash(name: str):
    return DASHES.get(name, "-")


def plot_trace(ax: Axes, fits: Sequence[Fit], log_evidence: float | None, unit: str) -> Axes:
    """How far each ELBO is below the log evidence, by step: that distance is KL(q||posterior).

    The vertical axis is linear up to a tenth and logarithmic above, because the estimates scatter around zero at
    the end. Without a log evidence the loss itself is drawn.
    """
    for fit in fits:
        if not len(fit.history.loss):
            continue
        steps, loss = averaged_by_step(fit.history.loss)
        distance = (loss + (log_evidence or 0.0)) / UNITS[unit]
        ax.plot(steps, distance, color=colour(fit.name), linewidth=1.3, label=label(fit.name))
    ax.axhline(0, color=QUIET, linewidth=0.8)
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=0.1, linscale=0.8)
    ax.set(xlabel="gradient step", ylabel=f"log evidence − ELBO [{unit}]", ylim=(-0.1, None))
    return ax


def averaged_by_step(loss: np.ndarray, bins: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Mean losses over bins that grow with the step, so that a log axis shows even noise throughout."""
    edges = np.unique(np.geomspace(1, len(loss) + 1, bins).astype(int)) - 1
    pieces = [(0.5 * (a + b + 1), loss[a:b].mean()) for a, b in itertools.pairwise(edges)]
    return tuple(np.array(pieces).T)


def plot_marginal(ax: Axes, exact: np.ndarray, draws: dict[str, np.ndarray], xlabel: str) -> Axes:
    """The exact posterior of one number, filled, with the density of every q over it."""
    values = np.concatenate([exact, *draws.values()])
    x = np.linspace(*np.quantile(values, [0.0005, 0.9995]), 1000)
    curve = density(exact, x)
    ax.fill_between(x, curve, color=FILL, linewidth=0, label="exact posterior")
    top = curve.max()
    for name, values in draws.items():
        curve = density(values, x)
        ax.plot(x, curve, color=colour(name), linestyle=dash(name), linewidth=1.5, label=label(name))
        top = max(top, curve.max())
    ax.set(xlabel=xlabel, yticks=[], ylim=(0, 1.08 * top))
    ax.spines["left"].set_visible(False)
    return ax


def density(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A kernel density of many draws on an even grid: a fine histogram, smoothed.

    The bandwidth follows the narrowest lump (the shortest interval that holds a fifth of the draws), so that
    separate modes are not smeared into one another.
    """
    ordered, fifth = np.sort(values), len(values) // 5
    sd = (ordered[fifth:] - ordered[:-fifth]).min() / 0.507  # in a normal it is 0.507 sd wide
    step = x[1] - x[0]
    edges = np.append(x, x[-1] + step) - step / 2
    counts = np.histogram(values, edges)[0] / (len(values) * step)
    return gaussian_filter1d(counts, 0.9 * sd * len(values) ** -0.2 / step, mode="constant")


def plot_many_means(ax: Axes, means, sds, draws: dict[str, np.ndarray], xlabel: str) -> Axes:
    """For a vector site: q's error of each mean in posterior sd, with the exact interval of ±1 sd behind it."""
    positions = np.arange(len(means))
    ax.fill_between([-0.6, len(means) - 0.4], -1, 1, color=FILL, linewidth=0, label="exact posterior ±1 sd")
    offsets = np.linspace(-0.28, 0.28, len(draws))
    for offset, (name, values) in zip(offsets, draws.items(), strict=True):
        centre = (values.mean(axis=0) - means) / sds
        ax.errorbar(
            positions + offset, centre, yerr=values.std(axis=0) / sds, fmt="o", markersize=3, linewidth=1.2,
            color=colour(name), label=label(name),
        )  # fmt: skip
    ax.set(xlabel=xlabel, ylabel="posterior sd from the exact mean", xticks=positions, ylim=(-1.6, 1.6))
    ax.set_xlim(-0.6, len(means) - 0.4)
    return ax


def plot_extra_bits(ax: Axes, certificates: Sequence[Certificate], unit: str) -> Axes:
    """KL(q||posterior) of each approximation, on a log scale with its 95% interval: the bits q adds."""
    for row, c in enumerate(reversed(certificates)):
        kl = c.reverse_kl.to(unit)
        low, high = kl.interval(0.95)
        left, right = max(low, FLOOR), max(high, FLOOR)
        ax.plot([left, right], [row, row], color=colour(c.name), linewidth=3, alpha=0.35, solid_capstyle="butt")
        ax.plot(max(kl.value, FLOOR), row, "o", color=colour(c.name), markersize=6)
    ax.set(xscale="log", xlabel=f"KL(q||posterior) [{unit}]", ylim=(-0.6, len(certificates) - 0.4))
    ax.set_yticks(range(len(certificates)), [label(c.name) for c in reversed(certificates)])
    ax.xaxis.set_major_locator(ticker.LogLocator(numticks=12))
    ax.grid(axis="x", color=FILL, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax
