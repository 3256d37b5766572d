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
from numpyro.distributions import Distribution
from scipy.ndimage import gaussian_filter1d

from vi_kl.algorithms.method import BLUE, BROWN, GREY, PURPLE, SKY, VERMILION
from vi_kl.algorithms.registry import METHODS
from vi_kl.core.estimate import UNITS
from vi_kl.core.precision import in_float64
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.divergences import Projection, estimate_kl
from vi_kl.divergences.projection.nodes import log_densities, nodes_of
from vi_kl.report.tables import readable as label

INK, QUIET, FILL = "#222222", "#767676", "#d9d9d9"
PATTERNS = {"solid": "-", "dashed": (0, (5, 2)), "dotted": (0, (1, 1)), "dash_dot": (0, (4, 1, 1, 1))}
OTHERS = (SKY, PURPLE, BROWN, GREY)  # of guides, and of methods whose entry names no colour
DIRECTION_COLOURS = {"forward": BLUE, "reverse": VERMILION}
DIRECTION_DASHES = {"forward": "-", "reverse": (0, (5, 1.5))}
FLOOR = 1e-7  # nats; smaller divergences are drawn here, at the axis
FEW = 30  # iterations, each of which gets a mark
FARTHEST = 30.0  # posterior sds; what is farther off is not drawn
MOST_TICKS = 13  # entries of a vector, each of which gets a number


def style():
    """Return a context manager that sets the style of figures: `with plots.style(): figure = ...`."""
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
    """Make a figure and axes as pyplot's `subplots` does, without pyplot's global list of figures."""
    figure = Figure(figsize=figsize, layout="constrained")
    return figure, figure.subplots(rows, columns, **kwargs)


def colour(name: str) -> str:
    """Return the colour of a method's lines and points: that of its registry entry, or one chosen by its name."""
    known = METHODS[name].colour if name in METHODS else None
    return known or OTHERS[sum(map(ord, name)) % len(OTHERS)]


def dash(name: str):
    """Return the dashes of a method's lines, as matplotlib takes them."""
    return PATTERNS[METHODS[name].dash if name in METHODS else "solid"]


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
            steps, distance, color=colour(fit.name), linewidth=1.3, linestyle=dash(fit.name), label=label(fit.name),
            marker="o" if len(fit.history.loss) <= FEW else None, markersize=3.5,
        )  # fmt: skip
    ax.set(xscale="log", xlabel="iteration")
    if log_evidence is None:
        ax.set_ylabel(f"−ELBO [{unit}]")
        return ax
    ax.axhline(0, color=QUIET, linewidth=0.8)
    ax.set_yscale("symlog", linthresh=0.1, linscale=0.8)
    ax.set(ylabel=f"log evidence − ELBO [{unit}]", ylim=(-0.1, None))
    return ax


def averaged_by_step(loss: np.ndarray, bins: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Average losses over bins that grow with the step, so that a log axis shows even noise throughout."""
    edges = np.unique(np.geomspace(1, len(loss) + 1, bins).astype(int)) - 1
    pieces = [(0.5 * (a + b + 1), loss[a:b].mean()) for a, b in itertools.pairwise(edges)]
    return tuple(np.array(pieces).T)


def plot_marginal(
    ax: Axes, known: np.ndarray | None, draws: dict[str, np.ndarray], xlabel: str, of_known: str = "exact posterior"
) -> Axes:
    """Draw the density of one number under every q, over that under the posterior, filled, where it is known.

    Args:
        ax: the axes to draw on.
        known: draws of the posterior, or None.
        draws: {name of q: its draws}.
        xlabel: the name of the number.
        of_known: what the posterior's draws are called.
    """
    values = np.concatenate([*([] if known is None else [known]), *draws.values()])
    low, high = np.quantile(values[np.isfinite(values)], [0.0005, 0.9995])
    x = np.linspace(low, high, 1000) if low < high else np.linspace(low - 0.5, high + 0.5, 1000)
    top = 0.0
    if known is not None:
        curve = density(known, x)
        ax.fill_between(x, curve, color=FILL, linewidth=0, label=of_known)
        top = curve.max()
    for name, values in draws.items():
        look = {"color": colour(name), "linestyle": dash(name), "linewidth": 1.5, "label": label(name)}
        if np.ptp(values) == 0:  # a point has no density
            ax.axvline(values[0], **look)
            continue
        curve = density(values, x)
        ax.plot(x, curve, **look)
        top = max(top, curve.max())
    ax.set(xlabel=xlabel, yticks=[], ylim=(0, 1.08 * top if top else 1.0))
    ax.spines["left"].set_visible(False)
    return ax


def density(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Estimate a kernel density from many draws on an even grid, as a fine histogram that is smoothed.

    The bandwidth follows the narrowest mode (the shortest interval that holds a fifth of the draws), so that separate
    modes are not smeared into one another.
    """
    values = values[np.isfinite(values)]
    ordered, fifth = np.sort(values), len(values) // 5
    sd = (ordered[fifth:] - ordered[:-fifth]).min() / 0.507  # in a normal it is 0.507 sd wide
    step = x[1] - x[0]
    edges = np.append(x, x[-1] + step) - step / 2
    counts = np.histogram(values, edges)[0] / (len(values) * step)
    bandwidth = 0.9 * sd * len(values) ** -0.2 / step
    return (
        gaussian_filter1d(counts, bandwidth, mode="constant") if bandwidth else counts
    )  # a fifth of them are one value


def plot_many_means(
    ax: Axes, means, sds, draws: dict[str, np.ndarray], xlabel: str, of_known: str = "exact posterior"
) -> Axes:
    """Draw, for a vector, q's error of each mean and its own ±1 sd, with the posterior's ±1 sd behind it.

    Args:
        ax: the axes to draw on.
        means, sds: the posterior's, which give the unit; shape (entries,).
        draws: {name of q: its draws, (n, entries)}.
        xlabel: what the entries are.
        of_known: what the posterior that the means are of is called.
    """
    positions = np.arange(len(means))
    ax.fill_between([-0.6, len(means) - 0.4], -1, 1, color=FILL, linewidth=0, label=f"{of_known} ±1 sd")
    offsets, farthest = np.linspace(-0.28, 0.28, len(draws)), 0.0
    for offset, (name, values) in zip(offsets, draws.items(), strict=True):
        centre = (values.mean(axis=0) - means) / sds
        farthest = max(farthest, np.abs(centre).max(initial=0.0))
        ax.errorbar(
            positions + offset, centre, yerr=values.std(axis=0) / sds, fmt="o", markersize=3, linewidth=1.2,
            color=colour(name), label=label(name),
        )  # fmt: skip
    unit = "posterior sd from the exact mean" if of_known == "exact posterior" else f"sd from the {of_known}'s mean"
    reach = min(max(1.6, 1.2 * farthest), FARTHEST)
    ax.set(xlabel=xlabel, ylabel=unit, ylim=(-reach, reach))
    ax.set_xticks(positions if len(means) <= MOST_TICKS else positions[:: -(-len(means) // MOST_TICKS)])
    ax.set_xlim(-0.6, len(means) - 0.4)
    return ax


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
    ax.set_yticks(range(len(certificates)), [label(c.name) for c in reversed(certificates)])
    ax.xaxis.set_major_locator(ticker.LogLocator(numticks=12))
    ax.grid(axis="x", color=FILL, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


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
    figures = [f"{name} = {value:.2f} {projection.unit}" for name, value in values.items()]
    return figures if projection.direction == "forward" else figures[::-1]
