"""AutoGuideList: its parts over flat vectors have the density of those vectors, at their own draws and at any z."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer import autoguide
from scipy import stats

from vi_kl.algorithms.svi.svi import SVI
from vi_kl.diagnostics.evidence import elbo
from vi_kl.families.guide import Guide, GuideError
from vi_kl.objectives import ELBO
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")
X = np.array([[0.3, 1.0], [-1.2, 0.4], [0.8, -0.5], [1.5, 0.2]])
Y = np.array([1.4, -0.9, 0.6, 1.8])


def regression(x, y):
    slopes = numpyro.sample("slopes", dist.Normal(0, 2).expand([2]).to_event(1))
    scale = numpyro.sample("scale", dist.LogNormal(0, 0.5))
    numpyro.sample("y", dist.Normal(x @ slopes, scale), obs=y)


def only(*names):
    return handlers.block(
        regression, hide_fn=lambda site: site.get("name") not in names and not site.get("is_observed")
    )


def guide_of(*parts):
    guide = autoguide.AutoGuideList(regression)
    for part in parts:
        guide.append(part)
    return guide


@pytest.fixture(scope="module")
def target():
    return Target.from_numpyro(regression, X, Y)


def normal_list():
    return guide_of(
        autoguide.AutoMultivariateNormal(only("slopes")), autoguide.AutoDiagonalNormal(only("scale"), prefix="other")
    )


def nested():
    return guide_of(guide_of(autoguide.AutoMultivariateNormal(only("slopes"))), autoguide.AutoNormal(only("scale")))


@pytest.mark.exhaustive
@pytest.mark.parametrize("make", [normal_list, nested])
def test_the_density_of_a_list(target, make):
    """That of the two normals, at draws with their intermediates and at any z."""
    family = Guide(make())
    params = family.init(jax.random.key(0), target)
    tril = np.array([[0.5, 0.0], [-0.3, 0.8]])
    params = {name: np.zeros_like(value) + 0.2 for name, value in params.items()}
    params |= {"auto_scale_tril": unconstrained(tril)}
    sd = np.log1p(np.exp(0.2))  # as NumPyro's guides have it: the softplus of a free parameter
    z = np.array([0.1, 0.4, -0.2])  # log of the scale, and the slopes: sites by name
    expected = stats.norm.logpdf(0.1, 0.2, sd) + stats.multivariate_normal.logpdf(z[1:], [0.2, 0.2], tril @ tril.T)

    @jax.jit
    def densities(z):
        drawn, log_q = family.sample_and_log_prob(params, target, jax.random.key(0), 2)
        return [
            family.log_prob(params, target, z),
            log_q,
            jax.vmap(lambda z: family.log_prob(params, target, z))(drawn),
        ]

    with jax.enable_x64(True):
        at_z, at_draws, again = map(np.asarray, densities(jnp.asarray(z)))
    np.testing.assert_allclose(at_z, expected, rtol=1e-9)
    np.testing.assert_allclose(at_draws, again, rtol=1e-9)


def unconstrained(tril):
    transform = dist.biject_to(dist.constraints.scaled_unit_lower_cholesky)
    with jax.enable_x64(True):
        return np.asarray(transform.inv(jnp.asarray(tril)))


@pytest.mark.exhaustive
def test_a_list_is_fitted_as_its_joint_normal_is(target):
    """A list that leaves the slopes' correlation free loses next to nothing against the normal of all."""
    settings = {"objective": ELBO(num_draws=4), "step_size": 0.1, "max_steps": 3000}
    fits = [
        SVI(Guide(guide), **settings).fit(0, target)
        for guide in (normal_list(), autoguide.AutoMultivariateNormal(regression))
    ]
    first, second = (elbo(fit.approximation, jax.random.key(1)) for fit in fits)
    assert abs(first.value - second.value) < 0.1


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            lambda: (autoguide.AutoNormal(only("slopes")), autoguide.AutoDelta(only("scale"))),
            "has the part AutoDelta.*point",
        ),
        (
            lambda: (autoguide.AutoLaplaceApproximation(only("slopes")), autoguide.AutoNormal(only("scale"))),
            "has the part",
        ),
        (
            lambda: (autoguide.AutoMultivariateNormal(only("slopes")), autoguide.AutoDiagonalNormal(only("scale"))),
            "prefix 'auto': give each its own",
        ),
        (lambda: (autoguide.AutoMultivariateNormal(only("slopes")),), r"does not draw \['scale'\]"),
    ],
)
def test_lists_without_a_density(target, parts, words):
    with pytest.raises(GuideError, match=words):
        Guide(guide_of(*parts())).init(jax.random.key(0), target)
