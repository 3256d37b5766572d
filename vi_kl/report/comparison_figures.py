"""Figures of a Comparison: as pictures for its page, and by themselves for its methods."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vi_kl.core.annotations import KeyLike
from vi_kl.core.estimate import Estimate
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.diagnostics.gap import Gap
from vi_kl.objectives.elbo import ELBO
from vi_kl.report import figures as plots
from vi_kl.report.draws import SiteDraws, draw_sites_of, draw_weights_of
from vi_kl.report.figures.words import say
from vi_kl.report.picture import Picture, draw_picture
from vi_kl.report.tables import readable
from vi_kl.targets.sites import Site
from vi_kl.workflows.comparison import Comparison

MOST_SITES, SITES_IN_A_ROW = 6, 3  # the sites of one figure
MOST_ENTRIES = 60  # the most entries of a vector
MOST_IN_PAIRS = 4  # numbers that are drawn two at a time


def best_log_evidence(comparison: Comparison) -> Estimate | None:
    """Return the log evidence with the smallest error among the certificates; None if none has one."""
    found = [c.log_evidence for c in comparison.certificates if c.log_evidence is not None]
    return min(found, key=lambda estimate: estimate.to("nats").standard_error, default=None)


def pictures_of(comparison: Comparison, key: KeyLike, unit: str) -> list[Picture]:
    """Draw from everything in a comparison, and draw all its pictures."""
    return draw_pictures(comparison, draw_sites_of(comparison, key), unit, draw_weights_of(comparison, key))


def draw_pictures(
    comparison: Comparison,
    draws: SiteDraws,
    unit: str = "nats",
    log_weights: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> list[Picture]:
    """Draw the divergences, the posteriors and the way to them, as far as there is something to show of each.

    Args:
        comparison: what `compare` returned.
        draws: what `draw_sites_of` made of it.
        unit: "nats" or "bits".
        log_weights: what `draw_weights_of` made of it; without them they are not drawn.
    """
    with plots.style():
        drawn = [
            draw_forest(comparison, unit),
            draw_costs(comparison, unit),
            draw_posteriors(comparison, draws) if comparison.fits else None,
            draw_pairs(comparison, draws),
            draw_traces(comparison, unit),
            draw_weights(comparison, log_weights),
        ]
    return [picture for picture in drawn if picture is not None]


def draw_pairs(comparison: Comparison, draws: SiteDraws) -> Picture | None:
    """Draw the first numbers of the model two at a time; None if there is one only."""
    if not comparison.fits or sum(site.size for site in comparison.target.sites) < 2:
        return None
    grey = "in grey the regions that hold 50% and 90% of the posterior, " if draws.exact is not None else ""
    caption = (
        f"The first numbers of the model, two at a time: {grey}in colour the outline of the region that holds 90% of "
        "each approximation. On the diagonal, each number by itself."
    )
    return draw_picture("pairs", "Two at a time", caption, figure_of_pairs(comparison, draws))


def draw_weights(comparison: Comparison, log_weights: Mapping[str, np.ndarray]) -> Picture | None:
    """Draw the importance weights of every approximation that has any."""
    if not log_weights:
        return None
    fig, ax = plots.subplots(figsize=(7.2, 3.6))
    plots.plot_weights(ax, log_weights, {c.name: c.k_hat for c in comparison.certificates})
    caption = (
        "The weights p/q of draws of each q, the largest at the left, on log scales. Equal weights, of a q that is the "
        "posterior, are a line at 1. A tail that rises to the left has the slope k-hat: above 0.7, draws of q cannot "
        "be corrected by their weights."
    )
    return draw_picture("weights", "How heavy the weights are", caption, fig)


def draw_forest(comparison: Comparison, unit: str) -> Picture | None:
    """Draw both divergences of every approximation that has a density."""
    shown = [c for c in ordered(comparison) if not c.is_point]
    if not shown:
        return None
    fig, ax = plots.subplots(figsize=(7.2, 1.3 + 0.45 * len(shown)))
    plots.plot_forest(ax, shown, unit)
    caption = (
        f"Both divergences in {unit}, with their 95% intervals, on a log scale. Full dots: KL(q||posterior), which a "
        "fit minimises. Open dots: KL(posterior||q), where draws of the posterior tell it. An arrow begins at the "
        "least that an unknown one can be. A dot at the left edge is too small to be measured."
    )
    without = ", ".join(readable(c.name) for c in comparison.certificates if c.is_point)
    caption += f" Not shown: {without}, whose distance is infinite." if without else ""
    return draw_picture("divergences", "How far each is from the posterior", caption, fig)


def draw_costs(comparison: Comparison, unit: str) -> Picture | None:
    """Draw what each approximation of a known distance cost; None unless there are two of them."""
    known, gradients = known_and_gradients(comparison)
    if len(known) < 2:
        return None
    fig, ax = plots.subplots(figsize=(7.2, 3.4))
    plots.plot_costs(ax, known, gradients, unit)
    caption = (
        f"KL(q||posterior) in {unit} against the gradients that each fit took, both on log scales: the lower left is "
        "near and cheap. What needs none stands at 1."
    )
    return draw_picture("costs", "What each distance cost", caption, fig)


def known_and_gradients(comparison: Comparison) -> tuple[list[Certificate], list[int]]:
    """Return the certificates whose KL(q||posterior) is known and finite, and the gradients that each fit took."""
    pairs = zip(comparison.certificates, comparison.costs, strict=True)
    taken = {c.name: cost.gradient_evaluations for c, cost in pairs}
    known = [c for c in ordered(comparison) if c.reverse_kl is not None and np.isfinite(c.reverse_kl.value)]
    return known, [taken[c.name] for c in known]


def ordered(comparison: Comparison) -> list[Certificate]:
    """Return the certificates in the order of the ELBOs, the highest first."""
    return sorted(comparison.certificates, key=lambda c: -c.elbo.to("nats").value)


def plot_forest_of(comparison: Comparison, ax: Axes | None, unit: str) -> Axes:
    """Draw the forest on the axes, or on a new figure; see `Comparison.plot_forest`."""
    shown = [c for c in ordered(comparison) if not c.is_point]
    with plots.style():
        return plots.plot_forest(ax or plots.subplots(figsize=(7.2, 1.3 + 0.45 * len(shown)))[1], shown, unit)


def plot_costs_of(comparison: Comparison, ax: Axes | None, unit: str) -> Axes:
    """Draw distances against costs on the axes, or on a new figure; see `Comparison.plot_costs`."""
    known, gradients = known_and_gradients(comparison)
    with plots.style():
        ax = ax or plots.subplots(figsize=(7.2, 3.4))[1]
        return plots.plot_costs(ax, known, gradients, unit)


def plot_traces_of(comparison: Comparison, ax: Axes | None, unit: str) -> Axes:
    """Draw how the ELBOs rose on the axes, or on a new figure; see `Comparison.plot_traces`."""
    evidence = best_log_evidence(comparison)
    shown = [fit for fit in comparison.fits if len(fit.history.loss) and climbs_the_elbo(fit)]
    with plots.style():
        ax = ax or plots.subplots(figsize=(7.2, 3.4))[1]
        plots.plot_trace(ax, shown, None if evidence is None else evidence.to("nats").value, unit)
        if shown:
            ax.legend(fontsize=8.5)
        return ax


def plot_gaps_of(gaps: Sequence[Gap], unit: str) -> Figure:
    """Draw where the gap of each approximation comes from; see `Comparison.plot_gaps`."""
    with plots.style():
        fig, axes = plots.subplots(1, 2, figsize=(8.4, 1.4 + 0.75 * len(gaps)), squeeze=False)
        plots.plot_gaps(axes[0], gaps, unit)
        return fig


def plot_marginals_of(comparison: Comparison, key: KeyLike) -> Figure:
    """Draw every approximation over the posterior, site by site; see `Comparison.plot_marginals`."""
    with plots.style():
        return figure_of_posteriors(comparison, draw_sites_of(comparison, key))


def plot_pairs_of(comparison: Comparison, key: KeyLike) -> Figure:
    """Draw pairs of numbers under every approximation and the posterior; see `Comparison.plot_pairs`."""
    with plots.style():
        return figure_of_pairs(comparison, draw_sites_of(comparison, key))


def figure_of_pairs(comparison: Comparison, draws: SiteDraws) -> Figure:
    """Return a figure of the first numbers of the model, two at a time, numbers before entries of vectors."""
    known = None if draws.exact is None else columns_of(comparison, draws.exact)
    of_q = {name: columns_of(comparison, values) for name, values in draws.approximations.items()}
    labels = list(next(iter(of_q.values())))
    size = 1.2 + 1.9 * len(labels)
    fig, axes = plots.subplots(len(labels), len(labels), figsize=(size, size), squeeze=False)
    exact = None if known is None else np.stack(list(known.values()), axis=1)
    stacked = {name: np.stack(list(columns.values()), axis=1) for name, columns in of_q.items()}
    plots.plot_pairs(axes, exact, stacked, labels, describe_known(comparison), nearest(comparison))
    if len(labels) > 1:  # in the empty half, above the diagonal
        axes[0, 0].legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), fontsize=8.5).set_in_layout(False)
    else:
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", fontsize=8.5)
    return fig


def columns_of(comparison: Comparison, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the first numbers of the draws of sites, {name: (n,)}, those that are alone before entries of vectors."""
    found: dict[str, np.ndarray] = {}
    for site in sorted(comparison.target.sites, key=lambda site: bool(site.shape)):
        flat = np.asarray(values[site.name]).reshape(len(values[site.name]), -1)
        for i, name in enumerate(comparison.target.names_of_entries(site)):
            if len(found) < MOST_IN_PAIRS:
                found[name] = flat[:, i]
    return found


def plot_weights_of(comparison: Comparison, ax: Axes | None, key: KeyLike) -> Axes:
    """Draw importance weights on the axes, or on a new figure; see `Comparison.plot_weights`."""
    k_hats = {c.name: c.k_hat for c in comparison.certificates}
    with plots.style():
        return plots.plot_weights(ax or plots.subplots(figsize=(7.2, 3.6))[1], draw_weights_of(comparison, key), k_hats)


def draw_posteriors(
    comparison: Comparison, draws: SiteDraws, name: str = "posteriors", title: str = "", entries: str = "entry"
) -> Picture:
    """Draw every q over the posterior, site by site: densities of numbers, means and sds of vectors.

    Without a reference the posterior is unknown, and vectors are held to the q with the highest ELBO.

    Args:
        comparison: what `compare` returned. Call this inside `figures.style()`.
        draws: what `draw_sites_of` made of it.
        name: the name of the picture's files.
        title: the picture's title.
        entries: what the entries of a vector count.
    """
    fig = figure_of_posteriors(comparison, draws, entries)
    return draw_picture(name, title or "The posterior and every q", caption_of_posteriors(comparison), fig)


def shown_sites(comparison: Comparison) -> list:
    """Return the sites that a figure has room for, numbers before vectors."""
    return sorted(comparison.target.sites, key=lambda site: bool(site.shape))[:MOST_SITES]


def figure_of_posteriors(comparison: Comparison, draws: SiteDraws, entries: str = "entry") -> Figure:
    """Return the figure of `draw_posteriors`."""
    chosen = shown_sites(comparison)
    columns = min(len(chosen), SITES_IN_A_ROW)
    rows = -(-len(chosen) // columns)
    width = max(3.1 * columns + 1.2, 7.6 if any(site.shape for site in chosen) else 5.5)
    fig, axes = plots.subplots(rows, columns, figsize=(width, 3.1 * rows), squeeze=False)
    known = describe_known(comparison)
    for ax in axes.flat[len(chosen) :]:
        ax.remove()
    for ax, site in zip(axes.flat, chosen, strict=False):
        of_q = {q: np.asarray(values[site.name]) for q, values in draws.approximations.items()}
        if site.shape:
            means, sds, kept = moments_to_hold_to(comparison, draws, site.name)
            flat = {q: x.reshape(len(x), -1)[:, kept] for q, x in of_q.items()}
            names = labels_of_entries(comparison, site, kept)
            label = site.name if names else f"{site.name}: {entries}"
            plots.plot_many_means(ax, means, sds, flat, label, known, names)
        else:
            exact = None if draws.exact is None else np.asarray(draws.exact[site.name])
            plots.plot_marginal(ax, exact, of_q, site.name, known, nearest(comparison))
    legend = {}
    for ax in fig.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            legend.setdefault(label, handle)
    fig.legend(legend.values(), legend.keys(), loc="outside upper center", ncols=min(len(legend), 6), fontsize=8.5)
    return fig


def caption_of_posteriors(comparison: Comparison) -> str:
    caption = "The exact posterior in grey, and each approximation over it, in the model's own units."
    if comparison.target.reference is None:
        caption = "Each approximation in the model's own units. The posterior is not known: grey is the best q."
    elif not comparison.target.reference.is_exact:
        caption = "The reference run in grey, and each approximation over it, in the model's own units."
    left_out = len(comparison.target.sites) - len(shown_sites(comparison))
    more = " " + say("{number} more sites are not shown.", number=left_out) if left_out else ""
    return say(caption) + more


def describe_known(comparison: Comparison) -> str:
    """Name the grey parts of a figure."""
    reference = comparison.target.reference
    if reference is None:
        return f"{readable(comparison.certificates[closest(comparison)].name)}"
    return "exact posterior" if reference.is_exact else "reference run"


def nearest(comparison: Comparison) -> str:
    """Return the name of the approximation with the highest ELBO."""
    return comparison.names[closest(comparison)]


def closest(comparison: Comparison) -> int:
    """Return the index of the approximation with the highest ELBO."""
    return int(np.argmax([c.elbo.to("nats").value for c in comparison.certificates]))


def moments_to_hold_to(
    comparison: Comparison, draws: SiteDraws, site: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means and sds of a vector's entries, and which these are: those that vary, as far as there is room."""
    reference = comparison.target.reference
    if reference is None:
        best = list(draws.approximations.values())[closest(comparison)][site]
        mean, sd = np.ravel(np.mean(best, axis=0)), np.ravel(np.std(best, axis=0))
    else:
        moments = reference.moments[site]
        mean, sd = np.ravel(moments.mean), np.ravel(moments.sd)
    kept = np.flatnonzero(np.isfinite(mean) & np.isfinite(sd) & (sd > 0))[:MOST_ENTRIES]
    return mean[kept], sd[kept], kept


def labels_of_entries(comparison: Comparison, site: Site, kept: np.ndarray) -> list[str]:
    """Return the names of these entries of a vector; none where the target has none for them."""
    names = comparison.target.density.coords.get(comparison.target.axes[site.name][0], ())
    return [str(names[i]) for i in kept] if site.shape == (len(names),) else []


def draw_traces(comparison: Comparison, unit: str) -> Picture | None:
    """Draw how the ELBO of every fit with a history rose to the evidence, or its loss fell where that is unknown."""
    stepped = [fit for fit in comparison.fits if len(fit.history.loss)]
    shown = [fit for fit in stepped if climbs_the_elbo(fit)]
    if not shown:
        return None
    fig, ax = plots.subplots(figsize=(7.2, 3.4))
    evidence = best_log_evidence(comparison)
    plots.plot_trace(ax, shown, None if evidence is None else evidence.to("nats").value, unit)
    ax.legend(fontsize=8.5)
    caption = "−ELBO of each fit that is made in steps, by iteration. A trace at a level has its family's best."
    if evidence is not None:
        caption = (
            "How far below the log evidence each ELBO is, by iteration: that distance is KL(q||posterior). A trace "
            "at a level has reached its family's best. Dots mark the few iterations of a second-order method."
        )
    others = ", ".join(readable(fit.name) for fit in stepped if not climbs_the_elbo(fit))
    caption += f" Not shown: {others}, whose loss is another than the ELBO's." if others else ""
    return draw_picture("traces", "Descending to the evidence", caption, fig)


def climbs_the_elbo(fit) -> bool:
    """Return whether the losses of a fit are values of -ELBO; they are unless its algorithm has another objective."""
    return isinstance(getattr(fit.algorithm, "objective", ELBO()), ELBO)
