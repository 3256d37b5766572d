"""Four posteriors on the line, and expectations over them by quadrature: the oracle of the objectives' tests.

The trapezoidal rule over u in z = loc + scale u is exact to the last digits for these, and JAX differentiates it in
loc and scale; nothing in it is random.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, logsumexp

from vi_kl.families import MeanField
from vi_kl.targets import Target

HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


def normal_log_density(z, loc, scale):
    return -0.5 * ((z - loc) / scale) ** 2 - jnp.log(scale) - HALF_LOG_2PI


def log_density(z, which):
    """Unnormalised: a normal, a log gamma, a skew normal, and two normals of unequal weight."""
    z = z[0]
    return jnp.select(
        [which == i for i in range(4)],
        [
            1.3 + normal_log_density(z, 1.0, 0.7),
            3 * z - 2 * jnp.exp(z),
            0.4 + normal_log_density(z, 0.0, 1.0) + log_ndtr(3 * z),
            jnp.logaddexp(jnp.log(0.7) + normal_log_density(z, -2.0, 0.6), normal_log_density(z, 1.5, 0.8)),
        ],
    )


LOG_EVIDENCE = {
    "normal": 1.3,
    "log_gamma": np.log(2.0) - 3 * np.log(2.0),  # Gamma(3) = 2
    "skew_normal": 0.4 + np.log(0.5),
    "two_modes": np.log(1.7),
}
TARGETS = {name: Target.from_log_density(log_density, 1, data=np.asarray(i)) for i, name in enumerate(LOG_EVIDENCE)}
# neither the best members nor far from them
PLACES = {"normal": (0.6, 0.9), "log_gamma": (0.1, 0.75), "skew_normal": (0.5, 0.8), "two_modes": (-0.3, 2.0)}


def params_of(name):
    loc, scale = PLACES[name]
    return {"loc": np.array([loc]), "log_scale": np.log([scale])}


def log_weight(params, which, u):
    """log p(z, data) - log q(z) at z = loc + scale u, for u of any shape."""
    scale = jnp.exp(params["log_scale"][0])
    z = params["loc"][0] + scale * u
    log_p = jnp.vectorize(lambda z: log_density(z[None], which))(z)
    return log_p - normal_log_density(u, 0.0, 1.0) + jnp.log(scale)


def nodes(count, reach=14.0):
    u = np.linspace(-reach, reach, count)
    return u, np.log(u[1] - u[0]) - 0.5 * u**2 - HALF_LOG_2PI


def reverse_kl_loss(params, which):
    """-ELBO."""
    u, log_mass = nodes(3001)
    return -jnp.sum(jnp.exp(log_mass) * log_weight(params, which, u))


def log_moment(params, which, power):
    """log E_q[w^power] / power: the bound of infinitely many draws."""
    u, log_mass = nodes(3001)
    return logsumexp(log_mass + power * log_weight(params, which, u)) / power


def bound_of_two(params, which, power):
    """E[log(mean of w^power over two draws)] / power, by the rule on the plane."""
    u, log_mass = nodes(301, reach=9.0)
    log_w = power * log_weight(params, which, u)
    inside = jnp.logaddexp(log_w[:, None], log_w[None, :]) - jnp.log(2.0)
    return jnp.sum(jnp.exp(log_mass[:, None] + log_mass[None, :]) * inside) / power


def posterior_expectation(which, f, count=8001):
    """E_p[f(z)] for z on a grid."""
    z = np.linspace(-20.0, 12.0, count)
    log_p = jax.vmap(lambda z: log_density(z[None], which))(z) - jnp.asarray(list(LOG_EVIDENCE.values()))[which]
    return jnp.sum(jnp.where(log_p > -600, jnp.exp(log_p) * f(z, log_p), 0.0)) * (z[1] - z[0])


def forward_kl(params, which):
    scale = jnp.exp(params["log_scale"][0])
    return posterior_expectation(which, lambda z, log_p: log_p - normal_log_density(z, params["loc"][0], scale))


def exact(function, name, *args):
    """Value and gradient of one of these at the target's place, as NumPy numbers."""
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, params_of(name))
        return jax.tree.map(np.asarray, differentiate(params, TARGETS[name].data, function, args))


@functools.partial(jax.jit, static_argnames=("function", "args"))
def differentiate(params, which, function, args):
    return jax.value_and_grad(function)(params, which, *args)


def estimates(objective, name, num_keys, family=None, params=None):
    """Values and gradients of the objective at the target's place, one for each of many keys."""
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, params_of(name) if params is None else params)
        keys = jax.random.split(jax.random.key(11), num_keys)
        return jax.tree.map(np.asarray, evaluate(keys, params, TARGETS[name], family or MeanField(), objective))


@functools.partial(jax.jit, static_argnames=("family", "objective"))
def evaluate(keys, params, target, family, objective):
    one = jax.value_and_grad(lambda params, key: objective(key, params, family, target))
    return jax.vmap(one, in_axes=(None, 0))(params, keys)


def assert_means(found, expected, sigmas=4.0, at_most=np.inf):
    """Means of estimates agree with the truth within their standard errors, which are small enough to tell.

    They are at most `at_most`, or that share of a truth above 1.
    """
    for draws, reference in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
        assert np.all(np.abs(draws.mean(axis=0) - reference) < sigmas * error + 1e-12), (
            draws.mean(axis=0),
            reference,
            error,
        )
        assert np.all(error < at_most * np.maximum(1.0, np.abs(reference)))
