"""Reflection: the density, the draws and the gain, against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import cumulative_trapezoid, trapezoid
from tiers import exhaustive

import vi_kl
from vi_kl.algorithms import SVI, Cost, Fit, History, Status
from vi_kl.core.errors import UnsuitableError
from vi_kl.diagnostics import check
from vi_kl.families import Approximation, FullRank, LowRank, MeanField, Reflected, Skewed, reflected
from vi_kl.families.reflected import gain
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")

GRID = np.linspace(-12, 14, 20_001)[:, None]


def lopsided(z):
    """The log of an exponential variable, up to a constant: its density is exp(z - exp(z))."""
    return jnp.sum(z - jnp.exp(z))


def one_dimensional():
    target = Target.from_log_density(lopsided, 1)
    params = {"loc": jnp.array([-0.5]), "log_scale": jnp.log(jnp.array([1.2]))}
    return Approximation(MeanField(), params, target)


def kl_on_grid(q):
    """KL(q||posterior) by quadrature."""
    log_q, z = q.log_prob(GRID), GRID[:, 0]
    density = np.exp(log_q)
    return trapezoid(np.where(density > 0, density * (log_q - (z - np.exp(np.minimum(z, 700)))), 0.0), z)


def test_the_density_is_normalised_and_its_draws_follow_it(key):
    q = reflected(one_dimensional())
    density = np.exp(q.log_prob(GRID))
    assert abs(trapezoid(density, GRID[:, 0]) - 1) < 1e-6
    z, log_q = q.sample_and_log_prob(key, 20_000)
    np.testing.assert_allclose(q.log_prob(z), log_q, rtol=1e-9, atol=1e-9)
    cdf = cumulative_trapezoid(density, GRID[:, 0], initial=0)
    assert stats.kstest(z[:, 0], lambda x: np.interp(x, GRID[:, 0], cdf)).pvalue > 1e-3


def test_the_kl_falls_by_the_gain_that_opposite_draws_tell(key):
    q = one_dimensional()
    z = q.sample_and_log_prob(key, 200_000)[0][:, 0]

    def log_ratio(z):
        return (z - np.exp(z)) - stats.norm.logpdf(z, -0.5, 1.2)

    told = np.asarray(gain(log_ratio(z) - log_ratio(-1.0 - z)))
    fell = kl_on_grid(q) - kl_on_grid(reflected(q))
    assert abs(told.mean() - fell) < 4 * told.std() / np.sqrt(len(told))
    assert fell > 0.02


def two_dimensional(family):
    target = Target.from_log_density(lopsided, 2)
    with jax.enable_x64(True):
        params = family.init(jax.random.key(1), target)
        rng = np.random.default_rng(0)
        params = jax.tree.map(lambda x: jnp.asarray(x + 0.3 * rng.normal(size=jnp.shape(x))), params)
    return Approximation(family, params, target)


@pytest.mark.parametrize("family", [Skewed(), exhaustive(FullRank())])
def test_every_image_of_noise_can_be_reflected(family, key):
    q = reflected(two_dimensional(family))
    z, log_q = q.sample_and_log_prob(key, 500)
    np.testing.assert_allclose(q.log_prob(z), log_q, rtol=1e-7, atol=1e-7)
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(q.distribution.log_prob)(z), log_q, rtol=1e-7, atol=1e-7)
        drawn, its_log_q = jax.jit(lambda key: q.family.sample_and_log_prob(q.params, q.target, key, 100))(key)
    np.testing.assert_allclose(q.log_prob(drawn), its_log_q, rtol=1e-7, atol=1e-7)


@pytest.mark.exhaustive
def test_a_reflection_is_checked_saved_and_loaded(key, tmp_path):
    q = reflected(one_dimensional())
    found = check(q, key=key)
    assert abs(found.reverse_kl.value - kl_on_grid(q)) < 4 * found.reverse_kl.standard_error + 1e-3
    fit = Fit(q, Status(True, "made by hand"), History(np.array([0.0])), Cost(0, 0, 0.0, 0.0), vi_kl.SVI(MeanField()))
    vi_kl.save(fit, tmp_path / "fit.vikl")
    again = vi_kl.load(tmp_path / "fit.vikl", q.target).approximation
    assert again.family == Reflected(MeanField())
    np.testing.assert_array_equal(again.log_prob(GRID[::500]), q.log_prob(GRID[::500]))


def test_it_is_not_fitted_and_needs_an_image_of_noise(key):
    with pytest.raises(UnsuitableError, match="fit full_rank"):
        vi_kl.fit(Target.from_log_density(lopsided, 2), SVI(Reflected()), key=key)
    with pytest.raises(UnsuitableError, match="cannot be reflected"):
        reflected(two_dimensional(LowRank(1)))
