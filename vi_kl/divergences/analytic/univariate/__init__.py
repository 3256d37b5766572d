"""Closed forms on the line: any family whose moments are known, against any that is linear in them.

moments       the idea, and the figures that a law has to provide
real_laws     the moments of laws on the real line
log_laws      the moments of the logarithms of positive variables
tilted        the law of log X for X whose density is a power of x, on an interval
families      NumPyro's classes, each as one of these laws
against       the divergence from given moments to a normal, a generalised gamma, an asymmetric Laplace, a Pareto
same_family   two members of one family, exact where they nearly agree
pairs         registers the pairs of families
"""

from vi_kl.divergences.analytic.univariate import pairs, same_family

__all__ = ["pairs", "same_family"]
