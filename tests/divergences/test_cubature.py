"""Cubature against closed forms and scipy's quadrature, on skewed, correlated and two-mode densities."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats
from scipy.special import gammaln, polygamma

from vi_kl.divergences import estimate_kl
from vi_kl.divergences.estimators.cubature import cubature_kl
from vi_kl.divergences.estimators.quadrature import NotApplicable, NotConverged
from vi_kl.divergences.estimators.sinh_map import sinh_map_of_draws


def equicorrelated(dim, correlation):
    return (1 - correlation) * np.eye(dim) + correlation * np.ones((dim, dim))


def normal_kl(mean, p_covariance, q_covariance):
    inverse = np.linalg.inv(q_covariance)
    log_dets = np.linalg.slogdet(q_covariance)[1] - np.linalg.slogdet(p_covariance)[1]
    return 0.5 * (np.trace(inverse @ p_covariance) + mean @ inverse @ mean - len(mean) + log_dets)


def normal(mean, covariance):
    return dist.MultivariateNormal(mean, scale_tril=np.linalg.cholesky(covariance))


def as_float32(covariance):
    """The covariance whose Cholesky factor float32 can hold, as NumPyro's default makes it."""
    scale_tril = np.float64(np.float32(np.linalg.cholesky(covariance)))
    return scale_tril @ scale_tril.T


@pytest.mark.divergences
@pytest.mark.parametrize(("dim", "correlation"), [(2, 0.99), (3, 0.6)])
def test_correlated_normals(dim, correlation):
    """Known by the textbook's formula; the near-equal pair keeps its digits."""
    covariance, other = as_float32(equicorrelated(dim, correlation)), as_float32(2 * np.eye(dim))
    for mean, q_covariance in [(np.full(dim, 0.25), other), (np.full(dim, 2.0**-10), covariance)]:
        estimate = estimate_kl(normal(np.zeros(dim), covariance), normal(mean, q_covariance), method="quadrature")
        assert estimate.value == pytest.approx(normal_kl(mean, covariance, q_covariance), rel=1e-9)
        assert estimate.standard_error < 1e-7 * estimate.value
        assert estimate.method.startswith("cubature with")
        assert estimate.caveat


@pytest.mark.divergences
def test_skewed_densities_on_the_simplex():
    """Dirichlets: log B ratio and digammas, in two unconstrained variables."""
    a, b = np.array([0.5, 2.0, 3.0]), np.array([1.0, 2.0, 2.0])
    expected = gammaln(a.sum()) - gammaln(a).sum() - gammaln(b.sum()) + gammaln(b).sum()
    expected += (a - b) @ (polygamma(0, a) - polygamma(0, a.sum()))
    estimate = estimate_kl(dist.Dirichlet(a), dist.Dirichlet(b), method="quadrature")
    assert estimate.value == pytest.approx(expected, rel=1e-9)


def two_modes(x, y):
    """Of scale 0.5 at (-2, -2) and 1 at (2, 2)."""
    return 0.3 * np.prod(stats.norm.pdf([x, y], -2, 0.5), 0) + 0.7 * np.prod(stats.norm.pdf([x, y], 2, 1), 0)


def two_mode_mixture():
    locs, scales = np.array([[-2.0, -2], [2, 2]]), np.array([[0.5, 0.5], [1, 1]])
    components = dist.Normal(locs, scales).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(np.array([0.3, 0.7])), components)


@pytest.mark.divergences
def test_two_modes():
    """KL to a normal is a cross-entropy in closed form, less an entropy by another quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(300)
    x, w = 9 * nodes, 9 * weights
    density = two_modes(*np.meshgrid(x, x))
    negative_entropy = w @ np.where(density > 0, density * np.log(np.maximum(density, 1e-300)), 0) @ w
    second_moment = 2 * (0.3 * (4 + 0.25) + 0.7 * (4 + 1))
    cross_entropy = np.log(2 * np.pi * 9) + second_moment / (2 * 9)
    q = normal(np.zeros(2), 9 * np.eye(2))
    estimate = estimate_kl(two_mode_mixture(), q, method="quadrature")
    assert estimate.value == pytest.approx(negative_entropy + cross_entropy, rel=1e-8)
    assert abs(estimate.value - negative_entropy - cross_entropy) < estimate.standard_error + 1e-10


@pytest.mark.landing
def test_heavy_tails():
    """Spherical Student's t in two variables is an integral over the radius, done by scipy."""

    def density(r, df):
        return (1 + r**2 / df) ** (-(df + 2) / 2) / (2 * np.pi)

    def integrand(r):
        return 2 * np.pi * r * density(r, 3) * np.log(density(r, 3) / density(r, 5))

    expected = sum(integrate.quad(integrand, *edges)[0] for edges in [(0, 2), (2, 20), (20, np.inf)])
    p, q = (dist.MultivariateStudentT(df, jnp.zeros(2), jnp.eye(2)) for df in (3.0, 5.0))
    estimate = estimate_kl(p, q, method="quadrature")
    assert estimate.value == pytest.approx(expected, rel=1e-7)


@pytest.mark.divergences
def test_p_beyond_the_support_of_q_is_infinite():
    box = dist.Uniform(-jnp.ones(2), jnp.ones(2)).to_event(1)
    assert estimate_kl(normal(np.zeros(2), np.eye(2)), box, method="quadrature").value == np.inf


@pytest.mark.divergences
def test_what_does_not_settle_is_refused():
    """An infinite divergence; and modes ten thousand times narrower than the distance between them."""
    cauchys = dist.Cauchy(jnp.zeros(2), 1.0).to_event(1)
    with pytest.raises(NotConverged, match="cubature did not converge"):
        estimate_kl(cauchys, normal(np.zeros(2), np.eye(2)), method="quadrature")
    locs = np.array([[-1.0, -1.0], [1.0, 1.0]])
    spikes = dist.MixtureSameFamily(dist.Categorical(np.ones(2) / 2), dist.Normal(locs, 1e-4).to_event(1))
    with pytest.raises(NotConverged, match="a mode is very narrow"):
        estimate_kl(spikes, normal(np.zeros(2), np.eye(2)), method="quadrature")


def test_what_it_does_not_apply_to():
    with pytest.raises(NotApplicable, match="has 4 variables; cubature takes up to three"):
        cubature_kl(dist.Normal(jnp.zeros(4), 1.0).to_event(1), dist.Normal(jnp.zeros(4), 2.0).to_event(1))
    with pytest.raises(NotApplicable, match="is not a density"):
        cubature_kl(dist.Multinomial(3, jnp.ones(2) / 2), dist.Multinomial(3, jnp.ones(2) / 2))
    line = np.random.default_rng(0).normal(size=(1000, 1)) * np.array([1.0, 3.0])
    with pytest.raises(NotApplicable, match="depend on each other"):
        sinh_map_of_draws(line)
