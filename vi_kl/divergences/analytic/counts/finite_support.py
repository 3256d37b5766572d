"""Registration of the sums over counts, and DiscreteUniform's closed form.

The sums serve any p of finite support, or with a light tail, and any q on counts.

Binomials of equally many trials and Categoricals have better forms, in `count` and `categorical`; pairs in which one
is zero-inflated or a hurdle are in `zero_modified`.
"""

import itertools

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.divergences.analytic.categorical import CATEGORICAL
from vi_kl.divergences.analytic.counts.count import COUNTS
from vi_kl.divergences.analytic.counts.finite_sum import finite_entropy, finite_sum
from vi_kl.divergences.bregman import log_ratio
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import CLOSED_FORMS, closed_form, closed_form_entropy

FINITE = (*COUNTS, dist.BetaBinomial, dist.DiscreteUniform, *CATEGORICAL)
WITH_LIGHT_TAILS = (dist.Poisson, dist.GeometricProbs, dist.GeometricLogits, dist.GammaPoisson)
UNBOUNDED = (*WITH_LIGHT_TAILS, dist.BetaNegativeBinomial)


@closed_form(dist.DiscreteUniform, dist.DiscreteUniform)
def discrete_uniform(p, q):
    return discrete_uniform_kl(p.low, p.high, q.low, q.high)


@closed_form_entropy(dist.DiscreteUniform)
def discrete_uniform_entropy(p):
    return discrete_uniform_entropy_of(p.low, p.high)


@computed_in_float64(0, 0, 0, 0)
def discrete_uniform_kl(low_p, high_p, low_q, high_q):
    contained = (low_q <= low_p) & (high_p <= high_q)
    return jnp.where(contained, log_ratio(high_q - low_q + 1, high_p - low_p + 1), jnp.inf)


@computed_in_float64(0, 0)
def discrete_uniform_entropy_of(low, high):
    return jnp.log(high - low + 1)


for pair in itertools.product(FINITE, FINITE + UNBOUNDED):
    if pair not in CLOSED_FORMS:
        closed_form(*pair, by="finite sum")(finite_sum)
for pair in itertools.product(WITH_LIGHT_TAILS, UNBOUNDED):
    if pair not in CLOSED_FORMS:
        closed_form(*pair, by="sum")(finite_sum)
closed_form_entropy(dist.BetaBinomial)(finite_entropy)
