"""Figures of where the gap comes from: the parts of KL(q||posterior) that `explain_gap` finds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from vi_kl.algorithms.method import BROWN, GREY, PURPLE, SKY
from vi_kl.core.estimate import Estimate
from vi_kl.diagnostics.gap import Gap
from vi_kl.report.figures.appearance import FILL, QUIET
from vi_kl.report.tables import readable

LINEAR = 0.01  # nats or bits up to which the axis is linear
PARTS = {"family": PURPLE, "optimisation": SKY}
NORMAL_PARTS = {"location": SKY, "scale": BROWN, "correlation": PURPLE, "shape": GREY}


def plot_gaps(axes: Sequence[Axes], gaps: Sequence[Gap], unit: str) -> Sequence[Axes]:
    """Draw the parts of each KL(q||posterior): family, optimiser; and of normals location, scale, correlation, shape.

    The axis is linear up to a hundredth and logarithmic above. A part may be negative by about its error.

    Args:
        axes: two axes to draw on, side by side.
        gaps: what `explain_gap` found, from the top of the figure down.
        unit: "nats" or "bits".
    """
    by_cause = [{name: getattr(gap, name) for name in PARTS} for gap in gaps]
    of_normals = [{name: getattr(gap.normal, name, None) for name in NORMAL_PARTS} for gap in gaps]
    for ax, parts, colours in ((axes[0], by_cause, PARTS), (axes[1], of_normals, NORMAL_PARTS)):
        plot_parts(ax, parts, colours, unit)
        ax.set_yticks(range(len(gaps)), [])
        ax.set_ylim(len(gaps) - 0.5, -0.5)
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, fontsize=8.5)
    axes[0].set_yticklabels([f"{readable(gap.name)}\n{total_of(gap, unit)}" for gap in gaps])
    return axes


def plot_parts(ax: Axes, rows: Sequence[dict[str, Estimate | None]], colours: dict[str, str], unit: str) -> None:
    """Draw a bar for each part of each row, with its 95% interval; a part that is unknown has none."""
    height, least = 0.8 / len(colours), -LINEAR / 2
    for place, (name, colour) in enumerate(colours.items()):
        known = [(row, parts[name].to(unit)) for row, parts in enumerate(rows) if parts[name] is not None]
        y = np.array([row - 0.4 + height * (place + 0.5) for row, _ in known])
        values = np.array([part.value for _, part in known])
        ends = np.array([part.interval(0.95) for _, part in known]).reshape(-1, 2)
        ax.barh(y, values, height * 0.85, color=colour, label=name)
        least = min(least, 1.1 * ends.min(initial=0.0))
        ax.hlines(y, ends[:, 0], ends[:, 1], color=QUIET, linewidth=1.2)
    ax.axvline(0, color=QUIET, linewidth=0.8)
    ax.set_xscale("symlog", linthresh=LINEAR, linscale=0.5)
    ax.set(xlim=(least, None), xlabel=f"part of KL(q||posterior) [{unit}]")
    ax.grid(axis="x", color=FILL, linewidth=0.6)
    ax.set_axisbelow(True)


def total_of(gap: Gap, unit: str) -> str:
    """Return the whole KL in a few words."""
    return "unknown" if gap.total is None else f"{gap.total.to(unit).as_divergence().written} {unit}"
