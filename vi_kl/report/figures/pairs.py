"""Figures of pairs of numbers: the region that holds most of each q, over that of the posterior."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from scipy.ndimage import gaussian_filter

from vi_kl.report.figures.appearance import FILL, QUIET, colour, dash
from vi_kl.report.figures.marginals import plot_marginal, range_of

HELD = (0.5, 0.9)  # shares of the posterior's draws inside the two grey regions; of q's, the larger one
BINS = 80  # of each axis


def plot_pairs(
    axes: np.ndarray,
    known: np.ndarray | None,
    draws: dict[str, np.ndarray],
    labels: Sequence[str],
    of_known: str = "exact posterior",
    framed_by: str | None = None,
) -> np.ndarray:
    """Draw the density of each number on the diagonal, and below it the region that holds 90% of each q.

    Args:
        axes: the axes to draw on, (numbers, numbers); those above the diagonal are removed.
        known: draws of the posterior, (n, numbers), whose regions of 50% and 90% are filled; None if it is unknown.
        draws: {name of q: its draws, (n, numbers)}.
        labels: the names of the numbers.
        of_known: what the posterior's draws are called.
        framed_by: the q whose bulk must be seen where the posterior is not known; by default that of every q must.
    """
    num = len(labels)
    for i in range(num):
        own = None if known is None else known[:, i], {q: x[:, i] for q, x in draws.items()}
        plot_marginal(axes[i, i], *own, "", of_known, framed_by)
        for j in range(num):
            if j > i:
                axes[i, j].remove()
            elif j < i:
                columns = [j, i]
                plot_pair(
                    axes[i, j],
                    None if known is None else known[:, columns],
                    {q: x[:, columns] for q, x in draws.items()},
                    framed_by,
                )
                axes[i, j].set_ylabel(labels[i] if j == 0 else "")
        axes[-1, i].set_xlabel(labels[i])
    return axes


def plot_pair(ax: Axes, known: np.ndarray | None, draws: dict[str, np.ndarray], framed_by: str | None = None) -> Axes:
    """Draw the regions of two numbers: the posterior's filled, the outline of each q's in its colour."""
    columns = [(None if known is None else known[:, i], {q: x[:, i] for q, x in draws.items()}) for i in (0, 1)]
    low, high = np.array([range_of(*each, framed_by) for each in columns]).T
    if known is not None:
        x, y, height, levels = region(known, low, high, HELD)
        ax.contourf(x, y, height, [*levels, np.inf], colors=[FILL, QUIET], alpha=0.7)
    for name, values in draws.items():
        if (np.ptp(values, axis=0) == 0).any():  # a point, which has no region
            ax.plot(*values[0], "o", markersize=4, color=colour(name))
            continue
        x, y, height, levels = region(values, low, high, HELD[-1:])
        ax.contour(x, y, height, levels, colors=[colour(name)], linestyles=[dash(name)], linewidths=1.5)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return ax


def region(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, held: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]:
    """Return the centres of a grid, the density of draws there, and the levels above which it holds so many of them.

    Args:
        values: the draws, (n, 2).
        low, high: the corners of the grid.
        held: shares of the draws, the smallest first; levels are returned from the lowest on.
    """
    counts, x, y = np.histogram2d(*values.T, bins=BINS, range=np.stack([low, high], axis=1))
    sd = np.subtract(*np.quantile(values, [0.84, 0.16], axis=0)) / 2 / ((high - low) / BINS)
    height = gaussian_filter(counts.T, np.maximum(sd[::-1] * len(values) ** (-1 / 6), 0.5), mode="constant")
    ordered = np.sort(height, axis=None)[::-1]
    reached = np.cumsum(ordered) / len(values)
    levels = [ordered[min(np.searchsorted(reached, share), len(ordered) - 1)] for share in held]
    return (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2, height, levels[::-1]
