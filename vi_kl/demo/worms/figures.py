"""The figures of the worm-teeth story, each drawn once and kept as SVG and PNG with a caption in words."""

import numpy as np

from vi_kl.core.estimate import UNITS
from vi_kl.demo.worms.article import Article, binomial_pmf, block_pmf, kl_curve
from vi_kl.demo.worms.data import TEETH, observed
from vi_kl.demo.worms.fits import ModelResult
from vi_kl.demo.worms.words import say
from vi_kl.report import figures as plots
from vi_kl.report.comparison_figures import draw_posteriors
from vi_kl.report.draws import SiteDraws
from vi_kl.report.picture import Picture, draw_picture

WORMS_COUNTED = 1000


def named(name: str) -> str:
    """Return the name of a distribution of the article, "blocks, p = 0.47" say, with its word in the language told."""
    word = name.split("(")[0].split(",")[0]
    return say(word) + name.removeprefix(word)


def histogram(article: Article, unit: str) -> Picture:
    """Draw the observed worms and three distributions that are cheaper to send."""
    p, factor = observed(), UNITS[unit]
    curves = {"uniform": "#0072B2", "binomial": "#D55E00", "blocks": "#009E73"}
    fig, ax = plots.subplots(figsize=(7.2, 3.6))
    ax.bar(TEETH, p, color=plots.FILL, width=0.9, label=say("observed worms"))
    for name, q in article.approximations.items():
        kl = float(np.sum(p * np.log(p / q))) / factor
        ax.step(
            np.append(TEETH - 0.5, 10.5), np.append(q, q[-1]), where="post", linewidth=1.8,
            color=curves[name.split("(")[0].split(",")[0]],
            label=f"{named(name)}:  KL {kl:.3f} {say(unit)}",
        )  # fmt: skip
    ax.set(xlabel=say("number of teeth"), ylabel=say("fraction of worms"), xticks=TEETH, ylim=(0, 0.27))
    ax.legend(loc="upper left", fontsize=9)
    caption = say(
        "The worms' teeth, and three distributions that are cheaper to send. KL(observed || q) is what each costs "
        "per worm, in {unit}, beyond the entropy of the observed distribution. The one-parameter binomial has the "
        "right mean and the wrong shape: it is worse than the uniform distribution, which has no parameter at all.",
        unit=say(unit),
    )
    return draw_picture("histogram", say("A histogram and cheaper stand-ins"), caption, fig)


def objective(article: Article, unit: str) -> Picture:
    """Draw KL as a function of the parameter of two models."""
    factor = UNITS[unit]
    grid = np.linspace(0.2, 0.85, 131)
    fig, ax = plots.subplots(figsize=(7.2, 3.6))
    for name, pmf, best, hue, where in (
        ("binomial", binomial_pmf, article.best_binomial, "#D55E00", 66),
        ("blocks", block_pmf, article.best_block, "#009E73", -20),
    ):
        curve = kl_curve(pmf, grid) / factor
        lowest = float(kl_curve(pmf, np.array([best]))[0]) / factor
        ax.plot(grid, curve, color=hue, linewidth=1.8)
        ax.plot(best, lowest, "o", color=hue, markersize=6)
        ax.annotate(
            f"{named(name)}: p = {best:.2f}, {lowest:.3f} {say(unit)}", (best, lowest), xytext=(0, where),
            textcoords="offset points", color=hue, ha="center",
        )  # fmt: skip
    ax.set(
        xlabel="p", ylabel=say("KL(observed || q) [{unit} per worm]", unit=say(unit)), ylim=(0, 2 * np.log(2) / factor)
    )
    caption = say(
        "Each value of p is one candidate distribution, and the lowest point of its curve is the best of them. Nothing "
        "was fitted by eye; the minima are where the gradient vanishes."
    )
    return draw_picture("objective", say("KL as the objective"), caption, fig)


def directions(article: Article, unit: str) -> Picture:
    """Draw the best binomial in either direction of KL, and the two objectives."""
    p, factor = observed(), UNITS[unit]
    grid = np.linspace(0.3, 0.8, 101)
    fig, (left, right) = plots.subplots(1, 2, figsize=(8.2, 3.4), width_ratios=(1, 1.1))
    left.bar(TEETH, p, color=plots.FILL, width=0.9)
    for name, best, direction, hue, style in (
        ("forward KL(observed || q)", article.best_binomial, "forward", "#0072B2", "-"),
        ("reverse KL(q || observed)", article.best_binomial_reverse, "reverse", "#D55E00", (0, (5, 2))),
    ):
        q = np.asarray(binomial_pmf(best))
        left.plot(TEETH, q, marker="o", markersize=3.5, linewidth=1.4, linestyle=style, color=hue)
        right.plot(grid, kl_curve(binomial_pmf, grid, direction) / factor, color=hue, linestyle=style, label=say(name))
        lowest = kl_curve(binomial_pmf, np.array([best]), direction)[0] / factor
        right.plot(best, lowest, "o", color=hue)
        right.annotate(
            f"p = {best:.3f}", (best, lowest), xytext=(0, 12 if direction == "forward" else -18),
            textcoords="offset points", color=hue, ha="center",
        )  # fmt: skip
    left.set(
        xlabel=say("number of teeth"), ylabel=say("probability"), xticks=TEETH[::2], title=say("The two best binomials")
    )
    right.set(xlabel="p", ylabel=say(unit), title=say("The two objectives"), ylim=(0, None))
    right.legend(fontsize=9, loc="upper center")
    caption = say(
        "The divergence is not a distance: it depends on the direction. Forward KL pays where worms are and q is "
        "not, so it matches the mean of all of them. Reverse KL pays where q is and worms are not, so it leans to "
        "where the most worms are. Variational inference minimises the reverse one, because it needs averages "
        "under q only."
    )
    return draw_picture("directions", say("The two directions"), caption, fig)


def traces(fitted: list[ModelResult], unit: str) -> Picture:
    """Draw the distance of the ELBO from the log evidence, iteration by iteration, for every fit."""
    columns = min(len(fitted), 3)
    rows = -(-len(fitted) // columns)
    longest = max(10, *(len(fit.history.loss) for result in fitted for fit in result.comparison.fits))
    fig, axes = plots.subplots(rows, columns, figsize=(3.0 * columns, 2.8 * rows), sharey=True, squeeze=False)
    for ax, result in zip(axes.ravel(), fitted, strict=False):
        plots.plot_trace(ax, result.comparison.fits, result.log_evidence.value, unit)
        if result.spec.name == "two_kinds":
            ax.axhline(np.log(2) / UNITS[unit], color=plots.INK, linewidth=0.9, linestyle=":", label="log 2")
        ax.set_title(say(result.spec.title))
        ax.set_xlim(0.8, 1.3 * longest)
        ax.legend(fontsize=8, loc="upper right")
        ax.set_ylabel("")
    for ax in axes.ravel()[len(fitted) :]:
        ax.remove()
    fig.supylabel(say("log evidence − ELBO [{unit}]", unit=say(unit)), fontsize=10)
    caption = say(
        "How far below the log evidence each ELBO is, iteration by iteration. That distance is KL(q||posterior), the "
        "{unit} that the data cost beyond the model's own price. Guides and flows follow stochastic gradients, "
        "for hundreds of steps. The normals start at the mode, and fixed draws tell a quasi-Newton method the rest: a "
        "few iterations, marked by dots, or none at all. A trace that has come to a level has reached its family's "
        "best; for the two kinds of worms that level is log 2, which no more steps will bring down.",
        unit=say(unit),
    )
    return draw_picture("traces", say("Descending to the evidence"), caption, fig)


def posteriors(result: ModelResult) -> Picture:
    """Draw one model's posterior and every approximation of it."""
    return draw_posteriors(
        result.comparison,
        SiteDraws(result.exact, result.draws),
        f"posterior_{result.spec.name}",
        say("{title}: the posterior and every q", title=say(result.spec.title)),
        say("number of teeth"),
    )


def two_modes(result: ModelResult) -> Picture:
    """Draw p1 against p2: the exact posterior's two modes, one q on one of them, one q across both."""
    fig, axes = plots.subplots(1, 3, figsize=(9.0, 3.3), sharex=True, sharey=True)
    one_mode = "full_rank"
    shown = [(say("exact posterior"), result.exact, plots.INK)]
    for name, title in ((one_mode, say("reverse KL: full rank")), ("moment_matching", say("forward KL: same moments"))):
        if name in result.draws:
            shown.append((title, result.draws[name], plots.colour(name)))
    for ax, (title, draws, hue) in zip(axes, shown, strict=True):
        ax.plot(draws["p1"][:3000], draws["p2"][:3000], ".", markersize=1.5, alpha=0.4, color=hue, rasterized=True)
        ax.plot([0, 1], [0, 1], color=plots.FILL, linewidth=0.8, zorder=0)
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="p1", title=title, aspect="equal")
        ax.label_outer()
    axes[0].set_ylabel("p2")
    caption = say(
        "Which kind is called the first is arbitrary, so the exact posterior has two mirror images. Reverse KL settles "
        "on one and pays log 2 nats, one bit: the price of saying which. The normal that is best in the forward "
        "direction has the posterior's own mean and covariance; it covers both, and puts most of its mass where no "
        "worms are."
    )
    return draw_picture("two_modes", say("Two modes, one q"), caption, fig)


def bits_to_send(fitted: list[ModelResult], article: Article, unit: str) -> Picture:
    """Draw the code length of each model, and how much each approximation adds to it."""
    factor = UNITS[unit]
    entropy = WORMS_COUNTED * float(-np.sum(observed() * np.log(observed()))) / factor
    uniform = WORMS_COUNTED * np.log(11) / factor
    span = max(-result.log_evidence.value for result in fitted) / factor - entropy
    heights = [0.5 + 0.3 * len(result.comparison.certificates) for result in fitted]
    fig, axes = plots.subplots(
        len(fitted), 2, figsize=(8.6, 0.6 + sum(heights)), height_ratios=heights, squeeze=False,
        width_ratios=(1, 1.5), sharex="col",
    )  # fmt: skip
    for (left, right), result in zip(axes, fitted, strict=True):
        price = -result.log_evidence.value / factor
        left.barh(0, price - entropy, left=entropy, color="#0072B2", height=0.5)
        left.axvline(uniform, color=plots.QUIET, linewidth=1, linestyle=":")
        left.axvline(entropy, color=plots.INK, linewidth=1)
        left.text(price + 0.012 * (uniform - entropy), 0, f"{price:,.1f}", fontsize=9, va="center")
        left.set(yticks=[], ylim=(-0.6, 0.6), xlim=(entropy - 0.05 * span, entropy + 1.2 * span))
        left.set_title(say(result.spec.title))
        left.spines["left"].set_visible(False)
        plots.plot_reverse_kl(right, result.comparison.certificates, unit)
        for ax in (left, right):
            ax.set_xlabel("")
            ax.tick_params(labelbottom=result is fitted[-1])
    most = max(c.reverse_kl.to(unit).value for result in fitted for c in result.comparison.certificates)
    axes[0][1].set_xlim(plots.FLOOR / 2, 3 * most)
    axes[-1][0].set_xlabel(say("{unit} for all 1,000 worms: −log evidence", unit=say(unit)))
    axes[-1][1].set_xlabel(say("{unit} on top for using q: KL(q||posterior)", unit=say(unit)))
    caption = say(
        "The price of sending all 1,000 counts. Left: what each model charges with its exact posterior. The solid "
        "line is 1,000 times the entropy ({entropy} {unit}), which only someone who already has the histogram "
        "could pay; the dotted line is no model at all ({uniform} {unit}). Right: what each approximation adds, "
        "with its 95% interval, on a log scale; a dot at the left edge adds nothing that can be measured.",
        unit=say(unit),
        entropy=f"{entropy:,.0f}",
        uniform=f"{uniform:,.0f}",
    )
    return draw_picture("bits_to_send", say("Code lengths"), caption, fig)


def article_figures(article: Article, unit: str) -> list[Picture]:
    """Draw the figures of the first half of the story. Call it inside `plots.style()`."""
    return [draw(article, unit) for draw in (histogram, objective, directions)]


def model_figures(result: ModelResult) -> list[Picture]:
    """Draw the figures of one model."""
    return [posteriors(result), two_modes(result)] if result.spec.name == "two_kinds" else [posteriors(result)]


def summary_figures(fitted: list[ModelResult], article: Article, unit: str) -> list[Picture]:
    """Draw the figures that show all models together."""
    return [bits_to_send(fitted, article, unit), traces(fitted, unit)]
