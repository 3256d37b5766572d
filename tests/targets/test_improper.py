"""Improper flat priors: targets like any other, as long as the posterior is proper."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from scipy import stats

import vi_kl
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def flat_normal(y):
    """Flat on the mean and on the log of the scale: the textbook's reference prior."""
    loc = numpyro.sample("loc", dist.ImproperUniform(constraints.real, (), ()))
    scale = numpyro.sample("scale", dist.ImproperUniform(constraints.positive, (), ()))
    numpyro.factor("reference", -jnp.log(scale))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(loc, scale), obs=y)


def flat_of_every_kind(y):
    flat = dist.ImproperUniform
    matrix = numpyro.sample("matrix", flat(constraints.real, (), (2, 3)))
    above = numpyro.sample("above", flat(constraints.greater_than(3.0), (2,), (4,)))
    simplex = numpyro.sample("simplex", flat(constraints.simplex, (), (3,)))
    ordered = numpyro.sample("ordered", flat(constraints.ordered_vector, (), (3,)))
    bound = numpyro.sample("bound", flat(constraints.positive, (), ()))
    with numpyro.plate("rows", len(y)):
        row = numpyro.sample("row", flat(constraints.interval(-bound, bound), (), ()))
        masked = numpyro.sample("masked", flat(constraints.real, (), ()).mask(False))
        numpyro.sample("y", dist.Normal(row, 1), obs=y)
    numpyro.factor("decay", -sum(jnp.sum(x**2) for x in (matrix, above, simplex, ordered, masked)))


def test_the_reference_prior_gives_the_textbook_posterior():
    y = np.array([0.4, 1.3, 0.9, 2.2])
    target = Target.from_numpyro(flat_normal, y)
    z = np.array([[0.3, -0.2], [1.1, 0.4]])
    expected = [stats.norm.logpdf(y, loc, np.exp(log_scale)).sum() for loc, log_scale in z]  # 1/scale is the Jacobian
    np.testing.assert_allclose(target.log_density(z), expected, rtol=1e-12)
    assert np.isfinite(target.initial_position(jax.random.key(0))).all()


@pytest.mark.landing
def test_every_flat_prior_contributes_its_jacobian_only():
    y = np.array([0.4, 1.3])
    target = Target.from_numpyro(flat_of_every_kind, y)
    assert {site.name: (site.shape, site.unconstrained_shape) for site in target.sites} == {
        "matrix": ((2, 3), (2, 3)), "above": ((2, 4), (2, 4)), "simplex": ((3,), (2,)), "ordered": ((3,), (3,)),
        "bound": ((), ()), "row": ((2,), (2,)), "masked": ((2,), (2,)),
    }  # fmt: skip
    z = np.random.default_rng(3).normal(size=target.dim)
    sites = target.constrain(z)
    with jax.enable_x64(True):
        raw = {name: np.asarray(value) for name, value in target.unravel(z).items()}
    half = sites["bound"]
    s = (sites["row"] + half) / (2 * half)
    # the simplex: the product over sticks of its length times the logistic derivative
    x = sites["simplex"]
    v = x[:2] / (1 - np.array([0, x[0]]))
    jacobian = (
        raw["above"].sum() + raw["bound"] + raw["ordered"][1:].sum() + np.log(2 * half * s * (1 - s)).sum()
        + np.log(v * (1 - v) * np.array([1, 1 - x[0]])).sum()
    )  # fmt: skip
    decay = sum(np.sum(sites[name] ** 2) for name in ("matrix", "above", "simplex", "ordered", "masked"))
    expected = stats.norm.logpdf(y, sites["row"], 1).sum() + jacobian - decay
    np.testing.assert_allclose(target.log_density(z), expected, rtol=1e-12)
    np.testing.assert_allclose(target.unconstrain(sites), z, atol=1e-9)


def test_a_posterior_under_a_flat_prior_is_fitted():
    y = np.array([0.4, 1.3, 0.9, 2.2])

    def model(y):
        loc = numpyro.sample("loc", dist.ImproperUniform(constraints.real, (), ()))
        numpyro.sample("y", dist.Normal(loc, 1), obs=y)

    target = Target.from_numpyro(model, y)
    fit = vi_kl.fit(target, "laplace", key=jax.random.key(1))
    with jax.enable_x64(True):
        moments = fit.approximation.distribution
    np.testing.assert_allclose(moments.loc, [y.mean()], rtol=1e-9)
    np.testing.assert_allclose(moments.scale_tril, [[1 / np.sqrt(len(y))]], rtol=1e-6)
