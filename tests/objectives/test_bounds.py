"""The bounds made of importance weights, against quadrature: Renyi, importance-weighted, chi-squared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from expectations import (
    LOG_EVIDENCE,
    PLACES,
    assert_means,
    bound_of_two,
    estimates,
    exact,
    log_moment,
    reverse_kl_loss,
)
from test_elbo import EXACT, MIXTURE, TwoNormals

from vi_kl.families import FullRank
from vi_kl.objectives import ELBO, IWELBO, ChiSquared, ObjectiveError, Renyi
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")

N = 20_000


def minus(value_and_slopes):
    return jax.tree.map(np.negative, value_and_slopes)


def renyi_of_normals(q, p, alpha):
    """D_alpha(q||p). Gil, Alajaji & Linder (2013), table 2."""
    (m1, s1), (m2, s2) = q, p
    mixed = alpha * s2**2 + (1 - alpha) * s1**2
    return np.log(s2 / s1) + np.log(s2**2 / mixed) / (2 * (alpha - 1)) + alpha * (m1 - m2) ** 2 / (2 * mixed)


@pytest.mark.parametrize("alpha", [0.5, -1.0])
def test_the_quadrature_is_the_formula(alpha):
    """log evidence - D_alpha(q||p) for two normals; at alpha = -1, the chi-squared bound of order 2."""
    value, _ = exact(log_moment, "normal", 1 - alpha)
    expected = LOG_EVIDENCE["normal"] - renyi_of_normals(PLACES["normal"], (1.0, 0.7), alpha)
    np.testing.assert_allclose(value, expected, rtol=1e-10)


TWO_DRAWS = [
    (Renyi(0.5, 2, "doubly_reparameterised"), 0.5, -1),
    pytest.param(Renyi(0.5, 2, "total"), 0.5, -1, marks=pytest.mark.exhaustive),
    pytest.param(Renyi(2.0, 2, "doubly_reparameterised"), -1.0, -1, marks=pytest.mark.exhaustive),
    (IWELBO(2, 1, "doubly_reparameterised"), 1.0, -1),
    pytest.param(IWELBO(2, 1, "total"), 1.0, -1, marks=pytest.mark.exhaustive),
    (ChiSquared(2, 2.0, "total"), 2.0, 1),
]


@pytest.mark.parametrize(("objective", "power", "sign"), TWO_DRAWS, ids=str)
def test_value_and_gradient_of_two_draws_are_unbiased(objective, power, sign):
    """Nearly all of a bound's finite-sample part shows at two draws, where quadrature on the plane is exact."""
    for name in ("normal", "skew_normal", "two_modes"):
        value, slopes = exact(bound_of_two, name, power)
        expected = jax.tree.map(lambda x: sign * x, (value, slopes))
        assert_means(estimates(objective, name, N), expected, at_most=0.03)
    if objective.gradient == "doubly_reparameterised":
        without_noise(objective, N)


def test_the_chi_squared_gradient_is_that_of_the_exact_bound():
    """Its bias falls as one over the draws: at 2,000 of them it is below what 100 evaluations tell."""
    for name in ("normal", "skew_normal", "two_modes"):
        found = estimates(ChiSquared(2_000), name, 100)
        assert_means(found, exact(log_moment, name, 2.0), at_most=0.03)
    without_noise(ChiSquared(2_000), 100)


@pytest.mark.exhaustive
def test_many_draws_reach_the_exact_renyi_bound():
    for name in ("normal", "log_gamma", "two_modes"):
        found = estimates(Renyi(0.5, 2_000), name, 100)
        assert_means(found, minus(exact(log_moment, name, 0.5)), at_most=0.01)


@pytest.mark.exhaustive
def test_near_order_one_it_is_the_elbo():
    near, elbo = (estimates(objective, "log_gamma", 50) for objective in (Renyi(1 - 1e-6, 8), ELBO(8)))
    for one, other in zip(*map(jax.tree.leaves, (near, elbo)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.exhaustive
def test_at_order_one_it_is_the_elbo_to_the_last_digits():
    at, elbo = (estimates(objective, "log_gamma", 50) for objective in (Renyi(1.0, 8), ELBO(8)))
    for one, other in zip(*map(jax.tree.leaves, (at, elbo)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.exhaustive
def test_the_importance_weighted_bound_rises_from_the_elbo_to_the_log_evidence():
    """At one draw and at two exactly, then in standard errors."""
    for name in ("log_gamma", "two_modes"):
        eight, many = (-estimates(IWELBO(k, 64 // k), name, 2_000)[0] for k in (8, 64))
        means = [-exact(reverse_kl_loss, name)[0], exact(bound_of_two, name, 1.0)[0], eight.mean(), many.mean()]
        assert (np.diff(means) > 4 * np.hypot(error_of(eight), error_of(many))).all(), means
        assert -0.02 < means[-1] - LOG_EVIDENCE[name] < 4 * error_of(many)


def error_of(values):
    return values.std(ddof=1) / np.sqrt(len(values))


def test_the_chi_squared_bound_is_above_the_evidence_in_expectation_only():
    """The bound is; but with two draws the mean of the estimates, tested above, is not."""
    log_evidence = LOG_EVIDENCE["two_modes"]
    assert exact(bound_of_two, "two_modes", 2.0)[0] < log_evidence < exact(log_moment, "two_modes", 2.0)[0]


def without_noise(objective, num_keys):
    """Whether the gradient is zero where q is the posterior, whatever the draws."""
    _, slopes = estimates(objective, "normal", num_keys, params=EXACT)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(slopes)) < 1e-12


@pytest.mark.exhaustive
def test_the_doubly_reparameterised_gradient_keeps_its_signal_as_draws_are_added():
    """Rainforth et al. (2018): the plain gradient's signal to noise falls as K grows; the other's rises."""

    def signal_to_noise(num_importance, gradient):
        slopes = estimates(IWELBO(num_importance, 1, gradient), "normal", 2_000)[1]["loc"]
        return abs(slopes.mean()) / slopes.std()

    twice = [signal_to_noise(k, "doubly_reparameterised") for k in (2, 128)]
    assert twice[1] > 3 * twice[0]
    assert signal_to_noise(128, "total") < 0.2 * twice[1]


@pytest.mark.parametrize("objective", [Renyi(), IWELBO(), ChiSquared()], ids=lambda o: type(o).__name__)
def test_draws_without_a_gradient_are_refused_before_a_fit_and_in_the_loss(objective):
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2), 1)
    words = f"{type(objective).__name__} follows the gradient through draws.*'two_normals'.*ForwardKL"
    with pytest.raises(ObjectiveError, match=words):
        objective.require(TwoNormals(), target)
    with pytest.raises(ObjectiveError, match=words):
        objective(jax.random.key(0), MIXTURE, TwoNormals(), target)
    objective.require(FullRank(), target)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Renyi(0.0), "IWELBO"),
        (lambda: Renyi(np.inf), "alpha"),
        (lambda: Renyi(num_draws=0), "num_draws"),
        (lambda: Renyi(gradient="best"), "gradient"),
        (lambda: IWELBO(0), "num_importance"),
        (lambda: IWELBO(num_draws=1.5), "num_draws"),
        (lambda: ChiSquared(1), "num_draws"),
        (lambda: ChiSquared(order=1.0), "order"),
    ],
)
def test_nonsense_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_evaluations_are_counted():
    assert (Renyi(num_draws=3).density_evaluations, IWELBO(4, 5).density_evaluations) == (3, 20)
