"""Truncated distributions: normals and gammas of any parameters, other bases against themselves on wider intervals.

If the base distribution is common, KL(p||q) is -log of the probability that q gives p's interval, and infinite where
q's interval does not contain it. The bases themselves are truncated to the whole line.
"""

import functools
import itertools
import operator

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.truncations import interval_mass
from vi_kl.divergences.analytic.truncations.truncated_gamma import truncated_gamma_entropy, truncated_gamma_kl
from vi_kl.divergences.analytic.truncations.truncated_normal import (
    distance,
    truncated_normal_entropy,
    truncated_normal_kl,
)
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import NoClosedForm, closed_form, closed_form_entropy, no_closed_form, only_where

TRUNCATED = (dist.LeftTruncatedDistribution, dist.RightTruncatedDistribution, dist.TwoSidedTruncatedDistribution)
TRUNCATED_GAMMAS = (dist.LeftTruncatedGamma, dist.RightTruncatedGamma, dist.TwoSidedTruncatedGamma)
# base -> the log mass of an interval under its standard law, and the parameters of that besides location and scale
BASES = {
    dist.Laplace: (interval_mass.laplace, ()),
    dist.Logistic: (interval_mass.logistic, ()),
    dist.Cauchy: (interval_mass.cauchy, ()),
    dist.SoftLaplace: (interval_mass.soft_laplace, ()),
    dist.StudentT: (interval_mass.student_t, ("df",)),
}
INFINITY, ZERO = np.float64(np.inf), np.float64(0)


def base_of(distribution):
    return distribution.base_dist if isinstance(distribution, TRUNCATED + TRUNCATED_GAMMAS) else distribution


def interval_of(distribution, lowest=-INFINITY):
    return getattr(distribution, "low", lowest), getattr(distribution, "high", INFINITY)


def gamma_parameters(distribution):
    base = base_of(distribution)
    return base.concentration, base.rate, *interval_of(distribution, ZERO)


def truncated(p, q):
    """Return KL by the form of the base that p and q share."""
    for base in (dist.Normal, *BASES):
        if isinstance(base_of(p), base) and isinstance(base_of(q), base):
            return truncated_normal(p, q) if base is dist.Normal else same_base(p, q, base)
    names = [type(base_of(d)).__name__ for d in (p, q)]
    raise no_closed_form(p, q, f"their bases differ: {names[0]} and {names[1]}")


def truncated_normal(p, q):
    left, right = base_of(p), base_of(q)
    return truncated_normal_kl(left.loc, left.scale, *interval_of(p), right.loc, right.scale, *interval_of(q))


def same_base(p, q, base):
    """Return KL between truncations of one base with equal parameters, or infinity."""
    left, right = base_of(p), base_of(q)
    log_mass, more = BASES[base]
    names = ("loc", "scale", *more)
    same = functools.reduce(operator.and_, (getattr(left, name) == getattr(right, name) for name in names))
    shape = [getattr(left, name) for name in more]
    divergence = restriction_program(log_mass)(left.loc, left.scale, *interval_of(p), *interval_of(q), *shape)
    divergence = jnp.broadcast_to(divergence, jnp.broadcast_shapes(divergence.shape, jnp.shape(same)))
    reason = f"truncations of a {base.__name__} have one only where {', '.join(names)} are the same"
    return only_where(same | (divergence == jnp.inf), divergence, p, q, reason)  # infinite whatever the parameters are


@functools.cache
def restriction_program(log_mass):
    """Return the program of KL from a law on an interval to the same law on a wider one."""

    @computed_in_float64(*[0] * (6 + (log_mass is interval_mass.student_t)))
    def restriction_kl(loc, scale, low_p, high_p, low_q, high_q, *shape):
        nested = (low_p >= low_q) & (high_p <= high_q)
        low_q, high_q = jnp.where(nested, low_q, low_p), jnp.where(nested, high_q, high_p)
        ends = low_q, low_p, high_p, high_q
        positions = [jnp.where(end > loc, distance(loc, end, scale), -distance(end, loc, scale)) for end in ends]
        pairs = ((1, 2), (0, 1), (2, 3))  # p's interval, and what q has below and above it
        inside, below, above = log_mass(
            jnp.stack([positions[i] for i, _ in pairs]),
            jnp.stack([positions[j] for _, j in pairs]),
            jnp.stack([distance(ends[i], ends[j], scale) for i, j in pairs]),
            *(jnp.broadcast_to(parameter, (3, *parameter.shape)) for parameter in shape),
        )
        return jnp.where(nested, interval_mass.log_inverse_share(inside, below, above), jnp.inf)

    return restriction_kl


for p_class, q_class in itertools.product(TRUNCATED, (*TRUNCATED, dist.Normal, *BASES)):
    closed_form(p_class, q_class)(truncated)


def truncated_gamma(p, q):
    return truncated_gamma_kl(*gamma_parameters(p), *gamma_parameters(q))


for p_class, q_class in itertools.product(TRUNCATED_GAMMAS, (*TRUNCATED_GAMMAS, dist.Gamma)):
    closed_form(p_class, q_class)(truncated_gamma)


def entropy(p):
    """Return the entropy of a truncated normal."""
    base = base_of(p)
    if not isinstance(base, dist.Normal):
        raise NoClosedForm(f"No closed form is known for the entropy of a truncated {type(base).__name__}.")
    return truncated_normal_entropy(base.loc, base.scale, *interval_of(p))


for p_class in TRUNCATED:
    closed_form_entropy(p_class)(entropy)


def gamma_entropy(p):
    return truncated_gamma_entropy(*gamma_parameters(p))


for p_class in TRUNCATED_GAMMAS:
    closed_form_entropy(p_class)(gamma_entropy)
