"""Figures of the divergence of each approximation."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vi_kl.core.estimate import Estimate
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.report.figures.appearance import FILL, INK, colour, label_log_axis
from vi_kl.report.tables import readable

OFFSET = 0.15  # of the two divergences of one approximation from the middle of its row
FLOOR = 1e-7  # nats; smaller divergences are drawn here, at the axis


def plot_reverse_kl(ax: Axes, certificates: Sequence[Certificate], unit: str) -> Axes:
    """Draw KL(q||posterior) of each approximation, on a log scale with its 95% interval: what using q adds.

    Args:
        ax: the axes to draw on.
        certificates: whose reverse KL is known and finite.
        unit: "nats" or "bits".
    """
    for row, c in enumerate(reversed(certificates)):
        kl = c.reverse_kl.to(unit)
        low, high = kl.interval(0.95)
        left, right = max(low, FLOOR), max(high, FLOOR)
        ax.plot([left, right], [row, row], color=colour(c.name), linewidth=3, alpha=0.35, solid_capstyle="butt")
        ax.plot(max(kl.value, FLOOR), row, "o", color=colour(c.name), markersize=6)
    ax.set(xscale="log", xlabel=f"KL(q||posterior) [{unit}]", ylim=(-0.6, len(certificates) - 0.4))
    ax.set_yticks(range(len(certificates)), [readable(c.name) for c in reversed(certificates)])
    finish(ax)
    return ax


def plot_forest(ax: Axes, certificates: Sequence[Certificate], unit: str) -> Axes:
    """Draw both divergences of each approximation with their 95% intervals, on a log scale.

    KL(q||posterior), which variational inference minimises, is a full dot; KL(posterior||q), which is large where q
    leaves out a part of the posterior, an open one below it. Where the first is unknown, an arrow begins at the least
    that it can be.

    Args:
        ax: the axes to draw on.
        certificates: those of the approximations, from the top of the figure down.
        unit: "nats" or "bits".
    """
    for row, c in enumerate(reversed(certificates)):
        style = {"color": colour(c.name), "markersize": 6}
        if is_finite(c.reverse_kl):
            plot_interval(ax, c.reverse_kl.to(unit), row + OFFSET, style, filled=True)
        elif not c.is_point:
            least = max(c.limits.to(unit).lower, FLOOR)
            ax.plot(least, row + OFFSET, marker=">", **style)
        if is_finite(c.forward_kl):
            plot_interval(ax, c.forward_kl.to(unit), row - OFFSET, style, filled=False)
    ax.set(xscale="log", xlabel=f"KL [{unit}]", ylim=(-0.6, len(certificates) - 0.4))
    ax.set_yticks(range(len(certificates)), [readable(c.name) for c in reversed(certificates)])
    ax.legend(handles=meanings(), loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8.5)
    finish(ax)
    return ax


def plot_interval(ax: Axes, kl: Estimate, row: float, style: dict, *, filled: bool) -> None:
    """Draw a dot and the 95% interval around it."""
    low, high = kl.interval(0.95)
    ends = [max(low, FLOOR), max(high, FLOOR)]
    ax.plot(ends, [row, row], color=style["color"], linewidth=3, alpha=0.35, solid_capstyle="butt")
    ax.plot(max(kl.value, FLOOR), row, "o", **style, markerfacecolor=style["color"] if filled else "white")


def is_finite(kl: Estimate | None) -> bool:
    return kl is not None and bool(np.isfinite(kl.value))


def meanings() -> list[Line2D]:
    """Return what the signs of the forest mean, for its legend."""
    kinds = [("o", INK, "KL(q||posterior)"), ("o", "white", "KL(posterior||q)"), (">", INK, "at least")]
    return [
        Line2D([], [], linestyle="", marker=marker, color=INK, markerfacecolor=face, label=label)
        for marker, face, label in kinds
    ]


def plot_costs(ax: Axes, certificates: Sequence[Certificate], gradients: Sequence[int], unit: str) -> Axes:
    """Draw KL(q||posterior) of each approximation against the gradients that its fit took, both on log scales.

    Args:
        ax: the axes to draw on.
        certificates: whose reverse KL is known and finite.
        gradients: the gradients of the log density that each fit took.
        unit: "nats" or "bits".
    """
    for c, count in zip(certificates, gradients, strict=True):
        kl = c.reverse_kl.to(unit)
        low, high = (max(end, FLOOR) for end in kl.interval(0.95))
        place = max(count, 1)
        ax.plot([place, place], [low, high], color=colour(c.name), linewidth=3, alpha=0.35, solid_capstyle="butt")
        ax.plot(place, max(kl.value, FLOOR), "o", color=colour(c.name), markersize=6)
        ax.annotate(readable(c.name), (place, max(kl.value, FLOOR)), (7, 4), textcoords="offset points", fontsize=8.5)
    ax.set(xscale="log", yscale="log", xlabel="gradients of the log density", ylabel=f"KL(q||posterior) [{unit}]")
    ax.margins(x=0.2, y=0.15)
    label_log_axis(ax.xaxis)
    label_log_axis(ax.yaxis)
    ax.grid(color=FILL, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def finish(ax: Axes) -> None:
    """Label the log axis, and draw its grid behind everything."""
    label_log_axis(ax.xaxis)
    ax.grid(axis="x", color=FILL, linewidth=0.6)
    ax.set_axisbelow(True)
