"""Figures of fits and comparisons. Each function draws on the axes it is given and returns them.

Nothing here changes matplotlib's settings: the look comes from `style()`, a context for the caller to use.
"""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from vi_kl.algorithms.algorithm import Fit
from vi_kl.diagnostics.certificate import Certificate

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


def plot_trace(ax: Axes, fits: Sequence[Fit], log_evidence: float | None, factor: float, unit: str) -> Axes:
    """ELBO by step against the log evidence: the space between them is KL(q||posterior).

    The vertical axis is the distance below the evidence, on a log scale, so that the last hundredths show.
    """
    reference = log_evidence if log_evidence is not None else 0.0
    for fit in fits:
        loss = fit.history.loss
        if not len(loss):
            continue
        window = max(1, len(loss) // 150)
        blocks = loss[: len(loss) // window * window].reshape(-1, window).mean(axis=1)
        gap = np.maximum(blocks + reference, FLOOR) / factor
        steps = (np.arange(len(blocks)) + 0.5) * window
        ax.plot(steps, gap, color=colour(fit.name), linewidth=1.1, label=label(fit.name))
    ax.set(xscale="log", yscale="log", xlabel="gradient step", ylabel=f"log evidence − ELBO [{unit}]")
    return ax


def plot_marginal(ax: Axes, exact: np.ndarray, draws: dict[str, np.ndarray], xlabel: str) -> Axes:
    """The exact posterior of one number, filled, with the density of every q over it."""
    values = np.concatenate([exact, *draws.values()])
    low, high = np.quantile(values, [0.001, 0.999])
    x = np.linspace(low, high, 400)
    density = gaussian_kde(exact[:6000], 0.12 if is_split(exact) else None)(x)
    ax.fill_between(x, density, color=FILL, linewidth=0, label="exact posterior")
    top = density.max()
    for name, values in draws.items():
        y = gaussian_kde(values[:6000])(x)
        ax.plot(x, y, color=colour(name), linestyle=dash(name), linewidth=1.5, label=label(name))
        top = max(top, y.max())
    ax.set(xlabel=xlabel, yticks=[], ylim=(0, 1.08 * top))
    ax.spines["left"].set_visible(False)
    return ax


def is_split(values: np.ndarray) -> bool:
    """Whether the values fall into separate lumps, for which a default kernel is far too wide."""
    inner = np.abs(values - np.median(values)) < values.std() / 2
    return bool(inner.mean() < 0.15)


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
    ax.set(xscale="log", xlim=(FLOOR / 2, None), xlabel=f"KL(q||posterior) [{unit}]")
    ax.set_yticks(range(len(certificates)), [label(c.name) for c in reversed(certificates)])
    ax.xaxis.set_major_locator(ticker.LogLocator(numticks=12))
    ax.grid(axis="x", color=FILL, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax
