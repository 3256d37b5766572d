"""Densities without data, from which exact draws are easy and approximations are not: a funnel and a banana.

Each model is its own posterior, so that the log evidence is 0 and every moment is known.

Reference: Neal (2003), "Slice sampling", section 8, for the funnel; Haario, Saksman & Tamminen (1999), "Adaptive
proposal distribution for random walk Metropolis algorithm", for the banana.
"""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from vi_kl.models.textbook.classic import Classic
from vi_kl.reference import Moments, ReferencePosterior, closed_form_reference
from vi_kl.targets import Target

FUNNEL = (3.0, 9)  # the sd of the log variance, and how many coordinates have it
BANANA = (10.0, 0.03)  # the sd of the first coordinate, and how strongly the second bends with it


def funnel_model(scale, num):
    """Define Neal's funnel: the log variance v of all other coordinates is itself drawn."""
    v = numpyro.sample("v", dist.Normal(0.0, scale))
    with numpyro.plate("coordinates", num):
        numpyro.sample("x", dist.Normal(0.0, jnp.exp(v / 2)))


def funnel_reference(target: Target) -> ReferencePosterior:
    """Return the funnel itself: v is normal, and x has the sd of a normal whose variance is lognormal."""
    scale, num = FUNNEL
    sd = np.exp(scale**2 / 4)
    moments = {
        "v": Moments(np.array(0.0), np.array(scale)),
        "x": Moments(np.zeros(num), np.full(num, sd)),
    }
    return closed_form_reference(target, lambda: funnel_model(*FUNNEL), 0.0, moments)


def banana_model(scale, bend):
    """Define the banana: the second coordinate is normal around a parabola of the first."""
    x = numpyro.sample("x", dist.Normal(0.0, scale))
    numpyro.sample("y", dist.Normal(bend * (x**2 - scale**2), 1.0))


def banana_reference(target: Target) -> ReferencePosterior:
    """Return the banana itself: y has mean 0, and the variance of a parabola of a normal more than its own."""
    scale, bend = BANANA
    moments = {
        "x": Moments(np.array(0.0), np.array(scale)),
        "y": Moments(np.array(0.0), np.sqrt(1.0 + 2.0 * bend**2 * scale**4)),
    }
    return closed_form_reference(target, lambda: banana_model(*BANANA), 0.0, moments)


CLASSICS = {
    "funnel": Classic(funnel_model, lambda: FUNNEL, funnel_reference),
    "banana": Classic(banana_model, lambda: BANANA, banana_reference),
}
