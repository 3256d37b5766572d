"""Figures and the page of a Comparison: everything that `vi-kl worms` shows of one model, for a comparison of any.

    table = vi_kl.compare(target, ["mean_field", "full_rank", "flow"], key=0)
    vi_kl.report.write_report(table, "report", key=1)  # index.html, figures/, results.json

The terminal's part is in terminal.py.
"""

import datetime
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vi_kl.core.annotations import KeyLike
from vi_kl.core.estimate import Estimate
from vi_kl.core.files import require_writable
from vi_kl.core.random_keys import key_text
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.objectives.elbo import ELBO
from vi_kl.report import figures as plots
from vi_kl.report.draws import SiteDraws, draw_sites_of, draw_weights_of
from vi_kl.report.pages import Section, render_page, write_atomically, write_page
from vi_kl.report.picture import Picture, draw_picture
from vi_kl.report.provenance import Provenance, provenance
from vi_kl.report.tables import comparison_table, notes, readable
from vi_kl.workflows.comparison import Comparison

MOST_SITES, SITES_IN_A_ROW = 6, 3  # the sites of one figure
MOST_ENTRIES = 60  # the most entries of a vector
MOST_IN_PAIRS = 4  # numbers that are drawn two at a time


def write_report(
    comparison: Comparison,
    folder: str | Path,
    *,
    key: KeyLike,
    unit: str = "nats",
    title: str = "",
    when: datetime.datetime | None = None,
) -> Path:
    """Write a comparison as a folder: index.html (one self-contained page), figures/ and results.json.

    Args:
        comparison: what `compare` returned.
        folder: the folder to write to; made if need be.
        key: a JAX random key, or an integer, for the draws in the figures.
        unit: "nats" or "bits", of everything shown; results.json is in nats.
        title: the page's title; by default it names the model.
        when: the time that the report states; by default the present one.

    Returns:
        The path of the page.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    require_writable(folder)
    call = f'vi_kl.report.write_report(comparison, folder, key={key_text(key)}, unit="{unit}")'
    made = made_by(comparison, call, key, when)
    pictures = draw_pictures(comparison, draw_sites_of(comparison, key), unit)
    write_page(folder, comparison_page(comparison, pictures, unit, title, made), pictures)
    numbers = {"made": made.to_dict(), **comparison.to_dict()}
    write_atomically(folder / "results.json", json.dumps(numbers, indent=2, allow_nan=False) + "\n")
    return folder / "index.html"


def write_comparison_page(
    comparison: Comparison,
    path: str | os.PathLike,
    *,
    key: KeyLike,
    unit: str = "nats",
    title: str = "",
    call: str = "",
    with_figures: bool = True,
) -> Path:
    """Write a comparison as one self-contained page; see `Comparison.to_html`.

    Args:
        comparison: what `compare` returned.
        path: the file to write.
        key: a JAX random key, or an integer, for the draws in the figures.
        unit: "nats" or "bits", of everything shown.
        title: the page's title; by default it names the model.
        call: what the page says that it was made by; by default a call of `to_html`.
        with_figures: whether there are figures, which take seconds to draw.
    """
    path = Path(path).expanduser()
    require_writable(path.parent)
    made = made_by(comparison, call or f'comparison.to_html({path.name!r}, key={key_text(key)}, unit="{unit}")', key)
    drawn = with_figures and bool(comparison.fits)
    pictures = draw_pictures(comparison, draw_sites_of(comparison, key), unit) if drawn else []
    write_atomically(path, comparison_page(comparison, pictures, unit, title, made))
    return path


def comparison_page(
    comparison: Comparison,
    pictures: Sequence[Picture] = (),
    unit: str = "nats",
    title: str = "",
    made: Provenance | None = None,
) -> str:
    """Return the HTML of a page with the table of a comparison, its pictures, and what each certificate says.

    Args:
        comparison: what `compare` returned.
        pictures: figures to show below the table.
        unit: "nats" or "bits".
        title: the page's title; by default it names the model.
        made: when and by what the page is made; by default now, by this function.
    """
    title = title or f"Approximations of {comparison.target.density}"
    made = made or provenance("vi_kl.report.comparison_page(comparison)", keys_of(comparison))
    return render_page(title, lead(comparison, unit), sections_of(comparison, pictures, unit), made)


def made_by(comparison: Comparison, call: str, key: KeyLike, when: datetime.datetime | None = None) -> Provenance:
    """Return where a report of a comparison with figures comes from."""
    return provenance(call, {**keys_of(comparison), "the draws in the figures": key_text(key)}, when)


def keys_of(comparison: Comparison) -> dict[str, str]:
    return {"the fits": comparison.key or "unknown"}


def lead(comparison: Comparison, unit: str) -> str:
    """Say what was approximated, and what is known of it."""
    evidence = best_log_evidence(comparison)
    known = "unknown" if evidence is None else str(evidence.to(unit))
    count = len(comparison.fits)
    return (
        f"{count} approximation{'' if count == 1 else 's'} of a posterior over {comparison.target.dim} unconstrained "
        f"dimension{'' if comparison.target.dim == 1 else 's'}, each fitted and checked. The log evidence: {known}."
    )


def sections_of(comparison: Comparison, pictures: Sequence[Picture], unit: str) -> list[Section]:
    """Return the table with all pictures as one section, and every certificate in words as another."""
    certificates = comparison.certificates
    table = comparison_table(comparison, unit)
    paragraphs = (comparison.recommendation, *notes(comparison, omit=certificates))
    parts = [Section("The approximations", paragraphs, (table,), tuple(pictures))]
    if certificates:
        parts.append(Section("What the certificates say", tuple(map(in_words, certificates))))
    return parts


def in_words(c: Certificate) -> str:
    """Write one certificate as a paragraph."""
    advice = f" Try: {' '.join(c.try_next)}" if c.try_next else ""
    return f"{readable(c.name)} ({c.label}): {c.verdict} It cannot see: {c.cannot_see}{advice}"


def best_log_evidence(comparison: Comparison) -> Estimate | None:
    """Return the log evidence with the smallest error among the certificates; None if none has one."""
    found = [c.log_evidence for c in comparison.certificates if c.log_evidence is not None]
    return min(found, key=lambda estimate: estimate.to("nats").standard_error, default=None)


def draw_pictures(comparison: Comparison, draws: SiteDraws, unit: str = "nats") -> list[Picture]:
    """Draw the divergences, the posteriors and the way to them, as far as there is something to show of each."""
    with plots.style():
        drawn = [
            draw_forest(comparison, unit),
            draw_costs(comparison, unit),
            draw_posteriors(comparison, draws) if comparison.fits else None,
            draw_traces(comparison, unit),
        ]
    return [picture for picture in drawn if picture is not None]


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
    plots.plot_pairs(axes, exact, stacked, labels, describe_known(comparison))
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside upper right", fontsize=8.5)
    return fig


def columns_of(comparison: Comparison, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the first numbers of the draws of sites, {name: (n,)}, those that are alone before entries of vectors."""
    found: dict[str, np.ndarray] = {}
    for site in sorted(comparison.target.sites, key=lambda site: bool(site.shape)):
        flat = np.asarray(values[site.name]).reshape(len(values[site.name]), -1)
        for i, index in enumerate(np.ndindex(site.shape)):
            name = f"{site.name}[{', '.join(map(str, index))}]" if index else site.name
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
            plots.plot_many_means(ax, means, sds, flat, f"{site.name}: {entries}", known)
        else:
            exact = None if draws.exact is None else np.asarray(draws.exact[site.name])
            plots.plot_marginal(ax, exact, of_q, site.name, known)
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
    return caption + (f" {left_out} more sites are not shown." if left_out else "")


def describe_known(comparison: Comparison) -> str:
    """Name the grey parts of a figure."""
    reference = comparison.target.reference
    if reference is None:
        return f"{readable(comparison.certificates[closest(comparison)].name)}"
    return "exact posterior" if reference.is_exact else "reference run"


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
