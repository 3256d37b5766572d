"""Terms add up to the log density, and the sparse Hessian is the one that JAX computes whole."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from tiers import exhaustive_after

import vi_kl
from vi_kl import Target
from vi_kl.core.errors import UnsuitableError
from vi_kl.core.precision import in_float64
from vi_kl.targets import sparsity
from vi_kl.targets.curvature import DRAWS
from vi_kl.targets.hessian_structure import find_sparse_hessian
from vi_kl.targets.target import log_density
from vi_kl.targets.terms import terms

pytestmark = pytest.mark.usefixtures("compiled_quickly")

GROUPS = 60


def hierarchy(group, y):
    """A hierarchy with a plate of groups, of which each row sees one."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfNormal(2))
    with numpyro.plate("groups", GROUPS):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
    with numpyro.plate("rows", len(group)), numpyro.handlers.scale(scale=2.0):
        numpyro.sample("y", dist.StudentT(4.0, theta[group], 1.0), obs=y)


def walk(y):
    """A chain in time, whose whole prior is one site."""
    sd = numpyro.sample("sd", dist.HalfNormal(1))
    x = numpyro.sample("x", dist.GaussianRandomWalk(sd, len(y)))
    numpyro.sample("y", dist.Poisson(jnp.exp(x)).to_event(1), obs=y)


def chain(y):
    """A chain in time, written as a loop."""

    def step(before, y):
        x = numpyro.sample("x", dist.Normal(0.9 * before, scale))
        numpyro.sample("y", dist.Normal(0.0, jnp.exp(x / 2)), obs=y)
        return x, None

    scale = numpyro.sample("scale", dist.HalfNormal(1))
    scan(step, 0.0, y)


def slopes(group, x, y):
    """A hierarchy with correlated intercepts and slopes."""
    sds = numpyro.sample("sds", dist.HalfNormal(1).expand([2]).to_event(1))
    factor = numpyro.sample("factor", dist.LKJCholesky(2, 2.0))
    with numpyro.plate("groups", GROUPS):
        both = numpyro.sample("both", dist.MultivariateNormal(jnp.zeros(2), scale_tril=sds[:, None] * factor))
    mean = both[group, 0] + both[group, 1] * x
    numpyro.sample("y", dist.Bernoulli(logits=mean).to_event(1), obs=y)


def summed_in_a_loop(z, data):
    """A chain whose log density is added up by a loop: one term that sees all coordinates."""

    def step(carry, pair):
        before, total = carry
        x, y = pair
        return (x, total - 0.5 * (x - 0.8 * before) ** 2 - jnp.exp(x) + y * x), None

    (_, total), _ = jax.lax.scan(step, (0.0, 0.0), (z[1:], data))
    return total - 0.5 * z[0] ** 2 - jnp.log1p(z[0] ** 2) * z[1]


def scaled_in_a_loop(z, data):
    """The same with a coordinate that all steps share."""
    return summed_in_a_loop(z, data) - 0.5 * jnp.sum(jax.lax.map(lambda x: jnp.exp(0.1 * z[0]) * x**2, z[1:]))


def example(name: str) -> Target:
    rng = np.random.default_rng(0)
    group, counts = np.repeat(np.arange(GROUPS), 3), rng.poisson(2.0, 70).astype(float)
    y, x = rng.normal(size=len(group)), rng.normal(size=len(group))
    match name:
        case "hierarchy":
            return Target.from_numpyro(hierarchy, group, y)
        case "walk":
            return Target.from_numpyro(walk, counts)
        case "chain":
            return Target.from_numpyro(chain, y)
        case "slopes":
            return Target.from_numpyro(slopes, group, x, (y > 0).astype(float))
        case "summed_in_a_loop":
            return Target.from_log_density(summed_in_a_loop, 71, data=counts)
        case _:
            return Target.from_log_density(scaled_in_a_loop, 71, data=counts)


NAMES = ("slopes", "chain", "summed_in_a_loop", "scaled_in_a_loop", "hierarchy", "walk")


@pytest.mark.parametrize("name", exhaustive_after(4, NAMES))
@in_float64
def test_terms_and_the_sparse_hessian(name):
    target = example(name)
    z = np.random.default_rng(1).uniform(-1, 1, (DRAWS, target.dim))
    by_terms = jax.jit(jax.vmap(lambda z: terms(target, z)))(z).sum(axis=1)
    whole = np.array([float(target.log_density(one)) for one in z])
    np.testing.assert_allclose(by_terms - by_terms[0], whole - whole[0], atol=1e-9)

    hessian = find_sparse_hessian(target, z[:2])
    assert len(hessian.structure.rows) < 8 * target.dim  # it is sparse
    seen = hessian.at(z)
    dense = jax.jit(jax.vmap(jax.hessian(lambda z: log_density(target, z))))(z).mean(axis=0)
    ours = np.zeros((target.dim, target.dim))
    order = hessian.structure.order
    ours[np.ix_(order, order)] = hessian.structure.matrix(seen.entries).toarray()
    np.testing.assert_allclose(ours, -dense, atol=1e-8 * np.abs(dense).max())
    gradient = jax.jit(jax.grad(lambda z: log_density(target, z)))(z[0])
    np.testing.assert_allclose(seen.gradients[0], gradient, rtol=1e-9)
    if hessian.wide is None:
        concave = hessian.structure.matrix(seen.concave_entries).toarray()
        assert np.linalg.eigvalsh(concave).min() > -1e-8 * np.abs(dense).max()


@in_float64
def test_a_full_hessian_is_refused_by_name():
    a = np.random.default_rng(0).normal(size=(120, 120))
    target = Target.from_log_density(lambda z, a: -jnp.logaddexp(jnp.sum((a @ z) ** 2), 0.0), 120, data=a)
    with pytest.raises(UnsuitableError, match="not sparse"):
        find_sparse_hessian(target, np.random.default_rng(1).normal(size=(2, 120)))


@in_float64
def test_a_hessian_that_misses_a_dependence_is_refused():
    """The product vanishes to first order at the points that are probed, and not in the gradients' differences."""

    def density(z):
        return -0.5 * jnp.sum(z**2) - jnp.where(jnp.abs(z[3] - 0.5) < 1e-9, 0.0, 50.0 * z[3] * z[70])

    target = Target.from_log_density(density, 100)
    points = np.random.default_rng(0).uniform(-1, 1, (2, 100))
    points[:, 3] = 0.5
    with pytest.raises(UnsuitableError, match="does not agree"):
        find_sparse_hessian(target, points)


def test_probing_resolves_rows_that_see_several_coordinates_of_a_large_part():
    """Random rows of one to three coordinates out of 3,000, and one row of all of them."""
    rng = np.random.default_rng(0)
    dense = np.zeros((500, 3000))
    for row in dense[:-1]:
        row[rng.choice(3000, rng.integers(1, 4), replace=False)] = rng.normal(size=1)
    dense[-1] = 1.0
    calls = []

    def derivatives(directions):
        calls.append(len(directions))
        return directions @ dense.T

    found = sparsity.probe(derivatives, [np.arange(3000)], np.random.default_rng(1))
    np.testing.assert_array_equal(found.unresolved, [False] * 499 + [True])
    np.testing.assert_array_equal(found.pattern.toarray()[:-1], dense[:-1] != 0)
    assert sum(calls) < 450


def test_no_row_sees_two_columns_of_one_colour():
    rng = np.random.default_rng(0)
    dense = rng.random((200, 80)) < 0.03
    dense[:, 5] = True
    found = sparsity.colours(sparsity.sp.csr_array(dense))
    for row in dense:
        assert len(set(found[row])) == row.sum()
    assert found.max() < 20


@in_float64
def test_a_density_with_derivatives_in_reverse_only_is_refused_by_name():
    @jax.custom_vjp
    def squares(z):
        return jnp.sum(z**2)

    squares.defvjp(lambda z: (squares(z), z), lambda z, g: (2 * g * z,))
    target = Target.from_log_density(lambda z: -0.5 * squares(z), 120)
    with pytest.raises(UnsuitableError, match="forward mode"):
        find_sparse_hessian(target, np.ones((2, 120)))
    fit = vi_kl.fit(target, key=0)  # the default goes on with the others
    assert fit.status.converged
    assert "forward mode" in str(fit.status)
