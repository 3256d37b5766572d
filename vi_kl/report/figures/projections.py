"""A figure of a distribution and its nearest members of a family, in either direction."""

import numpy as np
from matplotlib.axes import Axes
from numpyro.distributions import Distribution

from vi_kl.algorithms.method import BLUE, VERMILION
from vi_kl.core.precision import in_float64
from vi_kl.divergences import Projection, estimate_kl
from vi_kl.divergences.projection.nodes import log_densities, nodes_of
from vi_kl.report.figures.appearance import FILL, QUIET
from vi_kl.report.figures.words import say

DIRECTION_COLOURS = {"forward": BLUE, "reverse": VERMILION}
DIRECTION_DASHES = {"forward": "-", "reverse": (0, (5, 1.5))}


def plot_projections(ax: Axes, p, projections: dict[str, Projection], xlabel: str = "x") -> Axes:
    """Plot p, filled, and its nearest member of a family in each direction, with both divergences at each.

    With a p of two humps this shows how the directions differ: the forward member covers both humps, the reverse one
    keeps to one. Each member has both divergences written beside it, the one that it minimises in bold.

    Args:
        ax: the axes to draw on.
        p: the distribution that was projected: a NumPyro distribution of one number, or a pmf array.
        projections: the results of `project` for p, by their labels, such as "forward" and "reverse".
        xlabel: the label of the horizontal axis.
    """
    x, curve, members = curves_of(p, projections.values())
    discrete = not isinstance(p, Distribution)
    if discrete:
        ax.bar(x, curve, color=FILL, width=0.9)
    else:
        ax.fill_between(x, curve, color=FILL, linewidth=0)
    for projection, member in zip(projections.values(), members, strict=True):
        marks = {"marker": "o", "markersize": 4} if discrete else {}
        seen = np.where(discrete | (member > 2e-3 * member.max()), member, np.nan)  # no dashes along the axis
        ax.plot(
            x, seen, color=DIRECTION_COLOURS[projection.direction], linewidth=1.8,
            linestyle=DIRECTION_DASHES[projection.direction], **marks,
        )  # fmt: skip
    ax.set(xlabel=xlabel, yticks=[], ylim=(0, 1.4 * max(curve.max(), *(member.max() for member in members))))
    ax.margins(x=0.01)
    ax.spines["left"].set_visible(False)
    label_projections(ax, p, x, curve, members, projections)
    return ax


def curves_of(p, projections):
    """Return where to draw, p there, and each nearest member there."""
    if not isinstance(p, Distribution):
        x = np.arange(len(p))
        return x, np.asarray(p), [densities(projection.q, x) for projection in projections]
    middle = in_float64(nodes_of)(p).points()
    low, high = middle.quantile(1e-4), middle.quantile(1 - 1e-4)
    x = np.linspace(low - 0.12 * (high - low), high + 0.12 * (high - low), 1201)
    x = x[np.asarray(p.support(x))]
    curves = [densities(p, x), *(densities(projection.q, x) for projection in projections)]
    seen = np.flatnonzero(np.max(curves, axis=0) > 4e-3 * np.max(curves))
    inner = slice(seen[0], seen[-1] + 1)
    return x[inner], curves[0][inner], [curve[inner] for curve in curves[1:]]


@in_float64
def densities(distribution, x):
    return np.exp(np.asarray(log_densities(distribution, x)))


def label_projections(ax, p, x, curve, members, projections):
    """Write the name and the figures of each member beside its own curve, where there is room, and a p."""
    heights, peaks = [member.max() for member in members], [x[np.argmax(member)] for member in members]
    span = x[-1] - x[0]
    alike = np.ptp(peaks) < 0.15 * span and min(heights) > 0.6 * max(heights)
    anchors = beside_each_other(x, members, peaks) if alike else above_each(x, [curve, *members], members)
    for (name, projection), (anchor, align) in zip(projections.items(), anchors, strict=True):
        write_lines(ax, anchor, [name, *figures_of(p, projection)], align, DIRECTION_COLOURS[projection.direction])
    if alike:
        ax.set_ylim(0, 1.15 * max(curve.max(), *heights))
    hump = int(np.argmax(curve - np.max(members, axis=0)))  # where p shows
    ax.annotate(
        "p", (x[hump], curve[hump]), xytext=(0, 3), textcoords="offset points", ha="center", color=QUIET, style="italic"
    )


def above_each(x, curves, members):
    """Place each label over the top of its curve, moved to where the others leave most room."""
    tops, half_a_label = np.max(curves, axis=0), len(x) // 10
    for member in members:
        near = np.flatnonzero(member > 0.8 * member.max())
        reach = [tops[max(0, place - half_a_label) : place + half_a_label + 1].max() for place in near]
        off_centre = np.abs(near - np.argmax(member)) / len(x)
        best = np.argmin(reach + 1e-3 * tops.max() * off_centre)
        yield (x[near[best]], reach[best] + 0.03 * tops.max()), "center"


def beside_each_other(x, members, peaks):
    """Place the labels of curves that nearly coincide.

    The left one has its label on its left flank if that has room, else lower down.
    """
    gap, leftmost = 0.02 * (x[-1] - x[0]), int(np.argmin(peaks))
    for index, member in enumerate(members):
        left = np.flatnonzero(member > 0.6 * member.max())[0]
        if index == leftmost and x[left] - x[0] > 0.3 * (x[-1] - x[0]):
            yield (x[left] - gap, member[left]), "right"
        else:
            level = 0.25 if index == leftmost else 0.6
            right = np.flatnonzero(member > level * member.max())[-1]
            yield (x[right] + gap, member[right]), "left"


def write_lines(ax, anchor, lines, align, colour):
    """Write lines of text, the last at the anchor; the second, the figure that was minimised, is bold."""
    for up, (line, weight) in enumerate(zip(lines[::-1], ("normal", "bold", "normal"), strict=True)):
        ax.annotate(
            line, anchor, xytext=(0, 2 + 13 * up), textcoords="offset points", ha=align, va="bottom",
            fontsize=9, fontweight=weight, color=colour,
        )  # fmt: skip


def figures_of(p, projection) -> list[str]:
    """Write both divergences of a projection, the one that it minimised first."""
    pairs = {"KL(p‖q)": (p, projection.q), "KL(q‖p)": (projection.q, p)}
    if not isinstance(p, Distribution):
        q = densities(projection.q, np.arange(len(p)))
        pairs = {"KL(p‖q)": (p, q), "KL(q‖p)": (q, p)}
    values = {name: estimate_kl(*pair).to(projection.unit).value for name, pair in pairs.items()}
    figures = [f"{name} = {value:.2f} {say(projection.unit)}" for name, value in values.items()]
    return figures if projection.direction == "forward" else figures[::-1]
