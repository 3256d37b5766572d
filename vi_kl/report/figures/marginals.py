"""Figures of one number, or of a vector's entries, under each approximation and under the posterior."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from scipy.ndimage import gaussian_filter1d

from vi_kl.report.figures.appearance import FILL, colour, dash
from vi_kl.report.figures.words import name_of, say
from vi_kl.report.tables import readable

FARTHEST = 30.0  # posterior sds; what is farther off is not drawn
BESIDE = 0.5  # of the range of what is in the middle, that is added at each side for the others
FAR_OFF = 6.0  # widths of the middle half of the draws; of a normal's the ends are 8.8 sds from the middle
MOST_TICKS = 13  # entries of a vector, each of which gets a number
LONGEST_TICK = 16  # characters of the name of an entry


def plot_marginal(
    ax: Axes,
    known: np.ndarray | None,
    draws: dict[str, np.ndarray],
    xlabel: str,
    of_known: str = "exact posterior",
    framed_by: str | None = None,
) -> Axes:
    """Draw the density of one number under every q, over that under the posterior, filled, where it is known.

    Args:
        ax: the axes to draw on.
        known: draws of the posterior, or None.
        draws: {name of q: its draws}.
        xlabel: the name of the number.
        of_known: what the posterior's draws are called.
        framed_by: the q whose bulk must be seen where the posterior is not known; by default that of every q must.
    """
    ends = range_of(known, draws, framed_by)
    x = np.linspace(*ends, 1000)
    top = 0.0
    if known is not None:
        curve = density(known, x)
        ax.fill_between(x, curve, color=FILL, linewidth=0, label=name_of(of_known))
        top = curve.max()
    for name, values in draws.items():
        look = {"color": colour(name), "linestyle": dash(name), "linewidth": 1.5, "label": readable(name)}
        if np.ptp(values) == 0:  # a point has no density
            ax.axvline(values[0], **look)
            continue
        curve = density(values, x)
        ax.plot(x, curve, **look)
        top = max(top, curve.max())
    ax.set(xlabel=xlabel, yticks=[], xlim=ends, ylim=(0, 1.08 * top if top else 1.0))
    ax.spines["left"].set_visible(False)
    return ax


def range_of(known: np.ndarray | None, draws: dict[str, np.ndarray], framed_by: str | None) -> tuple[float, float]:
    """Return the range of an axis: the bulk of the posterior, or of one q, and of the others what is not far off.

    A q with long tails, or far from the posterior, would leave the rest in a corner.
    """
    frames = [known] if known is not None else [draws[framed_by]] if framed_by else list(draws.values())
    ends = np.array([bulk(values, 0.001) for values in frames])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    beside = np.array([bulk(values, 0.02) for values in draws.values()] or [(low, high)])
    reach = BESIDE * (high - low)
    low, high = max(min(low, beside[:, 0].min()), low - reach), min(max(high, beside[:, 1].max()), high + reach)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def bulk(values: np.ndarray, tail: float) -> tuple[float, float]:
    """Return the quantiles that cut off both tails, or what is nearer: places that are far off for the middle half."""
    values = values[np.isfinite(values)]
    low, first, third, high = np.quantile(values, [tail, 0.25, 0.75, 1 - tail])
    far = FAR_OFF * (third - first)
    return (max(low, first - far), min(high, third + far)) if far else (low, high)


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


def shortened(name: str) -> str:
    return name if len(name) <= LONGEST_TICK else f"{name[: LONGEST_TICK - 1]}…"


def plot_many_means(
    ax: Axes,
    means,
    sds,
    draws: dict[str, np.ndarray],
    xlabel: str,
    of_known: str = "exact posterior",
    names: Sequence[str] = (),
) -> Axes:
    """Draw, for a vector, q's error of each mean and its own ±1 sd, with the posterior's ±1 sd behind it.

    Args:
        ax: the axes to draw on.
        means, sds: the posterior's, which give the unit; shape (entries,).
        draws: {name of q: its draws, (n, entries)}.
        xlabel: what the entries are.
        of_known: what the posterior that the means are of is called.
        names: what the entries are called; by default they are counted from 0.
    """
    positions, known = np.arange(len(means)), name_of(of_known)
    ax.fill_between([-0.6, len(means) - 0.4], -1, 1, color=FILL, linewidth=0, label=say("{known} ±1 sd", known=known))
    offsets, farthest = np.linspace(-0.28, 0.28, len(draws)), 0.0
    for offset, (name, values) in zip(offsets, draws.items(), strict=True):
        centre = (values.mean(axis=0) - means) / sds
        farthest = max(farthest, np.abs(centre).max(initial=0.0))
        ax.errorbar(
            positions + offset, centre, yerr=values.std(axis=0) / sds, fmt="o", markersize=3, linewidth=1.2,
            color=colour(name), label=readable(name),
        )  # fmt: skip
    unit = say("sd from the {known}'s mean", known=known)
    if of_known == "exact posterior":
        unit = say("posterior sd from the exact mean")
    reach = min(max(1.6, 1.2 * farthest), FARTHEST)
    ax.set(xlabel=xlabel, ylabel=unit, ylim=(-reach, reach))
    ticks = positions if len(means) <= MOST_TICKS else positions[:: -(-len(means) // MOST_TICKS)]
    if len(names):
        turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor", "fontsize": 8}
        ax.set_xticks(ticks, [shortened(names[i]) for i in ticks], **turned)
    else:
        ax.set_xticks(ticks)
    ax.set_xlim(-0.6, len(means) - 0.4)
    return ax
