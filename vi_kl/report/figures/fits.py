"""Figures of how fits went."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from vi_kl.core.estimate import UNITS
from vi_kl.report.figures.appearance import QUIET, colour, dash, label_log_axis
from vi_kl.report.figures.words import say
from vi_kl.report.tables import readable

FEW = 30  # iterations, each of which gets a mark


def plot_trace(ax: Axes, fits: Sequence, log_evidence: float | None, unit: str) -> Axes:
    """Plot how far each ELBO is below the log evidence, by iteration; that distance is KL(q||posterior).

    An iteration is a stochastic gradient step, or a quasi-Newton step on fixed draws; the latter are few, and have
    marks. The vertical axis is linear up to a tenth and logarithmic above, because the estimates scatter around zero at
    the end. Without a log evidence -ELBO itself is drawn, on a linear axis.

    Args:
        ax: the axes to draw on.
        fits: the `fits` of a Comparison whose loss is -ELBO; those without a history are left out.
        log_evidence: the log evidence in nats, or None.
        unit: "nats" or "bits".
    """
    for fit in fits:
        if not len(fit.history.loss):
            continue
        steps, loss = averaged_by_step(fit.history.loss)
        distance = (loss + (log_evidence or 0.0)) / UNITS[unit]
        ax.plot(
            steps, distance, color=colour(fit.name), linewidth=1.3, linestyle=dash(fit.name), label=readable(fit.name),
            marker="o" if len(fit.history.loss) <= FEW else None, markersize=3.5,
        )  # fmt: skip
    ax.set(xscale="log", xlabel=say("iteration"))
    label_log_axis(ax.xaxis)
    if log_evidence is None:
        ax.set_ylabel(say("−ELBO [{unit}]", unit=say(unit)))
        return ax
    ax.axhline(0, color=QUIET, linewidth=0.8)
    ax.set_yscale("symlog", linthresh=0.1, linscale=0.8)
    ax.set(ylabel=say("log evidence − ELBO [{unit}]", unit=say(unit)), ylim=(-0.1, None))
    return ax


def averaged_by_step(loss: np.ndarray, bins: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Average losses over bins that grow with the step, so that a log axis shows even noise throughout."""
    edges = np.unique(np.geomspace(1, len(loss) + 1, bins).astype(int)) - 1
    pieces = [(0.5 * (a + b + 1), loss[a:b].mean()) for a, b in itertools.pairwise(edges)]
    return tuple(np.array(pieces).T)
