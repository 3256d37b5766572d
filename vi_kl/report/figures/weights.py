"""Figures of importance weights p/q, whose tail says whether draws of q can be corrected by them."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from vi_kl.report.figures.appearance import QUIET, colour, dash, label_log_axis
from vi_kl.report.tables import readable

LEAST = 1e-3  # of the mean weight; what is below is left out


def plot_weights(ax: Axes, log_weights: Mapping[str, np.ndarray], k_hats: Mapping[str, float]) -> Axes:
    """Draw the weights of each q in units of their mean, against the share of draws that weigh as much or more.

    Equal weights are a line at 1. On log scales a tail is a straight line that rises to the left with slope k-hat.

    Args:
        ax: the axes to draw on.
        log_weights: {name of q: log p - log q at draws of it, up to a constant}.
        k_hats: {name of q: k-hat of its weights}.
    """
    ax.axhline(1.0, color=QUIET, linewidth=0.8, zorder=0)
    for name, log_weight in log_weights.items():
        weight = np.exp(log_weight - log_weight.max())
        weight = np.sort(weight / weight.mean())[::-1]
        share = np.arange(1, len(weight) + 1) / len(weight)
        shown = weight > LEAST
        label = f"{readable(name)}, k-hat {k_hats[name]:.2f}"
        ax.plot(share[shown], weight[shown], color=colour(name), linestyle=dash(name), linewidth=1.5, label=label)
    ax.set(
        xscale="log", yscale="log", ylabel="weight p/q, of the mean", xlabel="share of draws that weigh as much or more"
    )
    for axis in (ax.xaxis, ax.yaxis):
        label_log_axis(axis)
    ax.legend(fontsize=8.5)
    return ax
