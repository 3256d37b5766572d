"""Targets of 1 to 30 dimensions whose log evidence is known by construction: densities that are normalised.

Each is a base density of x (skewed, heavy, funnel, banana, mixture, ...) seen through z = loc + matrix x, with a random
rotation and scales from 0.2 to 5. Data hold everything but the kind, so that targets of one kind and dimension share
their programs.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import gammaln
from scipy.special import logsumexp

from vi_kl.core.precision import in_float64
from vi_kl.targets import Target

HALF_LOG_TWO_PI = 0.5 * np.log(2 * np.pi)


@dataclasses.dataclass(frozen=True)
class Known:
    """A target with its log evidence.

    Attributes:
        kind: of the base density, for tables.
    """

    name: str
    kind: str
    target: Target
    log_evidence: float


# Base densities of x, normalised; `c` holds their constants -------------------------------------------------------


def normal(x):
    return jnp.sum(-0.5 * x**2 - HALF_LOG_TWO_PI)


def skewed(x, c):
    """Sinh-arcsinh images of independent normals (Jones & Pewsey 2009)."""
    inner = jnp.arcsinh(x) * c["tail"] - c["skew"]
    log_cosh = jnp.logaddexp(inner, -inner) - jnp.log(2.0)
    return normal(jnp.sinh(inner)) + jnp.sum(jnp.log(c["tail"]) + log_cosh - 0.5 * jnp.log1p(x**2))


def log_gamma(x, c):
    """Logs of independent gammas: what variances and rates look like in z."""
    return jnp.sum(c["shape"] * x - jnp.exp(x) - gammaln(c["shape"]))


def heavy(x, c):
    """Independent Student t."""
    return jnp.sum(dist.StudentT(c["df"], 0.0, 1.0, validate_args=False).log_prob(x))


def heavy_together(x, c):
    """Multivariate Student t."""
    df, dim = c["df"], x.shape[-1]
    constant = gammaln((df + dim) / 2) - gammaln(df / 2) - dim / 2 * jnp.log(df * jnp.pi)
    return constant - (df + dim) / 2 * jnp.log1p(jnp.sum(x**2) / df)


def funnel(x, c):
    """Neal's: the first coordinate is twice the log of the others' sd."""
    first, rest = x[0] / c["sd"], x[1:] / jnp.exp(x[0] / 2)
    return normal(first[None]) - jnp.log(c["sd"]) + normal(rest) - 0.5 * rest.size * x[0]


def banana(x, c):
    """Every second coordinate follows the square of the one before it."""
    bent = x.at[1::2].add(-c["bend"] * (x[0 : x.size - 1 : 2] ** 2 - 1))
    return normal(bent)


def mixture(x, c):
    """Of normals with means, sds (one each) and weights of their own."""
    squares = jnp.sum((x - c["means"]) ** 2, axis=1) / c["sds"] ** 2
    each = -0.5 * squares - x.size * (jnp.log(c["sds"]) + HALF_LOG_TWO_PI)
    return jax.nn.logsumexp(each + jnp.log(c["weights"]))


def logistic(x, c):
    """Independent logistics: tails between a normal's and Student's."""
    return jnp.sum(-x - 2 * jnp.logaddexp(0.0, -x))


def seen_through(base: Callable):
    def log_density(z, data):
        x = data["inverse"] @ (z - data["loc"])
        return base(x, data["constants"]) + data["log_det"] + data["log_evidence"]

    log_density.__name__ = base.__name__
    return log_density


DENSITIES = {
    base.__name__: seen_through(base)
    for base in (skewed, log_gamma, heavy, heavy_together, funnel, banana, mixture, logistic)
}


@in_float64
def known(kind: str, dim: int, seed: int, label: str, **constants) -> Known:
    """One target, turned and scaled by a seed."""
    generator = np.random.default_rng([seed, dim])
    turn = np.linalg.qr(generator.standard_normal((dim, dim)))[0] if seed % 2 else np.eye(dim)
    matrix = np.exp(generator.uniform(np.log(0.2), np.log(5.0), dim))[:, None] * turn
    log_evidence = float(generator.uniform(-50, 50))
    data = {
        "inverse": np.linalg.inv(matrix),
        "loc": generator.uniform(-3, 3, dim),
        "log_det": -np.linalg.slogdet(matrix)[1],
        "log_evidence": log_evidence,
        "constants": {name: np.asarray(value, float) for name, value in constants.items()},
    }
    target = Target.from_log_density(DENSITIES[kind], dim, data=jax.tree.map(jnp.asarray, data))
    turned = "turned" if seed % 2 else "straight"
    return Known(f"{label}, {dim} dims, {turned}", kind, target, log_evidence)


def hierarchy(z, data):
    """A centred normal hierarchy: z holds a mean, the log of a spread, and the groups' own numbers."""
    mean, spread, groups = z[0], jnp.exp(z[1]), z[2:]
    prior = dist.Normal(0.0, 5.0).log_prob(mean) + dist.HalfCauchy(5.0).log_prob(spread) + z[1]
    groups_prior = dist.Normal(mean, spread, validate_args=False).log_prob(groups).sum()
    return prior + groups_prior + dist.Normal(groups, data["sd"]).log_prob(data["y"]).sum()


@in_float64
def known_hierarchy(groups: int, spread: float, seed: int) -> Known:
    """The groups' numbers and the mean integrate out by hand, the spread on a grid."""
    generator = np.random.default_rng([seed, groups])
    sd = generator.uniform(0.5, 2.0, groups)
    y = 2.0 + spread * generator.standard_normal(groups) + sd * generator.standard_normal(groups)
    log_spread = np.linspace(-60.0, 20.0, 400_001)
    values = []
    for piece in np.array_split(log_spread, 40):
        variance = sd**2 + np.exp(2 * piece)[:, None]
        precision = (1 / variance).sum(axis=1) + 1 / 25
        mean = (y / variance).sum(axis=1) / precision
        fit = (np.log(2 * np.pi * variance) + y**2 / variance).sum(axis=1)
        prior = np.log(2 / (5 * np.pi)) - np.log1p(np.exp(2 * piece) / 25) + piece
        values.append(prior - 0.5 * (fit + np.log(25 * precision) - mean**2 * precision))
    values = np.concatenate(values)
    log_evidence = float(logsumexp(values) + np.log(log_spread[1] - log_spread[0]))
    target = Target.from_log_density(hierarchy, groups + 2, data={"y": jnp.asarray(y), "sd": jnp.asarray(sd)})
    return Known(f"centred hierarchy, {groups} groups, spread {spread}", "hierarchy", target, log_evidence)


def modes(dim: int, apart: float, sds, weights, *, axis: bool = False):
    """Means `apart` from one another along a diagonal or an axis."""
    direction = np.eye(dim)[0] if axis else np.ones(dim) / np.sqrt(dim)
    means = np.arange(len(sds))[:, None] * apart * direction
    return {"means": means, "sds": sds, "weights": weights}


def catalogue() -> list[Known]:
    """Some seventy of them."""
    found = []
    for dim in (1, 2, 3, 5, 10, 20, 30):
        ramp = np.linspace(-1, 1, dim) if dim > 1 else np.ones(1)
        found += [
            known("skewed", dim, 0, "skewed a little", skew=0.2 * ramp, tail=np.ones(dim)),
            known("skewed", dim, 1, "skewed, light tails", skew=0.5 * ramp, tail=np.full(dim, 1.1)),
            known("skewed", dim, 2, "skewed, heavier tails", skew=0.4 * ramp, tail=np.full(dim, 0.8)),
            known("log_gamma", dim, 3, "log-gammas", shape=np.linspace(2, 20, dim)),
            known("heavy_together", dim, 5, "multivariate t, df 4", df=4.0),
            known("logistic", dim, 6, "logistic"),
        ]
    for dim in (1, 2, 5, 10, 20):
        found += [
            known("heavy", dim, 4, "independent t, df 3", df=np.full(dim, 3.0)),
            known("heavy", dim, 7, "independent t, df 10", df=np.full(dim, 10.0)),
            known("heavy_together", dim, 8, "multivariate t, df 10", df=10.0),
        ]
    for dim in (2, 5, 10, 20):
        found += [
            known("funnel", dim, 9, "funnel, sd 0.5", sd=0.5),
            known("funnel", dim, 10, "funnel, sd 1.5", sd=1.5),
            known("banana", dim, 11, "banana, slight", bend=0.1),
            known("banana", dim, 12, "banana", bend=0.5),
            known("mixture", dim, 13, "overlapping modes", **modes(dim, 2.0, [1.0, 1.0], [0.5, 0.5])),
            known("mixture", dim, 14, "modes apart", **modes(dim, 8.0, [1.0, 0.7], [0.6, 0.4], axis=True)),
            known("mixture", dim, 15, "5% ten times wider", **modes(dim, 0.0, [1.0, 10.0], [0.95, 0.05])),
            known("mixture", dim, 16, "10% twice as wide", **modes(dim, 0.0, [1.0, 2.0], [0.9, 0.1])),
        ]
    found += [
        known("mixture", 5, 18, "narrow mode", **modes(5, 6.0, [1.0, 0.05], [0.5, 0.5], axis=True)),
        known("mixture", 10, 20, "spike in a slab", **modes(10, 0.0, [1.0, 0.1], [0.7, 0.3])),
        known("heavy_together", 5, 22, "multivariate t, df 5", df=5.0),
    ]
    found += [known_hierarchy(g, spread, seed) for g in (4, 8, 16, 28) for seed, spread in enumerate((0.2, 1.0, 4.0))]
    return found
