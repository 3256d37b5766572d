"""Closed forms of Gaussian vectors and matrices, in every parametrisation.

vector          any two of MultivariateNormal, LowRankMultivariateNormal, Independent(Normal), CirculantNormal,
                GaussianRandomWalk and CAR, by their Cholesky factors (triangular)
low_rank, circulant, process, autoregression
                each with itself, by its own parameters; GaussianStateSpace and ZeroSumNormal are processes
matrix          MatrixNormal, and Independent(Normal) of matrices
degenerate      ZeroSumNormal against Gaussians of full rank: infinite
copula          GaussianCopula of equal marginals
log_det         the divergence tr M - log det(I + M), which they share
"""

from vi_kl.divergences.analytic.gaussian import (
    autoregression,
    circulant,
    copula,
    degenerate,
    low_rank,
    matrix,
    process,
    vector,
)

__all__ = ["autoregression", "circulant", "copula", "degenerate", "low_rank", "matrix", "process", "vector"]
