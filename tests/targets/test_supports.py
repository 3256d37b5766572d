"""Every support that NumPyro has: a change of variables with the right Jacobian, or a refusal by name."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import biject_to, constraints

from vi_kl.targets import Parameter, Target
from vi_kl.targets.numpyro.model import ModelError

pytestmark = pytest.mark.usefixtures("compiled_quickly")
LOWER = np.tril_indices(3)
BELOW = np.tril_indices(3, -1)

# {site: (constraint, event shape, the coordinates that the prior's density is taken over)}
SUPPORTS = {
    "real": (constraints.real, (2,), jnp.ravel),
    "real_vector": (constraints.real_vector, (2,), jnp.ravel),
    "real_matrix": (constraints.real_matrix, (2, 2), jnp.ravel),
    "positive": (constraints.positive, (2,), jnp.ravel),
    "nonnegative": (constraints.nonnegative, (), jnp.ravel),
    "softplus_positive": (constraints.softplus_positive, (2,), jnp.ravel),
    "greater_than": (constraints.greater_than(np.array([-1.0, 3.0])), (2,), jnp.ravel),
    "greater_than_eq": (constraints.greater_than_eq(2.0), (), jnp.ravel),
    "less_than": (constraints.less_than(2.0), (2,), jnp.ravel),
    "less_than_eq": (constraints.less_than_eq(np.array([2.0, -1.0])), (2,), jnp.ravel),
    "unit_interval": (constraints.unit_interval, (2,), jnp.ravel),
    "interval": (constraints.interval(np.array([-1.0, 0.0]), np.array([2.0, 5.0])), (2,), jnp.ravel),
    "open_interval": (constraints.open_interval(-1.0, 4.0), (), jnp.ravel),
    "circular": (constraints.circular, (2,), jnp.ravel),
    "ordered": (constraints.ordered_vector, (3,), jnp.ravel),
    "positive_ordered": (constraints.positive_ordered_vector, (3,), jnp.ravel),
    "l1_ball": (constraints.l1_ball, (3,), jnp.ravel),
    "simplex": (constraints.simplex, (3,), lambda x: x[:-1]),
    "corr_cholesky": (constraints.corr_cholesky, (3, 3), lambda x: x[BELOW]),
    "corr_matrix": (constraints.corr_matrix, (3, 3), lambda x: x[BELOW]),
    "lower_cholesky": (constraints.lower_cholesky, (3, 3), lambda x: x[LOWER]),
    "softplus_lower_cholesky": (constraints.softplus_lower_cholesky, (3, 3), lambda x: x[LOWER]),
    "scaled_unit_lower_cholesky": (constraints.scaled_unit_lower_cholesky, (3, 3), lambda x: x[LOWER]),
    "positive_definite": (constraints.positive_definite, (3, 3), lambda x: x[LOWER]),
    "positive_semidefinite": (constraints.positive_semidefinite, (3, 3), lambda x: x[LOWER]),
    "zero_sum": (constraints.zero_sum(1), (3,), jnp.ravel),
    "zero_sum_matrix": (constraints.zero_sum(2), (3, 2), jnp.ravel),
    "cat": (constraints.cat([constraints.positive, constraints.real], -1, [2, 1]), (3,), jnp.ravel),
}
OF_EACH_KIND = ("greater_than", "less_than_eq", "interval", "circular", "ordered", "simplex", "corr_matrix", "zero_sum")


def flat(y, names=tuple(SUPPORTS)):
    """A flat prior on each support: the log density is the log of the Jacobian, and nothing else."""
    sites = [numpyro.sample(n, dist.ImproperUniform(SUPPORTS[n][0], (), SUPPORTS[n][1])) for n in names]
    numpyro.factor("nothing", 0 * y * sum(map(jnp.sum, sites)))  # a site that nothing depends on is refused


@pytest.mark.filterwarnings("ignore:Continuous inference poorly handles circular")
@pytest.mark.parametrize("names", [OF_EACH_KIND, pytest.param(tuple(SUPPORTS), marks=pytest.mark.exhaustive)])
def test_every_supports_jacobian_is_that_of_its_change_of_variables(names):
    target = Target.from_numpyro(functools.partial(flat, names=names), np.array(0.0))
    z = np.random.default_rng(1).normal(size=target.dim)
    sites = target.constrain(z)
    for name in names:
        constraint, shape, _ = SUPPORTS[name]
        assert sites[name].shape == shape
        inside = constraint(sites[name]) if name != "cat" else np.all(sites[name][:2] > 0)
        assert np.all(inside), name
    np.testing.assert_allclose(target.unconstrain(sites), z, atol=1e-7)

    def coordinates(z):
        sites, log_det = target.density.constrain(target.data, target.unravel(z))
        return {name: SUPPORTS[name][2](sites[name]) for name in names}, log_det

    with jax.enable_x64(True):
        jacobian, log_det = jax.jit(jax.jacfwd(coordinates, has_aux=True))(jnp.asarray(z))
        jacobian = {name: np.asarray(block) for name, block in jacobian.items()}
    expected, start = {}, 0
    for site in target.sites:
        block = jacobian[site.name][:, start : start + site.size]
        assert np.linalg.matrix_rank(block) == site.size, site.name
        expected[site.name] = 0.5 * np.linalg.slogdet(block.T @ block)[1]  # the volume, also within a plane
        start += site.size
    np.testing.assert_allclose(target.log_density(z), sum(expected.values()), rtol=1e-9)
    np.testing.assert_allclose(log_det, sum(expected.values()), rtol=1e-9)


def no_prior(constraint, shape=(3,)):
    return lambda y: numpyro.sample("where", dist.ImproperUniform(constraint, (), shape))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda y: numpyro.sample("where", dist.ProjectedNormal(y)), ["'where'", "ProjectedNormalReparam"]),
        (no_prior(constraints.positive_definite_circulant_vector), ["'where'", "Circulant", "deterministic"]),
        (no_prior(constraints.complex), ["'where'", "complex", "real and imaginary"]),
        (lambda y: numpyro.sample("where", dist.Delta(y)), ["'where'", "point", "numpyro.deterministic"]),
    ],
)
def test_supports_without_a_change_of_variables_are_refused_by_name(model, words):
    with pytest.raises(ModelError) as raised:
        Target.from_numpyro(model, np.ones(3))
    for word in words:
        assert word in str(raised.value)


def test_factor_and_deterministic_sites_add_what_they_say():
    def model(y):
        rate = numpyro.sample("rate", dist.Exponential(1.0))
        twice = numpyro.deterministic("twice", 2 * rate)
        with numpyro.plate("rows", len(y)):
            numpyro.factor("push", -y * twice)

    y = np.array([0.3, 0.5])
    target = Target.from_numpyro(model, y)
    assert target.site_names == ("rate",)
    z = np.array([[0.4], [-1.0]])
    rate = np.exp(z[:, 0])
    np.testing.assert_allclose(target.log_density(z), -rate - 2 * rate * y.sum() + z[:, 0], rtol=1e-12)


@pytest.mark.filterwarnings("ignore:Continuous inference poorly handles circular")
@pytest.mark.parametrize(
    "names", [("simplex", "interval", "corr_cholesky"), pytest.param(tuple(SUPPORTS), marks=pytest.mark.exhaustive)]
)
def test_parameters_of_a_log_density_have_the_same_supports(names):
    """A flat density of the same parameters is the Jacobian too, site by site that of the model."""
    with jax.enable_x64(True):
        shapes = {name: biject_to(SUPPORTS[name][0]).inverse_shape(SUPPORTS[name][1]) for name in names}
        zero = jax.jit(lambda: {name: biject_to(SUPPORTS[name][0])(jnp.zeros(shapes[name])) for name in names})()
        zero = jax.tree.map(np.asarray, zero)
    examples = {name: Parameter(zero[name], SUPPORTS[name][0]) for name in names}
    target = Target.from_log_density(lambda p, y: 0 * y * sum(map(jnp.sum, p.values())), examples, data=np.array(0.0))
    model = Target.from_numpyro(functools.partial(flat, names=names), np.array(0.0))
    assert target.sites == model.sites
    z = np.random.default_rng(1).normal(size=target.dim)
    sites = target.constrain(z)
    np.testing.assert_allclose(target.unconstrain(sites), z, rtol=1e-6, atol=1e-8)
    for name, value in model.constrain(z).items():
        np.testing.assert_allclose(sites[name], value, rtol=1e-12)
    np.testing.assert_allclose(target.log_density(z), model.log_density(z), rtol=1e-12)
