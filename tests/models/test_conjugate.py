"""Conjugate models against scipy: evidence by sequential prediction or a dense normal density, margins, draws."""

import functools

import jax
import numpy as np
import pytest
from scipy import stats
from tiers import exhaustive_after

from vi_kl.core.compilation import compile_clock
from vi_kl.models import conjugate
from vi_kl.reference import reference_by_quadrature
from vi_kl.targets.price import CHUNK

NAMES = sorted(conjugate.TARGETS)

# Other data and priors than the defaults, in the same shapes.
X = np.stack([np.ones(12), 300 + 5 * np.sin(np.arange(12.0)), 21 + 2 * np.sin(np.arange(12.0) + 0.3)], axis=1)
Y = np.array([2.2, 2.9, 3.1, 2.5, 1.8, 1.1, 1.7, 2.6, 3.3, 2.9, 2.0, 1.4])
PATH = np.array([5.0, 4.2, 6.1, 5.5, 7.0, 6.6, 8.1, 7.9, 7.2, 6.4, 5.9, 6.8, 5.1, 4.4, 4.9])
OTHER = {
    "beta_binomial": {"successes": [0, 4, 2], "trials": [5, 9, 2], "a": 0.7, "b": 1.6},
    "gamma_poisson": {"events": [0, 9, 1, 2, 2], "exposure": [0.1, 4.0, 1.0, 0.7, 3.0], "shape": 0.8, "rate": 2.5},
    "dirichlet_multinomial": {
        "table": [[0, 0, 1, 0], [5, 1, 2, 2], [3, 3, 0, 9]],
        "concentration": [0.3, 2.0, 1.0, 4.0],
    },
    "dirichlet_categorical": {"labels": [2, 1, 1, 1, 0, 1, 1, 2, 1], "concentration": [0.4, 3.0, 1.5]},
    "normal_normal": {
        "y": [-3.0, 1.0, -0.5, -2.2], "noise_sd": [0.3, 4.0, 1.0, 1.0], "prior_mean": 1.0, "prior_sd": 0.9,
    },
    "linear_regression_known_noise": {
        "x": X, "y": Y, "noise_sd": 0.4, "prior_mean": [1.0, 0.01, 0.0], "prior_sd": [3.0, 0.05, 0.1],
    },
    "linear_regression": {
        "x": X, "y": Y, "prior_mean": [1.0, 0.01, 0.0], "prior_scale": [9.0, 0.2, 0.3], "a": 1.5, "b": 0.7,
    },
    "local_level": {"y": PATH, "step_sd": 0.8, "noise_sd": 0.3, "start_mean": 4.0, "start_sd": 1.5},
    "autoregression_plus_noise": {"y": PATH, "persistence": -0.6, "mean": 6.0, "step_sd": 0.9, "noise_sd": 0.5},
}  # fmt: skip


@functools.cache
def target_of(name: str, default: bool = False):
    return conjugate.TARGETS[name](**({} if default else OTHER[name]))


@functools.cache
def draws_of(name: str):
    """One chunk of exact draws, in z and as sites."""
    target = target_of(name)
    z = target.reference.sample(jax.random.key(5), CHUNK)
    return z, target.constrain(z)


# Independent calculations: dense matrices and scipy's own distributions -----------------------------------------


def one_by_one(predict, rows, state, update) -> float:
    """The chain rule: each row is predicted from those before it."""
    total = 0.0
    for row in rows:
        total += predict(row, state)
        state = update(row, state)
    return total


def beta_binomial_evidence(successes, trials, a, b):
    return one_by_one(
        lambda row, s: stats.betabinom.logpmf(row[0], row[1], *s),
        list(zip(successes, trials, strict=True)),
        (a, b),
        lambda row, s: (s[0] + row[0], s[1] + row[1] - row[0]),
    )


def gamma_poisson_evidence(events, exposure, shape, rate):
    return one_by_one(
        lambda row, s: stats.nbinom.logpmf(row[0], s[0], s[1] / (s[1] + row[1])),
        list(zip(events, exposure, strict=True)),
        (shape, rate),
        lambda row, s: (s[0] + row[0], s[1] + row[1]),
    )


def dirichlet_multinomial_evidence(table, concentration):
    return one_by_one(
        lambda row, s: stats.dirichlet_multinomial.logpmf(row, s, sum(row)),
        table,
        np.array(concentration),
        lambda row, s: s + row,
    )


def dirichlet_categorical_evidence(labels, concentration):
    return one_by_one(
        lambda label, s: np.log(s[label] / s.sum()),
        labels,
        np.array(concentration),
        lambda label, s: s + np.eye(len(s))[label],
    )


def normal_system(name, **data):
    """The prior mean and covariance of the site, the design, and the covariance of the noise."""
    y = np.asarray(data["y"])
    if name == "normal_normal":
        return data["prior_mean"] * np.ones(1), np.eye(1) * data["prior_sd"] ** 2, np.ones((len(y), 1)), np.diag(
            np.square(data["noise_sd"])
        )  # fmt: skip
    if name == "linear_regression_known_noise":
        noise = data["noise_sd"] ** 2 * np.eye(len(y))
        return np.array(data["prior_mean"]), np.diag(np.square(data["prior_sd"])), data["x"], noise
    times = np.arange(len(y))
    noise = data["noise_sd"] ** 2 * np.eye(len(y))
    if name == "local_level":
        walk = np.minimum(times[:, None], times) * data["step_sd"] ** 2 + data["start_sd"] ** 2
        return np.full(len(y), data["start_mean"]), walk, np.eye(len(y)), noise
    rho = data["persistence"]
    stationary = data["step_sd"] ** 2 / (1 - rho**2) * rho ** np.abs(times[:, None] - times)
    return np.full(len(y), data["mean"]), stationary, np.eye(len(y)), noise


def normal_evidence(name, **data):
    mean, covariance, design, noise = normal_system(name, **data)
    return stats.multivariate_normal.logpdf(data["y"], design @ mean, design @ covariance @ design.T + noise)


def normal_posterior(name, **data):
    mean, covariance, design, noise = normal_system(name, **data)
    gain = covariance @ design.T @ np.linalg.inv(design @ covariance @ design.T + noise)
    return mean + gain @ (data["y"] - design @ mean), covariance - gain @ design @ covariance


def regression_evidence(x, y, prior_mean, prior_scale, a, b):
    """The data's margin is a multivariate t."""
    shape = b / a * (np.eye(len(y)) + (x * np.square(prior_scale)) @ x.T)
    return stats.multivariate_t.logpdf(y, x @ np.array(prior_mean), shape, df=2 * a)


def regression_posterior(x, y, prior_mean, prior_scale, a, b):
    """mean, V, a and b by the normal equations."""
    precision = x.T @ x + np.diag(1 / np.square(prior_scale))
    v = np.linalg.inv(precision)
    mean = v @ (x.T @ y + np.array(prior_mean) / np.square(prior_scale))
    shift = np.sum(np.square(np.divide(prior_mean, prior_scale))) + y @ y - mean @ precision @ mean
    return mean, v, a + len(y) / 2, b + shift / 2


NORMAL = ("normal_normal", "linear_regression_known_noise", "local_level", "autoregression_plus_noise")
EVIDENCE = {
    "beta_binomial": beta_binomial_evidence,
    "gamma_poisson": gamma_poisson_evidence,
    "dirichlet_multinomial": dirichlet_multinomial_evidence,
    "dirichlet_categorical": dirichlet_categorical_evidence,
    "linear_regression": regression_evidence,
} | {name: functools.partial(normal_evidence, name) for name in NORMAL}


def margins(name) -> dict[str, list]:
    """{site: scipy distributions of its entries}."""
    data = OTHER[name]
    if name == "beta_binomial":
        full, places = sum(data["successes"]), sum(data["trials"])
        return {"p": [stats.beta(data["a"] + full, data["b"] + places - full)]}
    if name == "gamma_poisson":
        after = data["shape"] + sum(data["events"]), data["rate"] + sum(data["exposure"])
        return {"rate": [stats.gamma(after[0], scale=1 / after[1])]}
    if name.startswith("dirichlet"):
        seen = np.bincount(data["labels"]) if "labels" in data else np.sum(data["table"], axis=0)
        after = np.array(data["concentration"]) + seen
        return {"theta": [stats.beta(one, after.sum() - one) for one in after]}
    if name == "linear_regression":
        mean, v, a, b = regression_posterior(**data)
        scales = np.sqrt(b / a * np.diag(v))
        beta = [stats.t(2 * a, m, s) for m, s in zip(mean, scales, strict=True)]
        return {"beta": beta, "sigma2": [stats.invgamma(a, scale=b)]}
    mean, covariance = normal_posterior(name, **data)
    site = {"normal_normal": "mu", "linear_regression_known_noise": "beta"}.get(name, "path")
    return {site: [stats.norm(m, s) for m, s in zip(mean, np.sqrt(np.diag(covariance)), strict=True)]}


# The tests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("default", exhaustive_after(1, [True, False]), ids=["default", "other"])
@pytest.mark.parametrize("name", NAMES)
def test_joint_less_posterior_is_the_evidence_everywhere(name, default):
    """Bayes' rule, at points three times as spread out as the posterior; the caller computes in float32."""
    assert not jax.config.jax_enable_x64
    target = target_of(name, default)
    z = target.reference.sample(jax.random.key(1), CHUNK)
    z = z.mean(axis=0) + 3 * (z - z.mean(axis=0))
    posterior = target.reference.log_density(z)
    assert posterior.dtype == np.float64
    np.testing.assert_allclose(
        target.log_density(z) - posterior, target.reference.log_evidence.value, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
def test_evidence_by_another_calculation(name):
    evidence = target_of(name).reference.log_evidence
    np.testing.assert_allclose(evidence.value, EVIDENCE[name](**OTHER[name]), rtol=1e-10)
    assert evidence.standard_error == 0
    assert evidence.method == "closed form"


@pytest.mark.parametrize("name", NAMES)
def test_moments_are_those_of_the_margins_and_of_the_draws(name):
    exact, (_, sites) = margins(name), draws_of(name)
    reference = target_of(name).reference
    assert reference.moments.keys() == exact.keys()
    for site, entries in exact.items():
        mean, sd = np.ravel(reference.moments[site].mean), np.ravel(reference.moments[site].sd)
        np.testing.assert_allclose(mean, [q.mean() for q in entries], rtol=1e-8)
        np.testing.assert_allclose(sd, [q.std() for q in entries], rtol=1e-8)
        x = sites[site].reshape(CHUNK, -1)
        assert (np.abs(x.mean(axis=0) - mean) < 4 * sd / np.sqrt(CHUNK)).all()
        squares = (x - mean) ** 2
        assert (np.abs(squares.mean(axis=0) - sd**2) < 4 * squares.std(axis=0) / np.sqrt(CHUNK)).all()


@pytest.mark.parametrize("name", NAMES)
def test_draws_follow_the_margins(name):
    sites = draws_of(name)[1]
    for site, entries in margins(name).items():
        for x, q in zip(sites[site].reshape(CHUNK, -1).T, entries, strict=True):
            assert stats.kstest(x, q.cdf).pvalue > 1e-3, (site, q.args)


def test_draws_of_the_regression_have_the_right_dependence():
    """Given sigma2, beta is normal with variance sigma2 V; and not given it, its distance follows an F."""
    mean, v, a, b = regression_posterior(**OTHER["linear_regression"])
    sites = draws_of("linear_regression")[1]
    white = np.linalg.solve(np.linalg.cholesky(v), (sites["beta"] - mean).T)
    for coordinate in white / np.sqrt(sites["sigma2"]):
        assert stats.kstest(coordinate, "norm").pvalue > 1e-3
    distance = np.sum(white**2, axis=0) / 3 / (b / a)
    assert stats.kstest(distance, stats.f(3, 2 * a).cdf).pvalue > 1e-3
    assert stats.spearmanr(distance, sites["sigma2"]).statistic > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_normal_posteriors_say_so_and_their_draws_have_that_covariance(name):
    reference = target_of(name).reference
    if name not in NORMAL:
        assert reference.normal is None
        return
    mean, covariance = normal_posterior(name, **OTHER[name])
    np.testing.assert_allclose(reference.normal[0], mean, rtol=1e-8)
    np.testing.assert_allclose(reference.normal[1], covariance, rtol=1e-6, atol=1e-9 * covariance.max())
    white = np.linalg.solve(np.linalg.cholesky(covariance), (draws_of(name)[0] - mean).T)
    excess = np.atleast_2d(np.cov(white)) - np.eye(len(mean))
    assert np.abs(excess).max() < 5 * np.sqrt(2 / CHUNK)  # up to 120 products: 5 standard errors


@pytest.mark.parametrize("name", NAMES)
def test_distributions_are_given_where_sites_are_independent(name):
    distributions = target_of(name).reference.distributions
    if name == "linear_regression":
        assert distributions is None
    else:
        assert set(distributions) == set(target_of(name).site_names)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_key_gives_the_same_draws(name):
    target = target_of(name)
    z = draws_of(name)[0]
    assert np.array_equal(z, target.reference.sample(jax.random.key(5), CHUNK))
    assert not np.array_equal(z, target.reference.sample(jax.random.key(6), CHUNK))


@pytest.mark.parametrize("name", exhaustive_after(3, NAMES))
def test_new_data_and_priors_in_the_same_shapes_compile_nothing(name):
    def use(target):
        z = target.reference.sample(jax.random.key(2), CHUNK)
        return target.log_density(z) - target.reference.log_density(z)

    before = use(conjugate.TARGETS[name]())
    with compile_clock() as clock:
        after = use(conjugate.TARGETS[name](**OTHER[name]))
    assert clock.programs == 0
    assert abs(before[0] - after[0]) > 1e-3  # the new data was used


@pytest.mark.parametrize(
    "name",
    ["gamma_poisson", "normal_normal"]
    + [
        pytest.param(name, marks=pytest.mark.exhaustive)
        for name in ("beta_binomial", "dirichlet_categorical", "dirichlet_multinomial", "linear_regression_known_noise")
    ],
)
def test_quadrature_of_the_models_own_density_agrees(name):
    """Skewed posteriors in one to three dimensions; no algebra is shared."""
    target = target_of(name)
    numeric = reference_by_quadrature(target)
    error = max(numeric.log_evidence.standard_error, 1e-9)
    assert abs(numeric.log_evidence.value - target.reference.log_evidence.value) < 3 * error
    for site, moments in target.reference.moments.items():
        np.testing.assert_allclose(numeric.moments[site].mean, moments.mean, rtol=1e-5, atol=1e-5 * moments.sd.max())
        np.testing.assert_allclose(numeric.moments[site].sd, moments.sd, rtol=1e-5)


@pytest.mark.exhaustive
def test_quadrature_of_the_regression_with_unknown_noise_agrees():
    target = conjugate.linear_regression(x=X[:, :2], y=Y, prior_scale=(9.0, 0.2), a=3.0, b=0.7)
    numeric = reference_by_quadrature(target, tolerance=1e-4)
    error = max(numeric.log_evidence.standard_error, 1e-9)
    assert abs(numeric.log_evidence.value - target.reference.log_evidence.value) < 3 * error
    for site, moments in target.reference.moments.items():
        np.testing.assert_allclose(numeric.moments[site].mean, moments.mean, rtol=1e-3)
        np.testing.assert_allclose(numeric.moments[site].sd, moments.sd, rtol=1e-3)


def test_regression_posterior_is_right_where_predictors_are_nearly_collinear():
    """Years and their squares: the normal equations would have no digit left, a QR factorisation has."""
    years = np.arange(1980.0, 2020.0)
    x = np.stack([np.ones(40), years, years**2], axis=1)
    y = 1e-4 * (years - 2000) ** 2 + 0.3 * np.cos(years)
    target = conjugate.linear_regression_known_noise(x, y, 0.5, 0.0, 1e5)
    z = target.reference.sample(jax.random.key(3), 100)
    np.testing.assert_allclose(
        target.log_density(z) - target.reference.log_density(z), target.reference.log_evidence.value, rtol=0, atol=1e-7
    )


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("beta_binomial", {"successes": [1, -2, 3]}, r"successes\[1\] is negative: -2"),
        ("beta_binomial", {"successes": [1, 2, 99]}, r"successes\[2\] is more than its trials: 99"),
        ("beta_binomial", {"trials": [20, 20]}, "successes has 3 entries and trials 2"),
        ("beta_binomial", {"a": 0.0}, "a is not positive: 0"),
        ("gamma_poisson", {"events": [1, 2, 0.5, 1, 1]}, r"events\[2\] is not a whole number: 0.5"),
        ("gamma_poisson", {"exposure": [1, 1, 1, 1, np.nan]}, r"exposure\[4\] is not finite: nan"),
        ("gamma_poisson", {"exposure": 0}, "exposure is not positive"),
        ("dirichlet_multinomial", {"table": [[1, 2, 3, 4], [1, 2, np.inf, 4]]}, r"table\[1, 2\] is not finite: inf"),
        ("dirichlet_multinomial", {"table": [[1, 2, 3], [1, 2]]}, "table must hold numbers in a regular array"),
        ("dirichlet_multinomial", {"table": [[1, 2, 3]]}, "table has 3 columns and concentration 4"),
        ("dirichlet_multinomial", {"table": [1, 2, 3]}, r"table must be a matrix, got shape \(3,\)"),
        ("dirichlet_categorical", {"labels": [0, 1, 3]}, r"labels\[2\] is not one of the 3 categories from 0: 3"),
        ("dirichlet_categorical", {"labels": []}, "labels is empty"),
        ("dirichlet_categorical", {"labels": [0], "concentration": [1.0]}, "concentration has one entry"),
        ("normal_normal", {"noise_sd": [1.0, 1.0]}, "noise_sd has 2 entries; it must be a single number or have 4"),
        ("normal_normal", {"y": "four"}, "y must hold numbers"),
        ("linear_regression", {"y": [1.0, 2.0]}, "x has 12 entries and y 2"),
        ("linear_regression", {"prior_scale": [1.0, 0.0, 1.0]}, r"prior_scale\[1\] is not positive"),
        ("linear_regression", {"x": X[:2], "y": Y[:2], "a": 0.5}, "a .0.5. or give more rows .2."),
        ("linear_regression_known_noise", {"noise_sd": -1.0}, "noise_sd is not positive: -1"),
        ("local_level", {"y": [1.0]}, "y has one entry"),
        ("local_level", {"step_sd": 0.0}, "step_sd is not positive"),
        ("autoregression_plus_noise", {"persistence": 1.0}, "persistence is not between -1 and 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        conjugate.TARGETS[name](**arguments)
