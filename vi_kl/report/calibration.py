"""Figures of a Calibration: histograms of ranks, and how far their ECDF is from uniform.

Reference: Säilynoja, Bürkner & Vehtari (2022), for the ECDF's difference within simultaneous bands.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binom

from vi_kl.report.figures import FILL, INK, QUIET, style, subplots
from vi_kl.report.tables import readable
from vi_kl.workflows.calibration.calibration import Calibration
from vi_kl.workflows.calibration.uniformity import simultaneous_band

INSIDE, OUTSIDE = "#0072B2", "#D55E00"
MOST_ROWS = 6


def plot_calibration(c: Calibration, parameters: Sequence[str] | None = None) -> Figure:
    """Draw for each parameter the histogram of its ranks, and its ECDF's distance from uniform within its 95% band.

    Args:
        c: what `calibrate` returned.
        parameters: which to draw; by default the six that depart most from uniform.

    Raises:
        ValueError: a name that is not a parameter.
    """
    names = c.worst_first[:MOST_ROWS] if parameters is None else tuple(parameters)
    if not names:
        raise ValueError("parameters is empty: name at least one.")
    for name in names:
        c.index(name)
    with style():
        figure, axes = subplots(len(names), 2, figsize=(8.0, 0.6 + 1.9 * len(names)), squeeze=False)
        for row, name in zip(axes, names, strict=True):
            plot_ranks(row[0], c, name)
            plot_ecdf_difference(row[1], c, name)
        for ax in axes[:-1].flat:
            ax.set(xlabel="")
        title = f"{readable(c.method)}, {len(c.pits)} simulated data sets. Grey: the range if q were the posterior"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return figure


def plot_ranks(ax: Axes, c: Calibration, parameter: str) -> Axes:
    """Plot how often the truth has each rank among q's draws, with the range of 95% of bins of uniform ranks in grey.

    A histogram that is high at both ends means that q is too narrow, one that is high in the middle that q is too wide,
    and one that is high on the right that q lies too low.
    """
    u = c.pits[:, c.index(parameter)]
    bins = int(np.clip(len(u) // 10, 5, 20))
    counts, edges = np.histogram(u, bins, (0.0, 1.0))
    low, high = binom.interval(0.95, len(u), 1 / bins)
    ax.axhspan(low, high, color=FILL, linewidth=0)
    ax.axhline(len(u) / bins, color=QUIET, linewidth=0.8)
    ax.stairs(counts, edges * c.num_draws, color=INK, linewidth=1.2)
    ax.set(xlabel="rank of the truth among q's draws", ylabel="data sets", title=parameter, xlim=(0, c.num_draws))
    ax.set_ylim(0, 1.1 * max(high, counts.max()))
    return ax


def plot_ecdf_difference(ax: Axes, c: Calibration, parameter: str) -> Axes:
    """Plot the ECDF of the ranks less that of uniform ranks, with the band that holds 95% of such curves entirely.

    A curve above zero on the left and below it on the right means that q is too narrow, and one all below zero that q
    lies too low. Each band is for its own parameter: of many correct ones, one in twenty leaves it.
    """
    u = np.sort(c.pits[:, c.index(parameter)])
    points, low, high = simultaneous_band(len(u))
    x, band = np.r_[0, points, 1], (np.r_[0, low - points, 0], np.r_[0, high - points, 0])
    difference = np.searchsorted(u, points, side="right") / len(u) - points
    out = bool(np.any((difference < low - points) | (difference > high - points)))
    ax.fill_between(x, *band, color=FILL, linewidth=0)
    ax.axhline(0, color=QUIET, linewidth=0.8)
    ax.plot(x, np.r_[0, difference, 0], color=OUTSIDE if out else INSIDE, linewidth=1.5)
    ax.set(xlabel="share of q's draws below the truth", ylabel="ECDF − uniform", xlim=(0, 1))
    ax.set_title("leaves the 95% band" if out else "within the 95% band", fontweight="normal", fontsize=9)
    return ax
