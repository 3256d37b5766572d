"""Quasi-Monte Carlo: the maps from uniform numbers make the right draws, and the error is small and honest."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from vi_kl.divergences import estimate_kl
from vi_kl.divergences.estimators.quadrature import NotApplicable
from vi_kl.divergences.estimators.quasi_monte_carlo import mean_of_sequences
from vi_kl.divergences.estimators.transport import from_uniforms, num_uniforms

TRIL = np.array([[1.0, 0.0], [0.9, 0.5]])
FACTOR = np.array([[1.0], [0.5]])


def three_normals():
    components = dist.MultivariateNormal(np.array([[-3.0, 0], [0, 0], [3, 3.0]]), scale_tril=TRIL)
    return dist.MixtureSameFamily(dist.Categorical(np.array([0.2, 0.3, 0.5])), components)


UNIVARIATE = {
    "Normal": (lambda: dist.Normal(1.0, 2.0), stats.norm(1, 2)),
    "Gamma": (lambda: dist.Gamma(0.3, 2.0), stats.gamma(0.3, scale=0.5)),
    "Beta": (lambda: dist.Beta(0.5, 3.0), stats.beta(0.5, 3)),
    "StudentT": (lambda: dist.StudentT(2.5, 1.0, 3.0), stats.t(2.5, 1, 3)),
    "LogNormal": (lambda: dist.LogNormal(0.5, 0.7), stats.lognorm(0.7, scale=np.exp(0.5))),
    "Gumbel": (lambda: dist.Gumbel(1.0, 2.0), stats.gumbel_r(1, 2)),
    "Laplace, expanded": (lambda: dist.Laplace(0.0, 1.0).expand([2]).to_event(1), stats.laplace()),
}


@pytest.mark.parametrize("name", UNIVARIATE)
def test_uniform_numbers_become_quantiles(name):
    """Compared with scipy's quantiles, far tails included."""
    make, oracle = UNIVARIATE[name]
    u = np.array([1e-6, 1e-3, 0.2, 0.5, 0.9, 1 - 1e-6])
    with jax.enable_x64(True):
        p = jax.tree.map(lambda x: np.asarray(x, np.float64), make())
        count = num_uniforms(p)
        draws = from_uniforms(p, np.repeat(u[:, None], count, 1)).reshape(len(u), -1)
    np.testing.assert_allclose(draws, np.repeat(oracle.ppf(u)[:, None], count, 1), rtol=2e-7)


VECTORS = {
    "normal": lambda: dist.MultivariateNormal(np.array([1.0, -1.0]), scale_tril=TRIL),
    "low rank": lambda: dist.LowRankMultivariateNormal(np.array([1.0, 0.0]), FACTOR, np.array([0.2, 0.4])),
    "Student": lambda: dist.MultivariateStudentT(9.0, np.array([1.0, 0.0]), TRIL),
    "Dirichlet": lambda: dist.Dirichlet(np.array([0.8, 2.0, 3.0])),
    "mixture": three_normals,
    "Gammas": lambda: dist.Gamma(np.array([[2.0, 0.5], [1.0, 3.0]]), 2.0).to_event(2),
    "transformed": lambda: dist.TransformedDistribution(
        dist.Normal(0.0, 1.0).expand([2]).to_event(1), dist.transforms.LowerCholeskyAffine(np.ones(2), TRIL)
    ),
}


EXHAUSTIVE = ("low rank", "Gammas", "Student")  # maps that the others are made of


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.exhaustive if name in EXHAUSTIVE else []) for name in VECTORS]
)
def test_vectors_have_their_mean_and_covariance(name):
    """Within five standard errors of NumPyro's own draws' moments, up to the second."""
    with jax.enable_x64(True):
        p = VECTORS[name]()
        u = np.random.default_rng(0).random((20_000, num_uniforms(p)))
        ours = from_uniforms(p, u)
        theirs = np.asarray(jax.jit(lambda key: p.sample(key, (20_000,)))(jax.random.key(1)))
    assert ours.shape == theirs.shape
    ours, theirs = (x.reshape(len(x), -1) for x in (ours, theirs))
    for function in (lambda x: x, lambda x: x[:, :, None] * x[:, None, :]):
        a, b = function(ours), function(theirs)
        error = np.sqrt((a.var(0) + b.var(0)) / len(a))
        assert (np.abs(a.mean(0) - b.mean(0)) < 5 * error).all()


@pytest.mark.divergences
def test_the_error_is_small_and_honest(key):
    """KL between normals in four dimensions is known; 95% intervals of 40 estimates miss two or so."""
    p = dist.MultivariateNormal(jnp.zeros(4), jnp.eye(4))
    q = dist.MultivariateNormal(jnp.full(4, 0.3), 1.5 * jnp.eye(4))
    truth = 0.5 * (4 / 1.5 - 4 + 4 * 0.09 / 1.5 + 4 * np.log(1.5))
    estimates = [
        estimate_kl(p, q, key=subkey, method="quasi_monte_carlo", num_draws=2048)
        for subkey in jax.random.split(key, 40)
    ]
    rounding = 1e-7  # of 0.3 to float32
    covered = [e.interval()[0] - rounding <= truth <= e.interval()[1] + rounding for e in estimates]
    assert sum(covered) >= 34  # fewer happen once in 10,000 times
    random = estimate_kl(p, q, key=key, method="monte_carlo", num_draws=2048)
    assert np.median([e.standard_error for e in estimates]) < random.standard_error / 3
    assert estimates[0].method == "quasi-Monte Carlo, 16 Sobol sequences of 128 draws"
    assert (estimates[0].num_draws, estimates[0].degrees_of_freedom) == (2048, 14)
    assert estimates[0] == estimate_kl(
        p, q, key=jax.random.split(key, 40)[0], method="quasi_monte_carlo", num_draws=2048
    )


@pytest.mark.divergences
def test_two_modes_and_a_skewed_density_against_their_quadrature(key):
    mixture = dist.MixtureSameFamily(
        dist.Categorical(jnp.array([0.3, 0.7])), dist.Normal(jnp.array([-2.0, 2.0]), jnp.array([0.5, 1.0]))
    )
    for p, q in [(mixture, dist.Normal(0.5, 2.5)), (dist.Gamma(0.7, 1.0), dist.HalfNormal(2.0))]:
        exact = estimate_kl(p, q, method="quadrature")
        estimate = estimate_kl(p, q, key=key, method="quasi_monte_carlo")
        assert estimate.agrees_with(exact, 4)
        assert estimate.standard_error < 1e-3


def test_a_near_equal_pair_keeps_its_digits(key):
    """Thanks to the control variate: the plain mean has an error of a tenth of the divergence."""
    p, q = dist.Normal(0.0, 1.0), dist.Normal(np.float64(1e-3), np.float64(1.0005))
    truth = np.log(1.0005) + (1 + 1e-6) / (2 * 1.0005**2) - 0.5
    estimate = estimate_kl(p, q, key=key, method="quasi_monte_carlo")
    assert abs(estimate.value - truth) < 4 * estimate.standard_error
    assert estimate.standard_error < 0.01 * truth


def test_regression_over_sequences_is_the_textbooks():
    """Intercept and its error against scipy's linear regression."""
    rng = np.random.default_rng(0)
    controls = rng.normal(size=16)
    means = 1.0 + 0.5 * controls + 0.1 * rng.normal(size=16)
    expected = stats.linregress(controls, means)
    value, error, freedom = mean_of_sequences(means, controls)
    assert (value, error) == pytest.approx((expected.intercept, expected.intercept_stderr), rel=1e-12)
    assert freedom == 14
    assert mean_of_sequences(means, np.array([]))[1] == pytest.approx(stats.sem(means))


@pytest.mark.divergences
def test_where_q_has_no_density_and_what_is_refused(key):
    p = dist.Normal(jnp.zeros(2), 1.0).to_event(1)
    box = dist.Uniform(-jnp.ones(2), jnp.ones(2)).to_event(1)
    assert estimate_kl(p, box, key=key, method="quasi_monte_carlo").value == np.inf
    with pytest.raises(NotApplicable, match="no map from uniform numbers to draws of VonMises"):
        num_uniforms(dist.VonMises(0.0, 1.0))
    with pytest.raises(NotApplicable, match="DiscreteUniform"):
        num_uniforms(dist.DiscreteUniform(0, 3))
    with pytest.raises(ValueError, match="num_draws must be at least 32"):
        estimate_kl(p, p, key=key, method="quasi_monte_carlo", num_draws=31)
