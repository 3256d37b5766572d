"""Closed forms on counts.

count             Binomial and Bernoulli, by probabilities or logits
counting          Poisson, Geometric, negative binomials (GammaPoisson) of equal concentration
multinomial       Multinomial, by probabilities or logits; DirichletMultinomial (urns)
gated             zero-inflated and hurdle distributions, and counts against them (gates, zero_truncated)
finite_support    any p of finite support against any q on counts: exact sums (finite_sum, members, pmf_grid, tails)
"""

from vi_kl.divergences.analytic.counts import count, counting, finite_support, gated, multinomial

__all__ = ["count", "counting", "finite_support", "gated", "multinomial"]
