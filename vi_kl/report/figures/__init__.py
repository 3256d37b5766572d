"""Figures of fits and comparisons. Each function draws on the axes it is given and returns them.

appearance    the look: `style()` is a context for the caller to use, since nothing here changes matplotlib's settings
languages     fonts for figures whose words are Chinese
words         what figures write by themselves, in English and Chinese
fits          how each ELBO approached the log evidence
marginals     one number, or the entries of a vector, under every approximation and under the posterior
divergences   both divergences of each approximation, with their intervals, and what each cost
pairs         two numbers at a time, under every approximation and under the posterior
gaps          where KL(q||posterior) comes from: family, optimiser, location, scale, correlation, shape
weights       the importance weights of each approximation, and k-hat
projections   a distribution and its nearest members of a family
motion        a fit on its way: `animate(fit, "fit.gif")`, and a few moments side by side
"""

from vi_kl.report.figures.appearance import FILL, INK, QUIET, colour, dash, label_log_axis, style, subplots
from vi_kl.report.figures.divergences import FLOOR, plot_costs, plot_forest, plot_reverse_kl
from vi_kl.report.figures.fits import plot_trace
from vi_kl.report.figures.gaps import plot_gaps
from vi_kl.report.figures.marginals import plot_many_means, plot_marginal
from vi_kl.report.figures.motion import animate, plot_path
from vi_kl.report.figures.pairs import plot_pair, plot_pairs
from vi_kl.report.figures.projections import plot_projections
from vi_kl.report.figures.weights import plot_weights

__all__ = [
    "FILL",
    "FLOOR",
    "INK",
    "QUIET",
    "animate",
    "colour",
    "dash",
    "label_log_axis",
    "plot_costs",
    "plot_forest",
    "plot_gaps",
    "plot_many_means",
    "plot_marginal",
    "plot_pair",
    "plot_pairs",
    "plot_path",
    "plot_projections",
    "plot_reverse_kl",
    "plot_trace",
    "plot_weights",
    "style",
    "subplots",
]
