"""The closed forms, grouped by support; importing this package registers them.

    real_line      Normal
    vector         any two of MultivariateNormal, LowRankMultivariateNormal, Independent(Normal), CirculantNormal,
                   GaussianRandomWalk and CAR; those with themselves in low_rank, circulant, process, autoregression
    process        GaussianRandomWalk, GaussianStateSpace, ZeroSumNormal
    matrix         MatrixNormal, and Independent(Normal) of matrices
    wishart        Wishart and InverseWishart, and their Cholesky factors
    correlation    LKJ and LKJCholesky
    circle         VonMises
    degenerate     ZeroSumNormal against Gaussians of full rank
    copula         GaussianCopula of equal marginals
    positive       Gamma (and Chi2, a Gamma)
    simplex        Dirichlet; Beta, a Dirichlet of two
    count          Binomial and Bernoulli, by probabilities or logits
    counting       Poisson, Geometric, negative binomials (GammaPoisson) of equal concentration
    multinomial    Multinomial, by probabilities or logits; DirichletMultinomial (urns)
    gated          zero-inflated and hurdle distributions, and counts against them (truncated)
    categorical    Categorical, by probabilities or logits
    finite_support any p of finite support against any q on counts: exact sums (finite_sum, members, pmf_grid, tails)
    univariate     the other families on the line, against themselves and against each other by their moments
    truncation     truncated Normals and Gammas (truncated_normal, truncated_gamma); truncations of any one base
                   (interval_mass)
    unit_interval  Beta, Uniform and Kumaraswamy against each other
    structure      Independent, masks, transforms that p and q share
    point          Delta

Each is a sum of the terms in `divergences.bregman`, none of which is negative. To add one: write the form as
a function of the parameter arrays, decorate it with `in_wide_precision`, register it with `closed_form`, and
give the pair a truth in tests/divergences/truths/.
"""

from vi_kl.divergences.analytic import (
    autoregression,
    categorical,
    circle,
    circulant,
    copula,
    correlation,
    count,
    counting,
    degenerate,
    finite_support,
    gated,
    low_rank,
    matrix,
    multinomial,
    point,
    positive,
    process,
    real_line,
    simplex,
    structure,
    truncation,
    unit_interval,
    univariate,
    vector,
    wishart,
)

__all__ = [
    "autoregression",
    "categorical",
    "circle",
    "circulant",
    "copula",
    "correlation",
    "count",
    "counting",
    "degenerate",
    "finite_support",
    "gated",
    "low_rank",
    "matrix",
    "multinomial",
    "point",
    "positive",
    "process",
    "real_line",
    "simplex",
    "structure",
    "truncation",
    "unit_interval",
    "univariate",
    "vector",
    "wishart",
]
