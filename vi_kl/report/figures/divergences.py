"""Figures of the divergence of each approximation."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from vi_kl.diagnostics.certificate import Certificate
from vi_kl.report.figures.appearance import FILL, colour, label_log_axis
from vi_kl.report.tables import readable

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
    label_log_axis(ax.xaxis)
    ax.grid(axis="x", color=FILL, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax
