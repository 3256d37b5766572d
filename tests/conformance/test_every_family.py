"""Every family: draws and log density belong together, the density is normalised, gradients are right.

The members come from the registry of methods, so that a new family is tested without being listed here.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from members import families_of
from numpyro.infer import autoguide
from programs import two_site_guide, two_sites
from scipy import stats

import vi_kl
from vi_kl.algorithms import SVI, Cost, Fit, History, Status
from vi_kl.algorithms.registry import METHODS
from vi_kl.families import (
    Approximation,
    Coupling,
    Delta,
    Family,
    FullRank,
    Guide,
    MeanField,
    Mixture,
    NestedNormal,
    Particles,
    Reflected,
    SparseNormal,
)
from vi_kl.families.guide import guide_family
from vi_kl.objectives import ELBO
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")

DATA = np.array([0.4, 1.3, 0.9])
TARGET = Target.from_numpyro(two_sites, DATA)
REGISTERED = families_of(METHODS)
VARIANTS = {"mixture_diagonal": Mixture(3, "diagonal"), "affine_coupling": Coupling("affine")}
FAMILIES = {
    **REGISTERED,
    **VARIANTS,
    "guide": Guide(two_site_guide),
    "AutoNormal": guide_family(autoguide.AutoNormal, TARGET),
    "AutoDiagonalNormal": guide_family(autoguide.AutoDiagonalNormal, TARGET),
    "AutoMultivariateNormal": guide_family(autoguide.AutoMultivariateNormal, TARGET),
    "AutoLowRankMultivariateNormal": guide_family(autoguide.AutoLowRankMultivariateNormal, TARGET),
    "AutoIAFNormal": guide_family(autoguide.AutoIAFNormal, TARGET),
}
# vi_kl's own densities in both directions: not NumPyro's normals, and not where log q is known at its own draws only
CLOSED = [
    name
    for name, family in (REGISTERED | VARIANTS).items()
    if family.has_log_prob and type(family) not in (MeanField, FullRank)
]
# NumPyro's other guides over a flat vector take the same way as AutoMultivariateNormal
EXHAUSTIVE = (
    "affine_coupling",
    "mixture_diagonal",
    "AutoDiagonalNormal",
    "AutoLowRankMultivariateNormal",
    "AutoIAFNormal",
)
NAMES = [pytest.param(n, marks=pytest.mark.exhaustive if n in EXHAUSTIVE else []) for n in sorted(FAMILIES)]


def member(name, spread=0.7):
    """A member that is not the starting one: all its parameters moved, deterministically."""
    family = FAMILIES[name]
    with jax.enable_x64(True):
        params = family.init(jax.random.key(1), TARGET)
        rng = np.random.default_rng(5)
        params = jax.tree.map(lambda x: jnp.asarray(x + spread * 0.3 * rng.normal(size=jnp.shape(x))), params)
    return Approximation(family, params, TARGET)


@pytest.mark.parametrize("name", NAMES)
def test_log_prob_at_own_draws_is_what_came_with_them(name):
    q = member(name)
    z, log_q = q.sample_and_log_prob(jax.random.key(2), 50)
    assert z.shape == (50, 2)
    np.testing.assert_allclose(q.log_prob(z), log_q, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_density_is_normalised_over_z(name):
    """E_q[h/q] = 1 for a normalised h that is inside q: fails without the Jacobian, or with its sign turned."""
    q = member(name)
    z, log_q = q.sample_and_log_prob(jax.random.key(3), 20_000)
    inner = stats.multivariate_normal(z.mean(axis=0), 0.25 * np.cov(z, rowvar=False))
    ratio = np.exp(inner.logpdf(z) - log_q)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio))
    assert ratio.std() / np.sqrt(len(ratio)) < 0.1


def nodes_around(z, num_nodes=121, extent=6.5):
    """Nodes over the plane and their weights, spread to where heavy tails end: 300 sds away."""
    t = np.linspace(-extent, extent, num_nodes)
    points, weight = np.sinh(t), np.cosh(t) * (t[1] - t[0])
    axes = [m + s * points for m, s in zip(np.median(z, axis=0), z.std(axis=0), strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return grid, np.outer(weight, weight).ravel() * z.std(axis=0).prod()


@pytest.mark.parametrize("name", [n for n in NAMES if n.values[0] in CLOSED])
def test_log_prob_integrates_to_one_and_draws_have_its_moments(name):
    """By quadrature of log_prob alone; what the draws say agrees, moments and entropy, within their errors."""
    q = member(name)
    z, log_q = q.sample_and_log_prob(jax.random.key(8), 8192)
    nodes, weights = nodes_around(z)
    log_prob = q.log_prob(nodes)
    mass = weights * np.exp(log_prob)
    coarse = 4 * mass.reshape(121, 121)[::2, ::2].sum()
    assert abs(mass.sum() - coarse) < 0.02
    assert abs(mass.sum() - 1) < max(abs(mass.sum() - coarse), 1e-6)  # what leaving out every other node changes
    centre, sd = np.median(z, axis=0), z.std(axis=0)
    for f in (lambda z: np.arctan((z - centre) / sd)[:, 0], lambda z: np.arctan(((z - centre) / sd).prod(axis=1))):
        assert abs(f(z).mean() - mass @ f(nodes)) < 4.5 * f(z).std() / np.sqrt(len(z)) + 1e-3
    entropy = -mass @ np.where(mass > 0, log_prob, 0.0)
    assert abs(-log_q.mean() - entropy) < 4.5 * log_q.std() / np.sqrt(len(z)) + 3e-3


ALIKE = ("block_normal", "low_rank", "mixture", "mixture_diagonal", "affine_coupling")  # `flow` and `skewed` stand for
# draws of gamma and beta variables have derivatives that hold on average only
PATHWISE = [
    pytest.param(name, marks=pytest.mark.exhaustive if name in ALIKE else [])
    for name in CLOSED
    if name not in ("student_t", "constrained")
]


@pytest.mark.parametrize("name", PATHWISE)
def test_gradients_through_draws_and_densities_are_those_of_finite_differences(name):
    """Of a weighted sum over draws, in a random direction of the parameters; where draws move smoothly with them."""
    q, rng = member(name), np.random.default_rng(6)
    with jax.enable_x64(True):
        flat, unravel = jax.flatten_util.ravel_pytree(q.params)
        direction = jnp.asarray(rng.normal(size=flat.shape))

        def along(step):
            params = unravel(flat + step * direction)
            z, log_q, weights = q.family.weighted_draws(params, TARGET, jax.random.key(3), 6)
            return jnp.sum(weights * (log_q + 0.5 * jnp.sum(z**2, axis=-1) + z[:, 0]))

        steps = jnp.array([0.0, 1e-4, -1e-4, 2e-4, -2e-4])
        (_, *values), (slope, *_) = jax.jit(jax.vmap(jax.value_and_grad(along)))(steps)
    numerical = (8 * (values[0] - values[1]) - (values[2] - values[3])) / 12e-4
    np.testing.assert_allclose(slope, numerical, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_same_key_same_draws_and_the_sites_are_constrained(name):
    q = member(name)
    sites = q.sample(jax.random.key(4), 7)
    again = q.sample(jax.random.key(4), 7)
    assert set(sites) == {"rate", "share"}
    assert (sites["rate"] > 0).all()
    assert ((sites["share"] > 0) & (sites["share"] < 1)).all()
    np.testing.assert_array_equal(sites["rate"], again["rate"])


def test_every_family_has_a_name_in_the_registry():
    """But for guides, which a user brings, reflections of a fit, points and particles, which have no density.

    Nor for sparse and nested normals: algorithms of their own find where their precision is not zero.
    """
    offered = {kind for kind in vars(vi_kl.families).values() if isinstance(kind, type) and issubclass(kind, Family)}
    without = {Family, Guide, Delta, Particles, Reflected, SparseNormal, NestedNormal}
    assert {type(family) for family in REGISTERED.values()} == offered - without


@pytest.mark.parametrize("name", [n for n in NAMES if not isinstance(FAMILIES[n.values[0]], Guide)])
def test_saved_and_loaded_it_draws_the_same(name, tmp_path):
    """Guides are code, which the loader is given: tests/test_storage.py."""
    q = member(name)
    config = SVI(q.family, ELBO(2))
    vi_kl.save(Fit(q, Status(False, "Not fitted."), History(), Cost(0), config), tmp_path / "fit.vikl")
    loaded = vi_kl.load(tmp_path / "fit.vikl", TARGET)
    assert loaded.approximation.family == q.family
    assert loaded.algorithm == config
    for ours, theirs in zip(
        *(a.sample_and_log_prob(jax.random.key(4), 7) for a in (q, loaded.approximation)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
