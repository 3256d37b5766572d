"""Processes in time and vectors of zero sum."""

import math

import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist

from truths.case import case, exact
from truths.formulas import normal
from truths.vector import gaussian

STEPS, STATES = 3, 2


@case(dist.GaussianStateSpace, dist.GaussianStateSpace)
def state_space_pair(draw):
    """By the mean and the covariance of the whole path."""
    rng, step = draw.rng, draw.relative_step()
    transition, initial = rng.normal(size=(STATES, STATES)), rng.normal(size=STATES) * 10 ** rng.uniform(-1, 1)
    transitions = transition, transition + step * rng.normal(size=transition.shape) * rng.choice([0, 1])
    initials = initial, initial + step * rng.normal(size=STATES) * rng.choice([0, 1])
    trils = draw.cholesky_pair(STATES)
    parts = [[draw.rounded(x) for x in side] for side in zip(transitions, initials, trils, strict=True)]
    p, q = (state_space(*side) for side in parts)
    return p, q, gaussian(*path_moments(*parts[0]), *path_moments(*parts[1]))


def state_space(transition, initial, tril):
    transition, initial, tril = map(jnp.asarray, (transition, initial, tril))
    return dist.GaussianStateSpace(STEPS, transition, scale_tril=tril, initial_value=initial)


def path_moments(transition, initial, tril):
    """x_t = sum_{s <= t} A^(t - s) L e_s + A^(t + 1) x_0, for t = 0, 1, ..."""
    a, factor, start = (mpmath.matrix(exact(np.asarray(x))) for x in (transition, tril, initial))
    root, mean = mpmath.zeros(STEPS * STATES), mpmath.zeros(STEPS * STATES, 1)
    for t in range(STEPS):
        mean[t * STATES : (t + 1) * STATES, 0] = a ** (t + 1) * start
        for s in range(t + 1):
            root[t * STATES : (t + 1) * STATES, s * STATES : (s + 1) * STATES] = a ** (t - s) * factor
    return mean, root * root.T


@case(dist.ZeroSumNormal, dist.ZeroSumNormal)
def zero_sum_pair(draw):
    """In orthonormal coordinates of the hyperplane: independent normals, one per degree of freedom."""
    shape = [(4,), (3, 2)][draw.rng.integers(2)]
    scales = draw.positive_pair(low=-4, high=4)
    p, q = (dist.ZeroSumNormal(jnp.asarray(s), shape) for s in scales)
    return p, q, math.prod(n - 1 for n in shape) * normal(0, exact(scales[0]), 0, exact(scales[1]))
