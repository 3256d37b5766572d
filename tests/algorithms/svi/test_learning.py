"""Parameters are learned with q: against maximum marginal likelihood in closed form, or by SciPy on the exact one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from scipy import optimize, special, stats

import vi_kl
from vi_kl.algorithms import SVI
from vi_kl.algorithms.svi.checkpoint import CheckpointError
from vi_kl.core.errors import FitError
from vi_kl.families import FullRank, MeanField
from vi_kl.objectives import ELBO
from vi_kl.targets import Target

Y = 3 + 2 * np.random.default_rng(0).normal(size=12)


def groups(y, noise=1.0, loc=0.5, scale=2.0):
    """Normal groups around an unknown mean, with an unknown scale; the evidence is normal in closed form."""
    loc = numpyro.param("loc", loc)
    scale = numpyro.param("scale", scale, constraint=constraints.positive)
    with numpyro.plate("rows", len(y)):
        level = numpyro.sample("level", dist.Normal(loc, scale))
        numpyro.sample("y", dist.Normal(level, noise), obs=y)


def evidence_of_groups(learned, y=Y, noise=1.0) -> float:
    return float(stats.norm.logpdf(y, learned["loc"], np.hypot(learned["scale"], noise)).sum())


BEST = {"loc": Y.mean(), "scale": np.sqrt(Y.var() - 1)}


@pytest.fixture(scope="module")
def learned():
    """A fit that has learned the parameters of the groups."""
    return vi_kl.fit(Target.from_numpyro(groups, Y), "mean_field", key=0)


def test_the_parameters_of_largest_evidence_are_learned(learned):
    """The family has the posterior in it, so that the largest ELBO is the largest evidence."""
    assert learned.status.converged
    lost = evidence_of_groups(BEST) - evidence_of_groups(learned.learned)
    assert 0 <= lost < 1e-3  # `tolerance` of SVI
    # half a standard error of each: its unit is no more than one, and `precision` a twentieth of that
    assert abs(learned.learned["loc"] - BEST["loc"]) < 0.5 * np.sqrt(Y.var() / len(Y))
    assert abs(np.log(learned.learned["scale"] / BEST["scale"])) < 0.5 * Y.var() / BEST["scale"] ** 2 / np.sqrt(24)


def test_the_fit_is_one_of_the_posterior_at_what_was_learned(learned, tmp_path, key):
    values = learned.learned
    precision = 1 + 1 / values["scale"] ** 2
    mean, sd = (Y + values["loc"] / values["scale"] ** 2) / precision, precision**-0.5
    level = learned.sample(key, 4000)["level"]
    np.testing.assert_allclose(level.mean(axis=0), mean, atol=(4 / np.sqrt(4000) + 0.05) * sd)
    np.testing.assert_allclose(level.std(axis=0), sd, rtol=0.1)
    assert f"Learned with q: loc = {values['loc']:.3g}, scale = {values['scale']:.3g}." in learned.status.message
    assert "q is of the posterior at these values, and says nothing of their own uncertainty" in learned.status.message
    certificate = vi_kl.check(learned, key=key, num_draws=2000)
    assert certificate.learned == ("loc", "scale")
    assert "Nor how uncertain loc, scale are: all figures are of the posterior at the values learned." in str(
        certificate
    )
    np.testing.assert_allclose(certificate.log_evidence.value, evidence_of_groups(values), atol=0.02)
    predicted = learned.predict(key, np.zeros(12), n=4000)["y"]
    np.testing.assert_allclose(predicted.mean(axis=0), mean, atol=0.15)
    log_likelihood = learned.log_likelihood(key, n=10)
    assert log_likelihood["y"].shape == (10, 12)


def test_a_saved_fit_holds_what_was_learned(learned, tmp_path):
    vi_kl.save(learned, tmp_path / "fit.vikl")
    for target in (Target.from_numpyro(groups, Y, loc=-3.0), learned.target):
        loaded = vi_kl.load(tmp_path / "fit.vikl", target)
        assert loaded.learned == learned.learned
        np.testing.assert_array_equal(loaded.log_prob(np.ones(12)), learned.log_prob(np.ones(12)))
    other = learned.target.with_learned({"loc": 0.0, "scale": 1.0})
    with pytest.raises(vi_kl.StorageError, match="another target"):
        vi_kl.load(tmp_path / "fit.vikl", other)


def test_other_methods_go_on_from_what_was_learned(learned):
    exact = vi_kl.fit(learned.target, "laplace", key=0)
    assert exact.learned == learned.learned
    assert "Learned with q" not in exact.status.message
    table = vi_kl.compare(learned, ["laplace", "mean_field"], key=0)
    assert not table.failures


def test_the_default_learns_and_says_how():
    y = Y[6:]
    fit = vi_kl.fit(groups, y, key=0)
    best = {"loc": y.mean(), "scale": np.sqrt(y.var() - 1)}
    assert 0 <= evidence_of_groups(best, y) - evidence_of_groups(fit.learned, y) < 2e-3
    assert "SVI learned the parameters with q of the family full_rank" in fit.status.message
    assert fit.target.to_learn == {}


@pytest.mark.exhaustive
def test_parameters_far_from_where_they_begin_on_another_scale():
    """A hundred times the scale of the data, so that neither the frame nor the units of the start are any good."""
    target = Target.from_numpyro(groups, 100 * Y, noise=100.0, loc=-50.0, scale=3.0)
    fit = vi_kl.fit(target, "mean_field", key=1)
    best = {name: 100 * value for name, value in BEST.items()}
    lost = [evidence_of_groups(x, 100 * Y, 100.0) for x in (best, fit.learned)]
    assert "the loss no longer falls" in fit.status.message
    assert 0 <= lost[0] - lost[1] < 2e-3


def proportions(k, n):
    a = numpyro.param("a", 1.0, constraint=constraints.positive)
    b = numpyro.param("b", 1.0, constraint=constraints.positive)
    with numpyro.plate("groups", len(k)):
        p = numpyro.sample("p", dist.Beta(a, b))
        numpyro.sample("k", dist.Binomial(n, p), obs=k)


@pytest.mark.exhaustive
def test_a_skewed_posterior_costs_no_more_evidence_than_the_gap():
    """Beta-binomial; ELBO(learned) >= ELBO(best) = evidence(best) - KL(best), and evidence >= ELBO."""
    rng = np.random.default_rng(1)
    n = np.full(8, 12)
    k = rng.binomial(n, rng.beta(2, 6, 8))

    def loss(x):
        a, b = np.exp(x)
        return -np.sum(special.betaln(k + a, n - k + b) - special.betaln(a, b))

    best = optimize.minimize(loss, np.zeros(2), tol=1e-10)
    fit = vi_kl.fit(Target.from_numpyro(proportions, k, n), SVI(MeanField(), tolerance=0.05, precision=0.2), key=0)
    learned = np.log([fit.learned["a"], fit.learned["b"]])
    assert np.abs(best.jac).max() < 1e-4  # by differences, whose rounding may end the search
    at_best = fit.target.with_learned(dict(zip("ab", np.exp(best.x), strict=True)))
    gap = vi_kl.check(vi_kl.fit(at_best, "mean_field", key=0), key=0, num_draws=2000).reverse_kl
    assert 0 <= loss(learned) - best.fun < gap.value + 4 * gap.standard_error + 0.05
    assert gap.value > 4 * gap.standard_error  # there is skewness to see


def components(x):
    """Probabilistic principal components, of one component: Tipping & Bishop (1999)."""
    weights = numpyro.param("weights", 0.1 * jnp.ones(x.shape[1]))
    noise = numpyro.param("noise", 1.0, constraint=constraints.positive)
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1))
        numpyro.sample("x", dist.Normal(z[:, None] * weights, noise).to_event(1), obs=x)


@pytest.mark.exhaustive
def test_probabilistic_principal_components():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(30, 1)) * np.array([2.0, -1.0, 0.5]) + 0.5 * rng.normal(size=(30, 3))
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    noise = values[:-1].mean()
    covariance = np.outer(vectors[:, -1], vectors[:, -1]) * (values[-1] - noise) + noise * np.eye(3)

    def evidence(covariance):
        return stats.multivariate_normal.logpdf(x, np.zeros(3), covariance).sum()

    fit = vi_kl.fit(Target.from_numpyro(components, x), SVI(MeanField(), tolerance=3e-3), key=0)
    found = np.outer(fit.learned["weights"], fit.learned["weights"]) + fit.learned["noise"] ** 2 * np.eye(3)
    assert 0 <= evidence(covariance) - evidence(found) < 0.01


def many(y, batch):
    """A mean with a prior, and the learned scale of many rows in minibatches."""
    loc = numpyro.sample("loc", dist.Normal(0, 10))
    scale = numpyro.param("scale", 5.0, constraint=constraints.positive)
    with numpyro.plate("rows", len(y), subsample_size=batch) as rows:
        numpyro.sample("y", dist.Normal(loc, scale), obs=y[rows])


@pytest.mark.exhaustive
def test_minibatches_learn_parameters():
    y = np.random.default_rng(3).normal(1.0, 2.0, 2000)
    fit = vi_kl.fit(Target.from_numpyro(many, y, 100), SVI(MeanField(), max_steps=6000), key=0)
    # the largest evidence is at about the root of the unbiased variance; its standard error is 1 / sqrt(2 n)
    assert abs(np.log(fit.learned["scale"] / y.std(ddof=1))) < 0.2 / np.sqrt(2 * 2000)


@pytest.mark.exhaustive
def test_many_fits_side_by_side_learn_what_each_learns_alone():
    rng = np.random.default_rng(4)
    targets = [Target.from_numpyro(groups, rng.normal(3, 2, 6)) for _ in range(3)]
    algorithm = SVI(MeanField(), ELBO(4), max_steps=1500)
    together = algorithm.fit_many(5, targets)
    for one, target, key in zip(together, targets, jax.random.split(jax.random.key(5), 3), strict=True):
        alone = algorithm.fit(key, target)
        for name, value in alone.learned.items():
            np.testing.assert_allclose(one.learned[name], value, rtol=1e-6)
    best = dataclasses.replace(algorithm, num_restarts=2).fit(6, targets[0])
    assert best.learned.keys() == {"loc", "scale"}
    assert best.target.to_learn == {}


@pytest.mark.exhaustive
def test_a_fit_that_learns_goes_on_from_its_checkpoint(tmp_path):
    target, short = Target.from_numpyro(groups, Y), SVI(FullRank(), ELBO(4), max_steps=300)
    full = dataclasses.replace(short, max_steps=900)
    whole = full.fit(7, target)
    short.fit(7, target, checkpoint=tmp_path / "run", checkpoint_seconds=0)
    resumed = full.fit(7, target, checkpoint=tmp_path / "run")
    for name, value in whole.learned.items():
        np.testing.assert_array_equal(resumed.learned[name], value)
    with pytest.raises(CheckpointError, match="another fit"):
        full.fit(7, Target.from_numpyro(groups, Y, loc=9.0), checkpoint=tmp_path / "run")


def test_a_method_that_cannot_learn_says_which_can():
    with pytest.raises(FitError, match=r"'skewed'.*vi_kl.fit.target, key=key.*fit.target"):
        vi_kl.fit(Target.from_numpyro(groups, Y), "skewed", key=0)
