"""Closed forms on counts.

count             Binomial and Bernoulli, by probabilities or logits
counting          Poisson, Geometric, negative binomials (GammaPoisson) of equal concentration
multinomial       Multinomial, by probabilities or logits; DirichletMultinomial (urns)
finite_support    sums for any p of finite support, or with a light tail, and any q on counts (finite_sum, members,
                  pmf_grid, tails; grid_length: where the sum ends; running_sum: if that is being traced)
zero_modified     zero-inflated and hurdle distributions, and counts against them (gates, zero_truncated)
"""

from vi_kl.divergences.analytic.counts import count, counting, finite_support, multinomial, zero_modified

__all__ = ["count", "counting", "finite_support", "multinomial", "zero_modified"]
