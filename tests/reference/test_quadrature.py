"""Quadrature truth against closed forms: Gaussian, skewed, heavy-tailed and two-mode cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import exponential_rate
from scipy import integrate, stats
from scipy.special import gammaln
from tiers import exhaustive, exhaustive_after

from vi_kl.core.evaluations import counting_evaluations
from vi_kl.reference import reference_by_quadrature
from vi_kl.reference.quadrature.integrate import QuadratureError
from vi_kl.targets import Target

COVARIANCE = np.array([[4.0, 1.9, 0.3], [1.9, 1.0, 0.1], [0.3, 0.1, 0.5]])


def gaussian(z):
    return -0.5 * z @ jnp.linalg.solve(jnp.asarray(COVARIANCE[: len(z), : len(z)]), z)


def skewed(z):
    """log of a Gumbel density in the first coordinate, and a normal whose mean bends with it."""
    return -z[0] - jnp.exp(-z[0]) - 0.5 * (z[1] - 0.5 * z[0] ** 2) ** 2


def two_modes(z):
    """0.25 N(-3, 0.5) + 0.75 N(4, 1), unnormalised by a factor 2."""
    parts = (
        jnp.array([0.25, 0.75])
        / jnp.array([0.5, 1.0])
        * jnp.exp(-0.5 * ((z[0] - jnp.array([-3.0, 4.0])) / jnp.array([0.5, 1.0])) ** 2)
    )
    return jnp.log(2 * parts.sum() / jnp.sqrt(2 * jnp.pi))


@pytest.mark.parametrize(
    ("function", "dim", "expected"),
    [
        (gaussian, 1, 0.5 * np.log(2 * np.pi * 4.0)),
        (gaussian, 2, 0.5 * np.linalg.slogdet(2 * np.pi * COVARIANCE[:2, :2])[1]),
        (gaussian, 3, 0.5 * np.linalg.slogdet(2 * np.pi * COVARIANCE)[1]),
        (skewed, 2, 0.5 * np.log(2 * np.pi)),
        (two_modes, 1, np.log(2.0)),
    ],
)
def test_log_evidence_within_its_own_error(function, dim, expected):
    reference = reference_by_quadrature(Target.from_log_density(function, dim))
    assert abs(reference.log_evidence.value - expected) <= max(reference.log_evidence.standard_error, 1e-10)
    assert reference.log_evidence.standard_error < 1e-6


def test_two_modes_have_the_right_moments():
    reference = reference_by_quadrature(Target.from_log_density(two_modes, 1))
    mean = 0.25 * -3 + 0.75 * 4
    sd = np.sqrt(0.25 * (9 + 0.25) + 0.75 * (16 + 1) - mean**2)
    np.testing.assert_allclose(reference.moments["z"].mean, [mean], rtol=1e-6)
    np.testing.assert_allclose(reference.moments["z"].sd, [sd], rtol=1e-6)
    assert "2 modes" in reference.log_evidence.method


# Densities with a known integral, each hard in another way -------------------------------------------------------


def normal(x, mean, sd):
    return -0.5 * ((x - mean) / sd) ** 2 - jnp.log(sd) - 0.5 * np.log(2 * np.pi)


def student_t(z, df):
    d = len(z)
    constant = gammaln((df + d) / 2) - gammaln(df / 2) - 0.5 * d * np.log(df * np.pi)
    return constant - 0.5 * (df + d) * jnp.log1p(jnp.sum(z**2) / df)


def mixture(z, weights, means, sds):
    parts = zip(weights, means, sds, strict=True)
    return jax.nn.logsumexp(jnp.stack([jnp.log(w) + jnp.sum(normal(z, jnp.array(m), s)) for w, m, s in parts]))


def log_gamma(z, a):
    return jnp.sum(a * z - jnp.exp(z)) - len(z) * gammaln(a)


def rotated(z):
    return jnp.stack([0.8 * z[0] - 0.6 * z[1], 0.6 * z[0] + 0.8 * z[1]])


def funnel(z):
    return normal(z[0], 0.0, 3.0) + jnp.sum(normal(z[1:], 0.0, jnp.exp(z[0] / 2)))


def horseshoe(z):
    """A half-Cauchy scale and what it scales: the density is highest at minus infinity, on an ever thinner ridge."""
    return normal(z[0], 0.0, jnp.exp(z[1])) + jnp.log(2 / jnp.pi) + z[1] - jnp.log1p(jnp.exp(2 * z[1]))


def banana(z, sd):
    return normal(z[0], 0.0, 1.0) + normal(z[1], z[0] ** 2, sd)


def ring(z):
    return -0.5 * ((jnp.sqrt(jnp.sum(z**2) + 1e-300) - 3) / 0.3) ** 2


EFFECTS = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
ERRORS = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def eight_schools(z):
    """(mu, log tau), the schools' own effects integrated out."""
    prior = normal(z[0], 0.0, 5.0) + np.log(2 / np.pi / 5) - jnp.log1p(jnp.exp(2 * z[1]) / 25) + z[1]
    return prior + jnp.sum(normal(EFFECTS, z[0], jnp.sqrt(ERRORS**2 + jnp.exp(2 * z[1]))))


def eight_schools_evidence():
    """mu by algebra, tau by QUADPACK."""

    def given(tau):
        v = ERRORS**2 + tau**2
        precision, pull = 1 / 25 + np.sum(1 / v), np.sum(EFFECTS / v)
        logs = np.sum(np.log(2 * np.pi * v) + EFFECTS**2 / v) + np.log(25 * precision) - pull**2 / precision
        return np.exp(-0.5 * logs + 30) * 2 / np.pi / 5 / (1 + tau**2 / 25)

    return np.log(integrate.quad(given, 0, np.inf, epsabs=0, epsrel=1e-12, limit=500)[0]) - 30


def shifted(x, y):
    return jnp.array([x, y], dtype=float)


QUICK = {
    "sd 1e-2 at 1e5": (lambda z: normal(z[0], 1e5, 1e-2), 1, 0.0),
    "Student 2": (lambda z: student_t(z, 2.0), 1, 0.0),
    "Student 1/2": (lambda z: student_t(z, 0.5), 1, 0.0),
    "Cauchy in 2-D": (lambda z: student_t(z, 1.0), 2, 0.0),
    "log Gamma(0.01)": (lambda z: log_gamma(z, 0.01), 1, 0.0),
    "log Gamma(0.1) in 2-D": (lambda z: log_gamma(z, 0.1), 2, 0.0),
    "Laplace": (lambda z: -jnp.abs(z[0] - 0.3), 1, np.log(2)),
    "flat top": (lambda z: -(z[0] ** 20), 1, np.log(2) + gammaln(1.05)),
    "uniform": (lambda z: jnp.where((z[0] > -1) & (z[0] < 2), 0.0, -jnp.inf), 1, np.log(3)),
    "funnel": (funnel, 2, 0.0),
    "eight schools": (eight_schools, 2, eight_schools_evidence()),
    "banana of sd 1e-3": (lambda z: banana(z, 1e-3), 2, 0.0),
    "sds 0.01 and 10": (lambda z: mixture(z, [0.5, 0.5], [[0.0], [3.0]], [0.01, 10.0]), 1, 0.0),
    "sds 0.01 and 10 in 2-D": (lambda z: mixture(z, [0.5, 0.5], [[0.0, 0.0], [3.0, 3.0]], [0.01, 10.0]), 2, 0.0),
    "500 sds apart": (lambda z: mixture(z, [0.3, 0.7], [[0.0, 0.0], [300.0, -400.0]], [1.0, 1.0]), 2, 0.0),
    "spike on a Cauchy": (
        lambda z: jnp.logaddexp(student_t(z, 1.0), normal(z[0], 5.0, 0.05)) - jnp.log(2.0), 1, 0.0
    ),
    "rough": (lambda z: normal(z[0], 0.0, 1.0) + jnp.log1p(0.9 * jnp.cos(40 * z[0])), 1, 0.0),
}  # fmt: skip
# one of each kind: far off, a heavy tail in two dimensions, an edge, a ridge, scales apart, a spike and waves
DEFAULT = (
    "sd 1e-2 at 1e5",
    "Cauchy in 2-D",
    "log Gamma(0.01)",
    "uniform",
    "funnel",
    "banana of sd 1e-3",
    "sds 0.01 and 10 in 2-D",
    "500 sds apart",
    "spike on a Cauchy",
    "rough",
)
SLOW = {
    "sds 1e-3, 1, 1e3": (
        lambda z: normal(z[0], 1.0, 1e-3) + normal(z[1], 0.0, 1.0) + normal(z[2], -500.0, 1e3), 3, 0.0
    ),
    "correlation 0.999999": (
        lambda z: -0.5 * (z[0] ** 2 - 2 * 0.999999 * z[0] * z[1] + z[1] ** 2) / (1 - 0.999999**2),
        2, np.log(2 * np.pi) + 0.5 * np.log(1 - 0.999999**2),
    ),
    "Student 2 in 3-D": (lambda z: student_t(z, 2.0), 3, 0.0),
    "product of Student 5 in 3-D": (lambda z: sum(student_t(z[i : i + 1], 5.0) for i in range(3)), 3, 0.0),
    "log Gamma(0.3) in 3-D": (lambda z: log_gamma(z, 0.3), 3, 0.0),
    "Laplace, rotated": (lambda z: -jnp.sum(jnp.abs(rotated(z))), 2, 2 * np.log(2)),
    "quartic in 3-D": (lambda z: -jnp.sum(z**4), 3, 3 * (np.log(2) + gammaln(1.25))),
    "funnel in 3-D": (funnel, 3, 0.0),
    "horseshoe": (horseshoe, 2, 0.0),
    "ring": (ring, 2, np.log(2 * np.pi * 3 * 0.3 * np.sqrt(2 * np.pi))),
    "three modes in 3-D": (
        lambda z: mixture(z, [0.2, 0.3, 0.5], [[0.0, 0, 0], [8.0, 8, 8], [-20.0, 5, 0]], [1.0, 0.3, 2.0]), 3, 0.0
    ),
    "two Cauchys in 2-D": (
        lambda z: jnp.logaddexp(
            np.log(0.4) + student_t(z - shifted(10, 0), 1.0), np.log(0.6) + student_t(z + shifted(10, 3), 1.0)
        ), 2, 0.0,
    ),
}  # fmt: skip


def is_honest_and_useful(case):
    function, dim, expected = case
    evidence = reference_by_quadrature(Target.from_log_density(function, dim)).log_evidence
    assert abs(evidence.value - expected) <= evidence.standard_error
    assert evidence.standard_error < 1e-6


@pytest.mark.parametrize("name", [name if name in DEFAULT else exhaustive(name) for name in QUICK])
def test_the_error_is_honest(name):
    is_honest_and_useful(QUICK[name])


@pytest.mark.parametrize(("df", "known"), [(1.0, False), (2.0, False), (5.0, True)])
def test_moments_that_do_not_exist_have_an_infinite_error(df, known):
    moments = reference_by_quadrature(Target.from_log_density(lambda z: student_t(z, df), 1)).moments["z"]
    assert np.isfinite(moments.error) == known
    if known:
        np.testing.assert_allclose(moments.sd, np.sqrt(df / (df - 2)), rtol=1e-4)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SLOW)
def test_the_error_is_honest_in_slower_cases(name):
    is_honest_and_useful(SLOW[name])


def test_it_agrees_with_a_conjugate_posterior_from_numpyro():
    y = np.array([0.4, 1.3, 0.9, 0.1])
    reference = reference_by_quadrature(Target.from_numpyro(exponential_rate, y))
    a, b = 3 + len(y), 2 + y.sum()
    expected = 3 * np.log(2) - gammaln(3) + gammaln(a) - a * np.log(b)
    np.testing.assert_allclose(reference.log_evidence.value, expected, atol=1e-8)
    np.testing.assert_allclose(reference.moments["rate"].mean, a / b, rtol=1e-6)
    np.testing.assert_allclose(reference.moments["rate"].sd, np.sqrt(a) / b, rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "dim", "cdf"),
    exhaustive_after(
        3,
        [
            (skewed, 2, stats.gumbel_r.cdf),
            (two_modes, 1, lambda x: 0.25 * stats.norm.cdf(x, -3, 0.5) + 0.75 * stats.norm.cdf(x, 4, 1)),
            (lambda z: student_t(z, 1.0), 2, stats.cauchy.cdf),
            (lambda z: log_gamma(z, 0.1), 2, lambda x: stats.gamma.cdf(np.exp(x), 0.1)),
            (funnel, 2, stats.norm(0, 3).cdf),
            (lambda z: banana(z, 1e-3), 2, stats.norm.cdf),
        ],
    ),
)
def test_draws_follow_the_exact_distribution(function, dim, cdf):
    reference = reference_by_quadrature(Target.from_log_density(function, dim))
    z = reference.sample(jax.random.key(3), 20_000)
    assert z.shape == (20_000, dim)
    assert stats.kstest(z[:, 0], cdf).pvalue > 1e-3
    assert np.array_equal(z, reference.sample(jax.random.key(3), 20_000))


@pytest.mark.parametrize(
    ("function", "cdf"),
    [
        (lambda z: jnp.where(z[0] > -3, -0.5 * z[0] ** 2, -jnp.inf), stats.truncnorm(-3, np.inf).cdf),
        (lambda z: jnp.where(z[0] > 0.5, -0.5 * z[0] ** 2, -jnp.inf), stats.truncnorm(0.5, np.inf).cdf),
        (lambda z: jnp.where((z[0] > -1) & (z[0] < 2), 0.0, -jnp.inf), stats.uniform(-1, 3).cdf),
    ],
    ids=["normal cut at -3", "normal cut at 0.5", "uniform"],
)
def test_draws_of_a_bounded_density_follow_it(function, cdf):
    """Cells without density have no mass; the cell that the border cuts has its share."""
    z = reference_by_quadrature(Target.from_log_density(function, 1)).sample(jax.random.key(3), 20_000)[:, 0]
    assert np.isfinite(z).all()
    assert cdf(z).min() > 0
    assert stats.kstest(z, cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("function", "dim", "statistic", "cdf"),
    exhaustive_after(
        2,
        [
            (lambda z: student_t(z, 1.0), 2, lambda z: z[:, 1] / z[:, 0], stats.cauchy.cdf),
            (funnel, 2, lambda z: z[:, 1] * np.exp(-z[:, 0] / 2), stats.norm.cdf),
            (lambda z: banana(z, 1e-3), 2, lambda z: (z[:, 1] - z[:, 0] ** 2) / 1e-3, stats.norm.cdf),
            (skewed, 2, lambda z: z[:, 1] - 0.5 * z[:, 0] ** 2, stats.norm.cdf),
        ],
    ),
)
def test_draws_have_the_exact_dependence(function, dim, statistic, cdf):
    """Statistics whose distribution is known only if the coordinates depend on each other as they should."""
    z = reference_by_quadrature(Target.from_log_density(function, dim)).sample(jax.random.key(5), 20_000)
    assert stats.kstest(statistic(z), cdf).pvalue > 1e-3


def test_refusals():
    with pytest.raises(QuadratureError, match="3 dimensions"):
        reference_by_quadrature(Target.from_log_density(lambda z: -jnp.sum(z**2), 4))
    with pytest.raises(QuadratureError, match="proper"):
        reference_by_quadrature(Target.from_log_density(lambda z: 0.0 * z[0], 1))
    with pytest.raises(QuadratureError, match="proper"):
        reference_by_quadrature(Target.from_log_density(lambda z: z[0], 1))
    with pytest.raises(QuadratureError, match="not proper"):
        reference_by_quadrature(Target.from_log_density(lambda z: -0.5 * jnp.log1p(z[0] ** 2), 1))
    with pytest.raises(QuadratureError, match="tolerance"):
        reference_by_quadrature(Target.from_log_density(funnel, 2), max_nodes=2_000)
    with counting_evaluations() as spent, pytest.raises(QuadratureError, match="more than 30,000 evaluations"):
        reference_by_quadrature(Target.from_log_density(funnel, 2), max_evaluations=30_000)
    assert spent.densities <= 30_000
