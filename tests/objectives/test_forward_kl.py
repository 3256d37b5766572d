"""The forward divergence, by weighted draws of q and by draws of the posterior, against quadrature and moments."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from expectations import TARGETS, assert_means, estimates, exact, forward_kl, log_density, normal_log_density
from scipy import stats
from test_elbo import EXACT, Blocked
from tiers import exhaustive_after

from vi_kl.algorithms import SVI
from vi_kl.families import Flow, FullRank, Guide, MeanField
from vi_kl.families.frame import Frame
from vi_kl.families.gaussian import scale_tril
from vi_kl.objectives import ELBO, ForwardKL, ForwardKLToDraws, ObjectiveError, TargetWithDraws, with_draws
from vi_kl.reference.mcmc.draws import PosteriorDraws
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.mark.parametrize("name", exhaustive_after(2, ["two_modes", "log_gamma", "normal", "skew_normal"]))
def test_value_and_gradient_are_those_of_the_forward_divergence(name):
    """Both are biased by one over the draws: at 4,000 of them by less than 200 evaluations tell."""
    assert_means(estimates(ForwardKL(4_000), name, 200, Blocked()), exact(forward_kl, name), at_most=0.005)


def test_there_is_no_noise_at_the_answer_and_the_value_is_zero():
    value, slopes = estimates(ForwardKL(4_000), "normal", 200, Blocked(), EXACT)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves((value, slopes))) < 1e-12


def test_a_value_far_away_is_the_logarithm_of_the_draws():
    """All the weight on one draw; nothing overflows."""
    far = {"loc": np.array([60.0]), "log_scale": np.array([0.0])}
    values, slopes = estimates(ForwardKL(4_000), "normal", 200, Blocked(), far)
    assert (values < np.log(4_000)).all()
    assert (values > 0.9 * np.log(4_000)).all()
    assert all(np.isfinite(leaf).all() for leaf in slopes.values())


def apart(z):
    """0.4 N(-3, 0.6^2) + 0.6 N(3, 0.8^2)."""
    return jnp.logaddexp(
        jnp.log(0.4) + normal_log_density(z[0], -3.0, 0.6), jnp.log(0.6) + normal_log_density(z[0], 3.0, 0.8)
    )


def test_forward_covers_two_modes_where_reverse_takes_one():
    """The mixture has mean 0.4 (-3) + 0.6 3, and variance 0.4 (0.6^2 + 9) + 0.6 (0.8^2 + 9) less its square."""
    target, start = Target.from_log_density(apart, 1), Frame.of([1.0], [3.0])
    fitted = {}
    for objective in (ForwardKL(256), ELBO()):
        config = SVI(MeanField(), objective, step_size=0.02, max_steps=3_000)
        q = config.fit(jax.random.key(1), target, start=start).approximation
        fitted[type(objective)] = float(q.params["loc"][0]), float(np.exp(q.params["log_scale"][0]))
    np.testing.assert_allclose(fitted[ForwardKL], (0.6, np.sqrt(9.528 - 0.36)), atol=0.05)
    np.testing.assert_allclose(fitted[ELBO], (3.0, 0.8), atol=0.02)  # the heavier mode, as it is


RNG = np.random.default_rng(4)
DRAWS = RNG.normal(size=(400, 2)) @ np.array([[1.0, 0.0], [0.8, 0.3]]).T + np.array([2.0, -1.0])


def standard(z):
    return -0.5 * jnp.sum(z**2)


def test_the_fit_to_draws_has_their_moments():
    """Maximum likelihood of a normal: the draws' mean and covariance (divided by n), whatever the log density says."""
    target = with_draws(Target.from_log_density(standard, 2), DRAWS)
    fit = SVI(FullRank(), ForwardKLToDraws(256), tolerance=1e-4).fit(jax.random.key(0), target, start=frame_near(DRAWS))
    q = stats.multivariate_normal(fit.approximation.params["loc"], covariance_of(fit.approximation.params))
    best = stats.multivariate_normal(DRAWS.mean(axis=0), np.cov(DRAWS, rowvar=False, bias=True))
    shortfall = (best.logpdf(DRAWS) - q.logpdf(DRAWS)).mean()
    assert 0 <= shortfall < 2e-3
    assert fit.cost.gradient_evaluations == 0


def frame_near(draws):
    return Frame.of(draws[0], draws.std(axis=0))


def covariance_of(params):
    with jax.enable_x64(True):
        tril = np.asarray(scale_tril(jax.tree.map(jnp.asarray, params)))
    return tril @ tril.T


def test_the_loss_of_draws_is_their_cross_entropy():
    rate = Target.from_log_density(log_density, 1, data=TARGETS["log_gamma"].data)
    z = np.log(stats.gamma(3, scale=0.5).rvs(500, random_state=1))[:, None]
    target, params = with_draws(rate, z), {"loc": np.array([0.1]), "log_scale": np.log([0.75])}
    with jax.enable_x64(True):
        loss = jax.jit(
            lambda keys, params, target: jax.vmap(lambda k: ForwardKLToDraws(50)(k, params, MeanField(), target))(keys)
        )
        params = jax.tree.map(jnp.asarray, params)
        values = np.asarray(loss(jax.random.split(jax.random.key(2), 2_000), params, target))
    assert_means(values, -stats.norm(0.1, 0.75).logpdf(z).mean(), at_most=0.01)


def rate_model(y):
    rate = numpyro.sample("rate", dist.Gamma(3.0, 2.0))
    numpyro.sample("y", dist.Exponential(rate), obs=y)


def rate_guide(y):
    shape = numpyro.param("shape", 2.0, constraint=dist.constraints.positive)
    numpyro.sample("rate", dist.Gamma(shape, 2.0))


def test_draws_come_as_sites_too_and_travel_with_the_target():
    plain = Target.from_numpyro(rate_model, np.array([0.5]), reference="known")
    rates = np.array([0.5, 1.0, 2.5])
    target = with_draws(plain, {"rate": rates})
    np.testing.assert_allclose(target.draws[:, 0], np.log(rates), rtol=1e-12)
    assert target.reference == "known"
    assert isinstance(target.with_reference(None), TargetWithDraws)
    np.testing.assert_array_equal(with_draws(plain, PosteriorDraws(target.draws[None], True)).draws, target.draws)
    leaves, structure = jax.tree.flatten(target)
    assert any(leaf is target.draws for leaf in leaves)
    assert jax.tree.unflatten(structure, leaves).draws is target.draws
    Guide(rate_guide).require(target)  # guides need the model, which is still there
    np.testing.assert_allclose(target.log_density([0.3]), plain.log_density([0.3]))


@pytest.mark.parametrize(
    ("draws", "words"),
    [
        (np.zeros(5), r"shape \(n, 2\)"),
        (np.zeros((5, 3)), r"shape \(5, 3\)"),
        (np.zeros((1, 2)), "at least 2"),
        (np.array([[0.0, 1.0], [0.0, np.inf], [1.0, np.nan]]), r"2 of 3 draws.*draw 1, at 'z\[1\]'"),
        ({"x": np.zeros((5, 2))}, r"\['x'\].*\['z'\]"),
    ],
)
def test_draws_that_are_not_the_targets_are_refused(draws, words):
    with pytest.raises(ValueError, match=words):
        with_draws(Target.from_log_density(standard, 2), draws)


def test_what_is_missing_is_said_before_a_fit():
    plain = Target.from_log_density(standard, 2)
    with pytest.raises(ObjectiveError, match=r"vi_kl\.objectives\.with_draws"):
        ForwardKLToDraws().require(FullRank(), plain)
    for objective in (ForwardKL(), ForwardKLToDraws()):
        with pytest.raises(ObjectiveError, match="'iaf' knows it cheaply at its own draws only"):
            objective.require(Flow(), with_draws(plain, DRAWS))
        objective.require(FullRank(), with_draws(plain, DRAWS))


@pytest.mark.parametrize("make", [lambda: ForwardKL(1), lambda: ForwardKLToDraws(0)])
def test_nonsense_is_refused(make):
    with pytest.raises(ValueError, match="num_draws"):
        make()
