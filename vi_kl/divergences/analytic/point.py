"""Point masses: a Delta is a pmf, so its divergence from a density is infinite.

(NumPyro's own divergence from a Delta is -log q(v) for densities too: what the ELBO of a point estimate charges, and
no Kullback-Leibler divergence.)
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.core.precision import as_float64, x64_types
from vi_kl.divergences.bregman import namespace
from vi_kl.divergences.compatibility import reject_improper
from vi_kl.divergences.density import log_density
from vi_kl.divergences.region import is_discrete, region_of
from vi_kl.divergences.registry import CLOSED_FORMS, closed_form, closed_form_entropy, evaluate, known, no_closed_form
from vi_kl.divergences.support import infinite
from vi_kl.divergences.validity import held_to_parameters


@closed_form(dist.Delta, dist.Delta)
def point_masses(p, q):
    xp = namespace(p.v, q.v)  # NumPy values are compared with all their digits
    same = (xp.asarray(p.v) == xp.asarray(q.v)).all(tuple(range(-p.event_dim, 0)))
    return jnp.where(same, jnp.asarray(p.log_density - q.log_density, dtype=float), jnp.inf)


@closed_form(dist.Delta, dist.Distribution)
def point_mass(p, q):
    """Return -log q(v) for a pmf q, +inf for a density."""
    reject_improper(q=q)
    if region_of(q).dimension == 0 and not is_discrete(q):
        raise no_closed_form(p, q, "q is a point mass, moved")
    if not is_discrete(q):
        return held_to_parameters(infinite(p, q), p, q, every_entry=True)
    return p.log_density - log_pmf(q, p.v)


@closed_form(dist.Distribution, dist.Delta)
def against_a_point_mass(p, q):
    """Return 0 if p is certain of q's point; otherwise p reaches beyond it, and KL is infinite."""
    reject_improper(p=p)
    if region_of(p).dimension == 0 and not is_discrete(p):
        raise no_closed_form(p, q, "p is a point mass, moved")
    if not is_discrete(p):
        return held_to_parameters(infinite(p, q), p, q, every_entry=True)
    return jnp.where(log_pmf(p, q.v) == 0, 0.0, jnp.inf)


@closed_form_entropy(dist.Delta)
def point_mass_entropy(p):
    return jnp.zeros(p.batch_shape) - p.log_density


def log_pmf(distribution, value):
    """Return the log pmf, in float64 if the values are known.

    It is -inf outside the support, where NumPyro's may be any number.
    """
    dtype = jnp.result_type(float)
    if not known(*jax.tree.leaves((distribution, value))):
        return log_pmf_inside(distribution, value)
    if (dist.DiscreteUniform, type(distribution)) in CLOSED_FORMS and is_count(value):
        point = np.asarray(value, dtype=int)
        return -evaluate(dist.DiscreteUniform(point, point), distribution)  # more exact than NumPyro's log_prob
    with x64_types():
        distribution, value = jax.tree.map(as_float64, (distribution, value))
        return log_pmf_inside(distribution, value).astype(dtype)


def is_count(value) -> bool:
    value = np.asarray(value)
    return bool(np.all((value >= 0) & (value == np.floor(value))))


def log_pmf_inside(distribution, value):
    return log_density(distribution, value)
