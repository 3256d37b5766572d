"""One posterior written in every source: a slope and a positive scale, of 20 rows.

    b ~ Normal(0, 5),  sigma ~ Exponential(1),  y_i ~ Normal(b x_i, sigma)

Given sigma, b is normal and integrates out in closed form; what is left is an integral over sigma, which SciPy does:
the evidence and the moments to compare with. To add a source, name a function that makes the target in `SOURCES`, and
say in `SITES` how its draws of z give b and sigma.
"""

import dataclasses
import importlib.util
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy import integrate, stats

from vi_kl.targets import Positive, Target

X = np.linspace(-1.0, 1.0, 20)
Y = 1.5 * X + 0.5 * np.random.default_rng(3).normal(size=20)


# On paper --------------------------------------------------------------------------------------------------------


def value_and_gradient(z, x=X, y=Y):
    """The log density of z = (b, log sigma), (..., 2), Jacobian included, and its gradient, in NumPy."""
    b, log_sigma = np.asarray(z)[..., 0], np.asarray(z)[..., 1]
    with np.errstate(all="ignore"):
        sigma = np.exp(log_sigma)
        residuals = y - b[..., None] * x
        squares = np.sum(residuals**2, axis=-1)
        constant = -0.5 * len(y) * np.log(2 * np.pi) - 0.5 * np.log(2 * np.pi * 25.0)
        value = constant - b**2 / 50 - sigma + (1 - len(y)) * log_sigma - 0.5 * squares / sigma**2
        by_b = -b / 25 + np.sum(residuals * x, axis=-1) / sigma**2
        by_log_sigma = -sigma + 1 - len(y) + squares / sigma**2
    return value, np.stack([by_b, by_log_sigma], axis=-1)


def integrated(function: Callable[[float, float], float]) -> float:
    """The integral over sigma of prior, likelihood and function(posterior mean of b given sigma, sigma)."""

    def density(sigma):
        mean = (X @ Y) / (X @ X + sigma**2 / 25)
        y = stats.multivariate_normal(np.zeros(20), sigma**2 * np.eye(20) + 25 * np.outer(X, X))
        return np.exp(y.logpdf(Y) - sigma + 30.0) * function(mean, sigma)

    return integrate.quad(density, 1e-2, 6.0, epsabs=0, epsrel=1e-10, limit=400, points=(0.3, 0.5, 1.0))[0]


TOTAL = integrated(lambda b, sigma: 1.0)
LOG_EVIDENCE = np.log(TOTAL) - 30.0
MEAN = {
    "b": integrated(lambda b, sigma: b) / TOTAL,
    "log_sigma": integrated(lambda b, sigma: np.log(sigma)) / TOTAL,
}
VARIANCE = {
    "b": integrated(lambda b, sigma: b**2 + 1 / (X @ X / sigma**2 + 1 / 25)) / TOTAL - MEAN["b"] ** 2,
    "log_sigma": integrated(lambda b, sigma: np.log(sigma) ** 2) / TOTAL - MEAN["log_sigma"] ** 2,
}


def kl_of_normal(mean, tril) -> float:
    """KL(q||posterior) of a normal q over z, by Gauss and Hermite's rule."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = np.outer(weights, weights).ravel() / (2 * np.pi)
    expected = weight @ value_and_gradient(np.asarray(mean) + grid @ np.asarray(tril).T)[0]
    return float(LOG_EVIDENCE - expected - np.log(2 * np.pi * np.e) - np.log(np.diag(tril)).sum())


# In each source --------------------------------------------------------------------------------------------------


def regression(x, y):
    """A slope and a scale."""
    b = numpyro.sample("b", dist.Normal(0, 5))
    sigma = numpyro.sample("sigma", dist.Exponential(1.0))
    numpyro.sample("y", dist.Normal(b * x, sigma), obs=y)


def of_values(b, sigma, x, y):
    likelihood = jnp.sum(jax.scipy.stats.norm.logpdf(y, b * x, sigma))
    return likelihood + jax.scipy.stats.norm.logpdf(b, 0.0, 5.0) - sigma


def flat(z, data):
    """A slope and a scale."""
    return of_values(z[0], jnp.exp(z[1]), *data) + z[1]


def of_parameters(p, data):
    """A slope and a scale."""
    return of_values(p["b"], p["sigma"], *data)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Line:
    b: jax.Array
    sigma: jax.Array


def of_a_dataclass(line, data):
    """A slope and a scale."""
    return of_values(line.b, line.sigma, *data)


def outside_jax(method: str | None) -> Callable:
    """A log density that NumPy computes, with its gradient in the same call."""
    takes_many = method in ("expand_dims", "broadcast_all")

    def compute(z, x, y):
        assert z.dtype == x.dtype == y.dtype == np.float64
        assert takes_many or z.shape == (2,)
        x, y = (data.reshape(data.shape[-1]) if method == "expand_dims" else data for data in (x, y))
        if method == "broadcast_all":
            x, y = x.reshape(-1, 20)[0], y.reshape(-1, 20)[0]
        return value_and_gradient(z, x, y)

    def call(z, data):
        shapes = jax.ShapeDtypeStruct((), z.dtype), jax.ShapeDtypeStruct((2,), z.dtype)
        return jax.pure_callback(compute, shapes, z, *data, vmap_method=method)

    @jax.custom_vjp
    def numpy_density(z, data):
        return call(z, data)[0]

    def forward(z, data):
        value, gradient = call(z, data)
        return value, (gradient, jax.tree.map(jnp.zeros_like, data))

    numpy_density.defvjp(forward, lambda saved, cotangent: (cotangent * saved[0], saved[1]))
    numpy_density.__doc__ = "A slope and a scale."
    return numpy_density


def parameters_outside_jax(p, data):
    """A slope and a scale."""
    log_sigma = jnp.log(p["sigma"])
    return outside_jax("expand_dims")(jnp.stack([p["b"], log_sigma]), data) - log_sigma


def in_pymc(x, y):
    import pymc as pm

    with pm.Model() as model:
        x, y = pm.Data("x", x), pm.Data("rows_y", y)
        b, sigma = pm.Normal("b", 0, 5), pm.Exponential("sigma", 1.0)
        pm.Normal("y", b * x, sigma, observed=y)
    return model


IN_STAN = """
data { vector[20] x; vector[20] y; }
parameters { real b; real<lower=0> sigma; }
model { b ~ normal(0, 5); sigma ~ exponential(1); y ~ normal(b * x, sigma); }
"""
EXAMPLES = {"b": 0.0, "sigma": Positive(1.0)}
SOURCES = {
    "NumPyro": lambda x=X, y=Y: Target.from_numpyro(regression, x, y),
    "log density": lambda x=X, y=Y: Target.from_log_density(flat, 2, data=(x, y)),
    "parameters": lambda x=X, y=Y: Target.from_log_density(of_parameters, EXAMPLES, data=(x, y)),
    "parameters in a dataclass": lambda x=X, y=Y: Target.from_log_density(
        of_a_dataclass, Line(0.0, Positive(1.0)), data=(x, y)
    ),
    "callback": lambda x=X, y=Y: Target.from_log_density(outside_jax("expand_dims"), 2, data=(x, y)),
    "callback, broadcast_all": lambda x=X, y=Y: Target.from_log_density(outside_jax("broadcast_all"), 2, data=(x, y)),
    "callback, sequential": lambda x=X, y=Y: Target.from_log_density(outside_jax("sequential"), 2, data=(x, y)),
    "callback, no vmap_method": lambda x=X, y=Y: Target.from_log_density(outside_jax(None), 2, data=(x, y)),
    "callback of parameters": lambda x=X, y=Y: Target.from_log_density(parameters_outside_jax, EXAMPLES, data=(x, y)),
    "PyMC": lambda x=X, y=Y: Target.from_pymc(in_pymc(x, y)),
    "Stan": lambda x=X, y=Y: Target.from_stan(IN_STAN, {"x": x, "y": y}),
}
NEEDED = {"PyMC": "pymc", "Stan": "httpstan"}
LACKING = tuple(name for name, package in NEEDED.items() if importlib.util.find_spec(package) is None)
# PyMC rounds log(sqrt(2 pi)) to 32 bits: 1.5e-9 in each of 20 rows and in the prior, the same at every z
ROUNDED = {"PyMC": 4e-8}
NAMED = (*NEEDED, "NumPyro", "parameters", "parameters in a dataclass", "callback of parameters")  # of sites b, sigma


def b_and_log_sigma(name: str, sites: dict) -> dict[str, np.ndarray]:
    """What all sources have in common, of one's draws of its sites."""
    if name in NAMED:
        return {"b": np.asarray(sites["b"]), "log_sigma": np.log(sites["sigma"])}
    return {"b": np.asarray(sites["z"])[..., 0], "log_sigma": np.asarray(sites["z"])[..., 1]}
