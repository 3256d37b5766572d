"""The closed forms, grouped by support; importing this package registers them.

    real_line      Normal
    positive       Gamma (and Chi2, a Gamma)
    univariate     the other families on the line, against themselves and against each other by their moments
    unit_interval  Beta, Uniform and Kumaraswamy against each other
    truncations    truncated Normals and Gammas; two truncations of any one base
    simplex        Dirichlet; Beta, a Dirichlet of two
    circle         VonMises
    gaussian       Gaussian vectors and matrices, however they are given; processes, copulas
    matrices       Wishart, LKJ and their relatives
    categorical    Categorical, by probabilities or logits
    counts         Binomial, Poisson, negative binomials, multinomials; finite supports; hurdles
    structure      Independent, masks, transforms that p and q share
    transformed    entropies of TransformedDistribution
    point          Delta

Each is a sum of the terms in `divergences.bregman`, none of which is negative. To add one: write the form as
a function of the parameter arrays, decorate it with `computed_in_float64`, register it with `closed_form`, and
give the pair a truth in tests/divergences/truths/.
"""

from vi_kl.divergences.analytic import (
    categorical,
    circle,
    counts,
    gaussian,
    matrices,
    point,
    positive,
    real_line,
    simplex,
    structure,
    transformed,
    truncations,
    unit_interval,
    univariate,
)

__all__ = [
    "categorical",
    "circle",
    "counts",
    "gaussian",
    "matrices",
    "point",
    "positive",
    "real_line",
    "simplex",
    "structure",
    "transformed",
    "truncations",
    "unit_interval",
    "univariate",
]
