"""References of posteriors that are normal in z: against linear algebra, and refused whenever anything bends."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from scipy import integrate, stats
from scipy.special import expit
from tiers import exhaustive_after

from vi_kl.core.compilation import compile_clock
from vi_kl.core.programs.degree import NONE, degree_in_last
from vi_kl.models import conjugate
from vi_kl.reference import NotGaussian, gaussian_reference
from vi_kl.targets import Target
from vi_kl.targets.rows import traced


def quadratic(z, data):
    mean, precision = data
    return 3.0 - 0.5 * (z - mean) @ precision @ (z - mean)


def normal_target(dim: int, condition: float, offset: float, seed: int = 1):
    """Its mean, covariance, evidence and target: eigenvalues of the covariance spread evenly in their logarithm."""
    generator = np.random.default_rng(seed)
    vectors = np.linalg.qr(generator.normal(size=(dim, dim)))[0]
    values = np.geomspace(1, condition, dim) / np.sqrt(condition)
    mean, covariance = offset * generator.normal(size=dim), (vectors * values) @ vectors.T
    target = Target.from_log_density(quadratic, dim, data=(mean, (vectors / values) @ vectors.T))
    return mean, covariance, 3.0 + 0.5 * np.sum(np.log(2 * np.pi * values)), target


@pytest.mark.parametrize(
    ("dim", "condition", "offset"), exhaustive_after(2, [(3, 100.0, 1.0), (1, 1.0, 1e6), (50, 1e4, 1e3)])
)
def test_mean_covariance_and_evidence_by_linear_algebra(dim, condition, offset):
    """The error of the covariance is that of variances along any direction, relative to each."""
    mean, covariance, log_evidence, target = normal_target(dim, condition, offset)
    reference = gaussian_reference(target)
    tril = np.linalg.cholesky(covariance)
    assert np.abs(np.linalg.solve(tril, reference.normal[0] - mean)).max() < 1e-9
    ratio = np.linalg.solve(tril, np.linalg.solve(tril, reference.normal[1]).T)
    assert np.abs(ratio - np.eye(dim)).max() < 1e-9
    evidence = reference.log_evidence
    assert abs(evidence.value - log_evidence) < evidence.standard_error < 1e-9
    np.testing.assert_allclose(reference.moments["z"].mean, reference.normal[0])
    np.testing.assert_allclose(reference.moments["z"].sd, np.sqrt(np.diag(covariance)), rtol=1e-9)
    assert reference.moments["z"].error == 0
    assert reference.source == "closed form"


@pytest.mark.landing
def test_density_and_draws_of_fifty_dimensions():
    assert not jax.config.jax_enable_x64
    mean, covariance, _, target = normal_target(50, 1e4, 1.0)
    reference = gaussian_reference(target)
    z = reference.sample(jax.random.key(0), 20_000)
    assert z.dtype == np.float64
    assert z.shape == (20_000, 50)
    exact = stats.multivariate_normal(mean, covariance).logpdf(z[:100])
    np.testing.assert_allclose(reference.log_density(z[:100]), exact, rtol=1e-9)
    np.testing.assert_allclose(target.log_density(z[:100]) - reference.log_evidence.value, exact, rtol=1e-9)
    white = np.linalg.solve(np.linalg.cholesky(covariance), (z - mean).T)
    assert stats.kstest(np.sum(white**2, axis=0), stats.chi2(50).cdf).pvalue > 1e-3
    for coordinate in white:
        assert stats.kstest(coordinate, "norm").pvalue > 1e-4  # fifty tests
    assert np.abs(np.cov(white) - np.eye(50)).max() < 5 * np.sqrt(2 / 20_000)  # 1,275 of them
    assert np.array_equal(z, reference.sample(jax.random.key(0), 20_000))
    assert not np.array_equal(z, reference.sample(jax.random.key(1), 20_000))


@pytest.mark.parametrize(
    "name",
    exhaustive_after(1, ["linear_regression_known_noise", "local_level", "normal_normal", "autoregression_plus_noise"]),
)
def test_it_finds_what_the_algebra_of_conjugate_models_gives(name):
    target = conjugate.TARGETS[name]()
    found, exact = gaussian_reference(target), target.reference
    assert abs(found.log_evidence.value - exact.log_evidence.value) < found.log_evidence.standard_error + 1e-12
    np.testing.assert_allclose(found.normal[0], exact.normal[0], rtol=1e-9)
    tril = np.linalg.cholesky(exact.normal[1])
    ratio = np.linalg.solve(tril, np.linalg.solve(tril, found.normal[1]).T)
    assert np.abs(ratio - np.eye(target.dim)).max() < 1e-9
    (site,) = target.site_names
    np.testing.assert_allclose(found.moments[site].sd, exact.moments[site].sd, rtol=1e-9)


def test_unscaled_predictors_with_a_condition_number_of_ten_to_the_eleven():
    years = np.arange(1980.0, 2020.0)
    x = np.stack([np.ones(40), years], axis=1)
    target = conjugate.linear_regression_known_noise(x, 0.1 * np.cos(years), 0.5, 0.0, 1e5)
    found, exact = gaussian_reference(target), target.reference
    assert np.linalg.cond(exact.normal[1]) > 1e11
    assert abs(found.log_evidence.value - exact.log_evidence.value) < found.log_evidence.standard_error < 1e-8
    np.testing.assert_allclose(found.normal[1], exact.normal[1], rtol=1e-9)


def test_new_data_in_the_same_shapes_compiles_nothing():
    gaussian_reference(normal_target(3, 10.0, 1.0)[-1])
    with compile_clock() as clock:
        gaussian_reference(normal_target(3, 1000.0, 5.0, seed=2)[-1])
    assert clock.programs == 0


# Constrained sites ---------------------------------------------------------------------------------------------


def normal_beneath(y):
    """z is normal: `positive` is its exponential, `share` its logistic, `real` itself."""
    positive = numpyro.sample("positive", dist.LogNormal(0.3, 0.4).expand([2]).to_event(1))
    sigmoid = dist.transforms.SigmoidTransform()
    share = numpyro.sample("share", dist.TransformedDistribution(dist.Normal(0.5, 1.2), sigmoid))
    real = numpyro.sample("real", dist.Normal(-1.0, 2.0))
    numpyro.sample("y", dist.Normal(jnp.log(positive).sum() + real + jnp.log(share) - jnp.log1p(-share), 0.5), obs=y)


def normal_beneath_posterior(y):
    """z in the order of the sites' names: positive, real, share."""
    mean, covariance = np.array([0.3, 0.3, -1.0, 0.5]), np.diag([0.16, 0.16, 4.0, 1.44])
    design = np.ones((1, 4))
    gain = covariance @ design.T / (design @ covariance @ design.T + 0.25)
    return mean + gain @ (y - design @ mean), covariance - gain @ design @ covariance


def test_moments_of_constrained_sites():
    target = Target.from_numpyro(normal_beneath, np.array(1.7))
    reference = gaussian_reference(target)
    mean, covariance = normal_beneath_posterior(np.array([1.7]))
    np.testing.assert_allclose(reference.normal[0], mean, rtol=1e-9)
    np.testing.assert_allclose(reference.normal[1], covariance, rtol=1e-9)
    sd = np.sqrt(np.diag(covariance))

    exact = stats.lognorm(sd[:2], scale=np.exp(mean[:2]))
    np.testing.assert_allclose(reference.moments["positive"].mean, exact.mean(), rtol=1e-9)
    np.testing.assert_allclose(reference.moments["positive"].sd, exact.std(), rtol=1e-9)
    np.testing.assert_allclose(reference.moments["real"].mean, mean[2], rtol=1e-9)
    np.testing.assert_allclose(reference.moments["real"].sd, sd[2], rtol=1e-9)
    assert reference.moments["positive"].error == reference.moments["real"].error == 0

    share = reference.moments["share"]
    first, second = (
        integrate.quad(lambda x, k=k: expit(mean[3] + sd[3] * x) ** k * stats.norm.pdf(x), -12, 12)[0] for k in (1, 2)
    )
    true_sd = np.sqrt(second - first**2)
    assert share.error == pytest.approx(1 / np.sqrt(100_000))
    assert 0 < abs(share.mean - first) < 4 * share.error * true_sd
    assert share.sd == pytest.approx(true_sd, rel=4 * share.error)


# Refusals ------------------------------------------------------------------------------------------------------


def refusal(target) -> str:
    with pytest.raises(NotGaussian) as caught:
        gaussian_reference(target)
    assert isinstance(caught.value, ValueError)
    return str(caught.value)


@pytest.mark.parametrize("coordinate", [0, 2])
def test_the_largest_deviation_and_its_coordinate_are_named(coordinate):
    """A quartic term: the curvature, from differences over one sd, takes up a part of it."""
    words = refusal(Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2) - 1e-7 * z[coordinate] ** 4, 4))
    assert f"'z[{coordinate}]'" in words
    assert "6 sd" in words
    nats = float(re.search(r"is (\S+) nats off", words)[1])
    assert nats == pytest.approx(-1e-7 * (6**4 - 2 * 6**2), rel=0.005)  # printed with three digits


@pytest.mark.exhaustive
def test_what_is_below_the_tolerance_is_within_the_standard_error():
    """The same with 1e-12: the evidence changes by 3e-12, the bound is the 1.2e-9 at 6 sd."""
    reference = gaussian_reference(Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2) - 1e-12 * z[0] ** 4, 4))
    exact = 2 * np.log(2 * np.pi) - 3e-12
    assert abs(reference.log_evidence.value - exact) < reference.log_evidence.standard_error
    assert 1e-9 < reference.log_evidence.standard_error < 2e-9


def two_modes(z):
    """Equal unit normals, 20 apart along the diagonal: within 6 sd of one of them, the other cannot be seen."""
    other = jnp.full(len(z), 20.0 / jnp.sqrt(len(z)))
    return jnp.logaddexp(-0.5 * jnp.sum(z**2), -0.5 * jnp.sum((z - other) ** 2))


@pytest.mark.parametrize("dim", [1, 20])
def test_a_second_mode_far_away_is_seen(dim):
    assert "nats off" in refusal(Target.from_log_density(two_modes, dim))


def test_a_tail_that_takes_over_far_away_is_seen():
    """A normal ten times as wide with a weight of 1e-30."""
    words = refusal(
        Target.from_log_density(lambda z: jnp.logaddexp(-0.5 * z[0] ** 2, -0.005 * z[0] ** 2 - 30 * jnp.log(10.0)), 1)
    )
    assert "100 sd" in words


@pytest.mark.parametrize(
    ("function", "dim", "words"),
    [
        (lambda z: -0.5 * z[0] ** 2 - 0.5 * (z[1] - 0.1 * z[0] ** 2) ** 2, 2, r"'z\[[01]\]'"),  # bent
        (lambda z: -z[0] - jnp.exp(-z[0]) - 0.5 * z[1] ** 2, 2, r"'z\[0\]'"),  # skewed: Gumbel
        (lambda z: -0.5 * z[0] ** 2 - 3.0 * jnp.log1p(z[1] ** 2 / 5), 2, r"'z\[1\]'"),  # Student's t
        (lambda z: jnp.where(jnp.abs(z[1]) < 4, -0.5 * jnp.sum(z**2), -jnp.inf), 2, r"-inf nats.*'z\[1\]'"),  # cut off
        (lambda z: -0.5 * z[0] ** 2 + 0.0 * z[1], 2, r"does not curve down.*'z\[1\]'"),  # improper
        (lambda z: -0.5 * z[0] ** 2 + 0.1 * jnp.cos(5 * z[1]), 2, r"does not curve down.*'z\[1\]'"),  # between waves
        (lambda z: -0.5 * z @ z + jnp.sqrt(0.5 - z[1]), 2, r"is NaN, and coordinate 'z\[1\]'"),  # ends
        (lambda z: -0.005 * z @ z + 1e-3 * jnp.sqrt(1 - z[1] ** 2), 2, r"no finite curvature.*'z\[1\]'"),  # sooner
    ],
)
def test_what_is_not_normal_is_refused(function, dim, words):
    assert re.search(words, refusal(Target.from_log_density(function, dim)))


def test_a_model_with_another_posterior_is_refused_by_site():
    target = conjugate.gamma_poisson()
    assert "'rate'" in refusal(target)


def test_it_starts_elsewhere_where_the_origin_will_not_do():
    """0 / 0 at the origin, and a quadratic everywhere else."""
    reference = gaussian_reference(Target.from_log_density(lambda z: -0.5 * (z[0] - 2) ** 2 * z[0] / z[0], 1))
    np.testing.assert_allclose(reference.normal[0], [2.0], rtol=1e-9)
    np.testing.assert_allclose(reference.normal[1], [[1.0]], rtol=1e-9)


def test_a_mode_outside_the_support_is_not_a_mean():
    """A normal cut off above its mode: the search may end where there is no density at all."""
    cut = Target.from_log_density(lambda z: jnp.where(z[0] > 0.5, -0.5 * z[0] ** 2, -jnp.inf), 1)
    with pytest.raises(NotGaussian):
        gaussian_reference(cut)


def two_normals(z, data):
    """A wide normal, and half of the mass in a narrow one aside."""
    mean, sd = data
    wide = -0.5 * z @ z - len(z) * 0.5 * jnp.log(2 * jnp.pi)
    narrow = -0.5 * (z - mean) @ (z - mean) / sd**2 - len(z) * (0.5 * jnp.log(2 * jnp.pi) + jnp.log(sd))
    return jax.nn.logsumexp(jnp.stack([wide, narrow])) - jnp.log(2)


def test_a_mixture_that_looks_normal_at_all_points_is_no_proof():
    """In 21 dimensions no point falls near the narrow half; its operations say that it is no quadratic."""
    target = Target.from_log_density(two_normals, 21, data=(np.full(21, 1.5), 0.2))
    assert gaussian_reference(target).source == "closed form"
    with pytest.raises(NotGaussian, match="do not show that it is a quadratic"):
        gaussian_reference(target, proven=True)


def of_a_walk(y):
    level = numpyro.sample("level", dist.Normal(0, 1))

    def step(level, y):
        level = numpyro.sample("steps", dist.Normal(0.9 * level, 1.0))
        numpyro.sample("y", dist.Normal(level, 1.0), obs=y)
        return level, None

    scan(step, level, y)


def of_groups(x, group, y):
    scale_tril = np.linalg.cholesky(np.eye(3) + 0.3)
    slopes = numpyro.sample("slopes", dist.MultivariateNormal(np.zeros(3), scale_tril=scale_tril))
    with numpyro.plate("groups", 4):
        level = numpyro.sample("level", dist.Normal(slopes[0], 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(x @ slopes + level[group], 1.0), obs=y)


def of_logarithms(y):
    size = numpyro.sample("size", dist.LogNormal(0, 1))
    numpyro.sample("y", dist.LogNormal(jnp.log(size), 1.0), obs=y)


def of_heavy_tails(y):
    loc = numpyro.sample("loc", dist.StudentT(3, 0, 1))
    numpyro.sample("y", dist.Normal(loc, 1.0), obs=y)


def of_a_square(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(loc**2, 1.0), obs=y)


RNG = np.random.default_rng(0)
NORMALS = {
    "walk": (of_a_walk, (RNG.normal(size=6),)),
    "groups": (of_groups, (RNG.normal(size=(12, 3)), np.arange(12) % 4, RNG.normal(size=12))),
    "logarithms": (of_logarithms, (np.exp(RNG.normal(size=5)),)),
}


@pytest.mark.parametrize(("model", "args"), NORMALS.values(), ids=NORMALS.keys())
def test_normal_posteriors_are_proven_by_their_operations(model, args):
    target = Target.from_numpyro(model, *args)
    proven, seen = gaussian_reference(target, proven=True), gaussian_reference(target)
    assert proven.log_evidence.value == seen.log_evidence.value


@pytest.mark.parametrize(("model", "degree"), [(of_heavy_tails, NONE), (of_a_square, 4)])
def test_degrees_of_what_is_not_normal(model, degree):
    target = Target.from_numpyro(model, np.arange(3.0))
    with jax.enable_x64(True):
        assert degree_in_last(traced(target.density, target.data, target.sites)) == degree
    with pytest.raises(NotGaussian):
        gaussian_reference(target, proven=True)
