"""KL between counts that are known not to be 0: the zero-truncated Poisson and negative binomials.

Let s be the surprise at a 0, -log pmf(0). Their log-partition function is log(exp(s) - 1) = F(s) + log s. F(s) =
log((exp(s) - 1) / s) is convex, and s/2 but for the log moment function of a uniform variable on [-1, 1],
Lambda(s/2) with Lambda(x) = log(sinh(x) / x). Its Bregman divergence is that of log-sum-exp over quadrature nodes.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.divergences.bregman import generalized_kl, itakura_saito, log_sum_exp

NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)  # exact for exp(x u) up to FAR, and a little beyond
FAR = 30.0
ASYMPTOTIC = 20.0  # from here on exp(-2 x) is negligible


def truncated_poisson(rate_p, rate_q):
    """Return the divergence of F at the rates, plus its slope times the divergence of the Poissons."""
    return langevin(rate_q / 2, rate_p / 2, (rate_q - rate_p) / 2) + slope(rate_p) * generalized_kl(rate_p, rate_q)


def truncated_waiting(waiting, surprises, difference, chances_p, chances_q, trial):
    """Return KL between zero-truncated negative binomials of equal concentration.

    Args:
        waiting: the divergence without truncation.
        surprises, difference: -log pmf(0) of p and of q, and the latter minus the former.
        chances_p, chances_q: the chances of success and of failure, and the surprises at a failure.
        trial: the divergence of one trial.
    """
    s_p, s_q = surprises
    inflation = langevin(s_q / 2, s_p / 2, difference / 2) + slope(s_p) * waiting
    return inflation + logarithmic(chances_p, chances_q, difference * (chances_p[2] / positive(s_p)), trial)


def logarithmic(chances_p, chances_q, difference, trial):
    """Return KL between logarithmic distributions, pmf(k) ~ success^k / k.

    The truncated distributions become these for small concentrations.

    Let t be the surprise at a failure; the log-partition function is log t. For small t the divergence is that of the
    success rates with a correction by Lambda, for large t that of geometric distributions; far apart, the formula
    itself.
    """
    (success_p, failure_p, t_p), (success_q, _, t_q) = chances_p, chances_q
    safe_p, safe_q = positive(t_p), positive(t_q)
    apart = itakura_saito(safe_q, safe_p, difference)
    small = jnp.minimum(safe_p, 1.0)
    excess = (jnp.expm1(small) - small) / small
    near_zero = excess * apart - (1 + excess) * langevin(t_q / 2, t_p / 2, difference / 2)
    large = trial / positive(failure_p * safe_p) - apart
    mean = success_p / positive(failure_p * safe_p)
    reads = jnp.log(safe_q) - jnp.log(safe_p) + mean * (jnp.log(positive(success_p)) - jnp.log(positive(success_q)))
    near = jnp.where(t_p < 1, near_zero, large)
    value = jnp.where(abs(difference) < 0.5 * t_p, near, reads)
    return jnp.where(t_p > 0, jnp.where(t_q > 0, value, jnp.inf), 0.0)


def slope(s):
    """Return F'(s) = 1 / (1 - exp(-s)) - 1 / s, between 1/2 and 1."""
    return 0.5 + 0.5 * mean_of_tilted_uniform(s / 2)


def langevin(x, y, difference):
    """Return the Bregman divergence of Lambda at x, y >= 0: from log-sum-exp, or for large arguments that of -log."""
    inside, above = (jnp.maximum(x, y) <= FAR), (jnp.minimum(x, y) >= ASYMPTOTIC)
    tilted = log_tilted_weights(jnp.where(inside, y, 0.0))
    sums = log_sum_exp(jnp.exp(tilted), tilted, jnp.where(inside, difference, 0.0)[..., None] * NODES)
    asymptotic = itakura_saito(*(jnp.where(above, z, 1.0) for z in (x, y)), jnp.where(above, difference, 0.0))
    direct = log_sinhc(x) - log_sinhc(y) - mean_of_tilted_uniform(y) * difference
    return jnp.where(inside, sums, jnp.where(above, asymptotic, direct))


def log_tilted_weights(y):
    """Return the log weights of the density exp(y u) on [-1, 1], at the nodes."""
    return jax.nn.log_softmax(y[..., None] * NODES + np.log(WEIGHTS), axis=-1)


def mean_of_tilted_uniform(y):
    """Return Lambda'(y) = coth(y) - 1/y, Langevin's function."""
    inside = y <= FAR
    far = jnp.where(inside, FAR, y)
    mean = (jnp.exp(log_tilted_weights(jnp.where(inside, y, 0.0))) * NODES).sum(-1)
    return jnp.where(inside, mean, 1 - 1 / far)  # coth is 1 there


def log_sinhc(x):
    x = positive(x)
    return x - jnp.log(2 * x) + jnp.log(-jnp.expm1(-2 * x))


def positive(x):
    return jnp.where(x > 0, x, 1.0)
