"""KL(p||q) from p's moments, for the q whose log density is linear in them."""

import jax.numpy as jnp

from vi_kl.divergences.analytic.univariate.moments import Moments
from vi_kl.divergences.bregman import binet_function, em, itakura_saito


def normal(p: Moments, loc, scale):
    """Return KL to Normal(loc, scale): p's lack of entropy, plus the divergence of the normal with its moments."""
    finite = (p.variance_excess < jnp.inf) & (abs(p.mean) < jnp.inf)
    excess = jnp.where(finite, p.variance_excess, 0.0)
    mean = jnp.where(finite, p.mean, 0.0)
    loss = 0.5 * jnp.log1p(excess) + jnp.where(finite, p.entropy_loss, 0.0)
    precision = jnp.where(finite, p.precision, 1.0)
    z = (mean - loc) / scale
    # in units of the standard deviations, whose squares may leave the floating range
    ratio = jnp.sqrt((1 + excess) / precision) / scale
    d = ratio - 1
    spread = itakura_saito(ratio, jnp.ones_like(ratio)) + 0.5 * d * d  # divergence of the variances, halved
    return jnp.where(finite, loss + spread + 0.5 * z * z, jnp.inf)


def generalized_gamma(p: Moments, concentration, power, location):
    """Return KL to q with exp(power (Y - location)) ~ Gamma(concentration, 1).

    The nearest of these in location is q*. The remaining divergence is that of two normals with the precisions of p and
    of q*, and the corrections of both towards normality, which vanish where concentrations are large.
    """
    cumulant = p.cumulant(power)
    finite = cumulant < jnp.inf
    cumulant = jnp.where(finite, cumulant, 0.0)
    excess = jnp.where(finite, p.excess(power), 0.0)
    mean = jnp.where(finite, p.mean, 0.0)
    shift = power * (mean - location) + cumulant - jnp.log(concentration)
    spread = 0.5 * itakura_saito(power * power * concentration, p.precision)
    shape = concentration * excess + binet_function(concentration) + p.entropy_loss
    return jnp.where(finite, concentration * em(shift) + spread + shape, jnp.inf)


def asymmetric_laplace(p: Moments, loc, left, right):
    """Return KL to the law with density exp(-(y - loc)+ / right - (loc - y)+ / left) / (left + right)."""
    above, below = p.partial(loc)
    return jnp.log(left + right) + above / right + below / left - p.entropy


def pareto(p: Moments, reach, rate, location):
    """Return KL to location + Exponential(rate), where p reaches no further down than `reach`."""
    inside = reach >= location
    distance = jnp.where(inside, p.mean - location, 1.0)
    loss = 1 + jnp.log(distance) - p.entropy
    return jnp.where(inside, loss + itakura_saito(rate * distance, jnp.ones_like(distance)), jnp.inf)
