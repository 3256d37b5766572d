"""Predictions: the model run forward at draws of a posterior, or of an approximation of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from draws.models import KINDS, subsampled
from numpyro.infer import Predictive, log_likelihood
from scipy import stats
from tiers import exhaustive_after

import vi_kl
from vi_kl.core.compilation import compile_clock
from vi_kl.core.errors import ModelError, UnsuitableError
from vi_kl.draws import model_runs, prior_predictive
from vi_kl.models.conjugate import beta_binomial, linear_regression_known_noise, normal_normal
from vi_kl.models.conjugate.regression import CHILDREN
from vi_kl.targets import price

N = 20_000


@functools.cache
def fitted(name):
    model, data, _ = KINDS[name]
    return vi_kl.fit(model, "laplace", *data, key=0)


def agree(ours, mean, sd, times=4.5):
    """Whether draws have this mean, and this sd, within some standard errors, of normals or what has lighter tails."""
    n = len(ours)
    assert np.all(np.abs(ours.mean(axis=0) - mean) < times * sd / np.sqrt(n))
    assert np.all(np.abs(ours.std(axis=0) / sd - 1) < times / np.sqrt(2 * n))


# Closed forms ----------------------------------------------------------------------------------------------------


def test_the_predictive_of_a_normal_mean():
    """y_i ~ N(m, v + noise_i^2), with m and v by hand."""
    y, noise, prior_mean, prior_sd = np.array([4.1, 5.6, 3.8, 6.0]), np.array([1.0, 2.0, 0.5, 1.5]), 3.0, 2.5
    variance = 1 / (np.sum(1 / noise**2) + 1 / prior_sd**2)
    mean = variance * (np.sum(y / noise**2) + prior_mean / prior_sd**2)
    drawn = vi_kl.fit(normal_normal(), "laplace", key=0).predict(1, n=N)
    assert set(drawn) == {"y"}
    sd = np.sqrt(variance + noise**2)
    agree(drawn["y"], mean, sd)
    # entries of one draw share mu: their covariance is its variance
    assert np.cov(drawn["y"], rowvar=False)[0, 2] == pytest.approx(variance, abs=4.5 * sd[0] * sd[2] / np.sqrt(N))


def test_the_predictive_of_a_binomial():
    """Draws of the closed-form reference give the beta-binomial distribution of each row."""
    trials = np.array([6, 10])
    target = beta_binomial((4, 3), trials, 2.0, 1.5)
    (drawn,) = target.reference.predict(2, n=N).values()
    assert drawn.dtype.kind == "i"
    for x, total in zip(drawn.T, trials, strict=True):
        expected = N * stats.betabinom(total, 2.0 + 7, 1.5 + 9).pmf(np.arange(total + 1))
        counts = np.bincount(x, minlength=total + 1)
        large = expected > 5
        statistic = np.sum((counts - expected)[large] ** 2 / expected[large])
        assert statistic < stats.chi2(large.sum()).ppf(1 - 1e-5)


def test_new_predictors():
    """y_new ~ N(x m, x V x' + noise^2): the model is run with other rows, and with data that are not looked at."""
    target = linear_regression_known_noise()
    mean, covariance = target.reference.normal
    x = CHILDREN[:2] + np.array([0.0, 3.0, -1.0])
    fit = vi_kl.fit(target, "laplace", key=0)
    drawn = fit.predict(3, x, np.zeros(2), np.full(2, 0.08), np.zeros(3), np.array([5.0, 0.1, 0.2]), n=N)["y"]
    sd = np.sqrt(np.einsum("ij,jk,ik->i", x, covariance, x) + 0.08**2)
    agree(drawn, x @ mean, sd)


def groups(y, size):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    with numpyro.plate("groups", size):
        theta = numpyro.sample("theta", dist.Normal(mu, 1))
        numpyro.sample("y", dist.Normal(theta, 1), obs=y)


def test_new_groups():
    """Groups that the data do not have come from the model, once they are named; else they are refused by name."""
    y = np.array([1.0, 2.0, 0.5, 3.0])
    fit = vi_kl.fit(groups, "laplace", y, 4, key=0)
    precision = 1 + 4 / 2  # of mu: each y_j is a measurement of it with variance 2
    with pytest.raises(ModelError, match=r"'theta' has shape \(4,\).*\(3,\).*only some of them.*redraw=\['theta'\]"):
        fit.predict(1, None, 3)
    drawn = fit.predict(1, None, 3, redraw=["theta"], n=N)
    assert set(drawn) == {"theta", "y"}
    agree(drawn["y"], y.sum() / 2 / precision, np.sqrt(1 / precision + 2))
    kept = fit.predict(1, None, 4, sites=["theta", "y"], n=N)  # of the same shape: the groups of the data
    agree(kept["theta"], y / 2 + y.sum() / 4 / precision, np.sqrt(1 / 2 + 1 / 4 / precision))


def switch(y):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    on = numpyro.sample("on", dist.Bernoulli(0.3))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mu + 3 * on, 1), obs=y)


@pytest.mark.landing
def test_a_discrete_site_is_drawn_from_its_posterior():
    """p(on | y) and E[mu | on, y] are those of two normal models."""
    y = np.array([1.2, 1.9, 1.4])
    marginal = [stats.multivariate_normal(3 * k * np.ones(3), np.eye(3) + 1).pdf(y) for k in (0, 1)]
    on = 0.3 * marginal[1] / (0.7 * marginal[0] + 0.3 * marginal[1])
    mean = [(y - 3 * k).sum() / 4 for k in (0, 1)]
    target = vi_kl.Target.from_numpyro(switch, y)
    drawn = vi_kl.find_reference(target).predict(1, n=N, sites=["mu", "on", "y"])
    error = np.sqrt(on * (1 - on) / N)
    assert 0.05 < on < 0.95
    assert abs(drawn["on"].mean() - on) < 4.5 * error
    for k in (0, 1):
        agree(drawn["mu"][drawn["on"] == k], mean[k], 0.5)
    expected = (1 - on) * mean[0] + on * (mean[1] + 3)
    assert np.all(np.abs(drawn["y"].mean(axis=0) - expected) < 4.5 * drawn["y"].std(axis=0) / np.sqrt(N))


def clusters(y):
    loc = numpyro.sample("loc", dist.Normal(jnp.array([-1.0, 1.0]), 1e-3).to_event(1))
    with numpyro.plate("rows", len(y)):
        k = numpyro.sample("k", dist.Categorical(jnp.array([0.4, 0.6])))
        numpyro.sample("y", dist.Normal(loc[k], 1.0), obs=y)


@pytest.mark.exhaustive
def test_discrete_sites_along_plates():
    """Each row's component has its own posterior, which the data of the row decide."""
    pytest.importorskip("funsor")
    y = np.linspace(-2, 2, 14)
    odds = 0.6 * stats.norm.pdf(y, 1) / (0.4 * stats.norm.pdf(y, -1))
    p = odds / (1 + odds)
    drawn = vi_kl.fit(clusters, "laplace", y, key=0).predict(1, n=N, sites=["k", "y"])
    assert np.all(np.abs(drawn["k"].mean(axis=0) - p) < 4.5 * np.sqrt(p * (1 - p) / N))
    agree(drawn["y"], 2 * p - 1, np.sqrt(1 + 4 * p * (1 - p)), times=5)


# Another program -------------------------------------------------------------------------------------------------


def full(model):
    """A model whose plates are whole, as NumPyro's own functions do not have it."""

    def run(*args, **kwargs):
        with numpyro.handlers.substitute(data={}) if model is not subsampled else whole():
            return model(*args, **kwargs)

    return run


def whole():
    return numpyro.handlers.substitute(substitute_fn=lambda site: jnp.arange(8) if site["type"] == "plate" else None)


@pytest.mark.parametrize("name", exhaustive_after(3, ["ragged", "nested", "chain", "counts", "subsampled", "factored"]))
def test_the_draws_are_numpyros(name):
    """NumPyro's Predictive and log_likelihood, at the same draws of the latent sites."""
    model, data, inputs = KINDS[name]
    fit, n = fitted(name), 4_000
    latent = {site: x for site, x in fit.sample(5, n, deterministic=False).items()}
    with jax.enable_x64(True):
        latent = jax.tree.map(jnp.asarray, latent)
        theirs = Predictive(full(model), latent)(jax.random.key(9), *inputs)
        theirs.pop("penalty", None)
        points = log_likelihood(full(model), latent, *data)
    ours = fit.predict(5, n=n)
    assert set(ours) == set(theirs)
    for site, x in theirs.items():
        x = np.asarray(x)
        assert ours[site].shape == x.shape
        assert ours[site].dtype.kind == x.dtype.kind
        error = np.sqrt((x.var(axis=0) + ours[site].var(axis=0)) / n)
        assert np.all(np.abs(ours[site].mean(axis=0) - x.mean(axis=0)) < 4.5 * error + 1e-12)
        assert np.allclose(ours[site].std(axis=0), x.std(axis=0), rtol=0.12)
    points.pop("penalty", None)
    own = fit.log_likelihood(5, n)
    assert set(own) == set(points)
    for site, x in points.items():
        np.testing.assert_allclose(own[site], x, rtol=1e-9, atol=1e-12)


def test_the_same_key_gives_the_same_numbers_in_batches_of_any_size(monkeypatch):
    told = []

    def ask():
        told.clear()
        ask = {"progress": lambda fraction, words: told.append((fraction, words))}
        return fitted("ragged").predict(4, n=100, **ask), fitted("ragged").log_likelihood(4, 100, **ask)

    before = ask()
    assert [words for _, words in told] == ["100 of 100 draws"] * 2
    monkeypatch.setattr(price, "MEMORY", 3_000)
    assert model_runs.usual_number([(10,)]) == 32  # 80 bytes each
    after = ask()
    assert len(told) > 10  # a draw holds some 200 bytes
    assert told[-1] == (1.0, "100 of 100 draws")
    for one, other in zip(before, after, strict=True):
        for site in one:
            np.testing.assert_allclose(one[site], other[site], rtol=1e-12)


def test_nothing_is_compiled_twice():
    """Not for other draws, nor for other data of the same shape."""
    model, (group, y), _ = KINDS["ragged"]
    other = vi_kl.fit(model, "laplace", group, y + 1.0, key=0)
    for fit in (fitted("ragged"), other):
        with compile_clock() as clock:
            fit.predict(4, n=100)
            fit.predict(5, n=300)
            fit.log_likelihood(6, 100)
    assert clock.programs == 0


# What the data leave open ----------------------------------------------------------------------------------------


def missing(y, seen):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mu, 1), obs=y, obs_mask=seen)


@pytest.mark.landing
def test_masked_observations():
    """Rows that are not seen have a posterior; seen ones are drawn again, and masked ones have log likelihood 0."""
    y, seen = np.array([1.0, 3.0, 0.0]), np.array([True, True, False])
    fit = vi_kl.fit(missing, "laplace", y, seen, key=0)
    drawn = fit.predict(1, n=N)
    agree(drawn["y"], 4 / 3, np.sqrt(1 / 3 + 1))
    log_p = fit.log_likelihood(1, 50)["y_observed"]
    mu = fit.sample(1, 50)["mu"]
    np.testing.assert_allclose(log_p, np.where(seen, stats.norm.logpdf(y, mu[:, None], 1), 0), rtol=1e-12)


def test_the_prior():
    y = np.array([1.0, 2.0, 0.5, 3.0])
    target = vi_kl.Target.from_numpyro(groups, y, 4)
    drawn = prior_predictive(target, key=3, n=N)
    assert set(drawn) == {"mu", "theta", "y"}
    for site, variance in (("mu", 1), ("theta", 2), ("y", 3)):
        agree(drawn[site], 0.0, np.sqrt(variance))


def flat(y):
    mu = numpyro.sample("mu", dist.ImproperUniform(dist.constraints.real, (), ()))
    numpyro.sample("y", dist.Normal(mu, 1).expand([3]).to_event(1), obs=y)


def test_an_improper_prior():
    """The posterior is run forward, and the prior refused by name."""
    target = vi_kl.Target.from_numpyro(flat, np.zeros(3))
    fit = vi_kl.fit(target, "laplace", key=0)
    agree(fit.predict(1, n=N)["y"], 0.0, np.sqrt(4 / 3))
    assert fit.log_likelihood(1, 10)["y"].shape == (10,)  # one event, one observation
    with pytest.raises(ModelError, match="'mu' has an improper prior"):
        prior_predictive(target, key=1)
    with pytest.raises(ModelError, match="cannot be drawn"):
        fit.predict(1, None, redraw=["mu"])


# What cannot be done is said -------------------------------------------------------------------------------------


def test_a_log_density_cannot_be_run_forward():
    target = vi_kl.Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2), 2)
    fit = vi_kl.fit(target, "laplace", key=0)
    for ask in (fit.predict, fit.log_likelihood):
        with pytest.raises(UnsuitableError, match=r"forward.*Target\.from_numpyro"):
            ask(1)
    with pytest.raises(UnsuitableError, match="prior_predictive needs"):
        prior_predictive(fit, key=1)


def unobserved():
    x = numpyro.sample("x", dist.Normal(0, 1))
    numpyro.factor("likelihood", -(x**2))


def computed():
    x = numpyro.sample("x", dist.Normal(0, 1))
    numpyro.deterministic("square", x**2)


def test_models_without_observations():
    fit = vi_kl.fit(unobserved, "laplace", key=0)
    with pytest.raises(ValueError, match="no observed site and computes nothing"):
        fit.predict(1)
    with pytest.raises(ValueError, match="no observed site"):
        fit.log_likelihood(1)
    agree(fit.predict(1, sites="x", n=N)["x"], 0.0, np.sqrt(1 / 3))
    found = vi_kl.fit(computed, "laplace", key=0).predict(1, n=N)
    assert set(found) == {"square"}
    assert abs(found["square"].mean() - 1) < 4.5 * np.sqrt(2 / N)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda f: f.predict(1, sites=["nonsense"]), "no site 'nonsense'"),
        (lambda f: f.predict(1, redraw=["nonsense"]), "'nonsense', which is no latent site"),
        (lambda f: f.predict(1, 100), "does not run on these arguments.*n=1000"),
        (lambda f: f.predict(1, y=np.zeros(3)), "does not run on these arguments.*'group'"),
    ],
)
def test_mistakes_are_named(ask, words):
    with pytest.raises(ValueError, match=words):
        ask(fitted("ragged"))


def test_an_error_of_the_model_is_quoted_with_one_full_stop():
    fit = vi_kl.fit(of_columns, "laplace", {"y": np.zeros(2)}, key=0)
    with pytest.raises(ModelError, match=r"These are no rows\. Give it"):
        fit.predict(1, {})


def of_columns(data):
    if "y" not in data:
        raise ValueError("These are no rows.")
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(mu, 1), obs=data["y"])


OFFSET = 1.0


def offset(y):
    mu = numpyro.sample("mu", dist.Normal(OFFSET, 1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(mu, 1), obs=y)


def test_a_model_that_reads_other_values_now_is_not_run(monkeypatch):
    fit = vi_kl.fit(offset, "laplace", np.zeros(2), key=0)
    monkeypatch.setitem(globals(), "OFFSET", 5.0)
    with pytest.raises(ValueError, match="have been replaced"):
        fit.predict(1)
    assert fit.summary(1, 100).names == ("mu",)


# Against a run of NUTS -------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_predictions_are_those_of_the_reference_draws():
    """Means and 90% intervals of eight schools under the default fit, and under exact draws."""
    from vi_kl.models.textbook import eight_schools_noncentred

    target = eight_schools_noncentred()
    exact = vi_kl.reference_run(target, key=1)
    ours, theirs = vi_kl.fit(target, key=0).predict(2, n=8_000)["y"], exact.predict(3)["y"]
    assert theirs.shape == (8_000, 8)
    sd = theirs.std(axis=0)
    assert np.all(np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 0.06 * sd)  # 3.4 errors of two means of 8,000
    for p in (0.05, 0.95):  # the error of such a quantile of a normal is 2.1 sd / sqrt(n)
        ours_there, theirs_there = np.quantile(ours, p, axis=0), np.quantile(theirs, p, axis=0)
        assert np.all(np.abs(ours_there - theirs_there) < 4 * 2.1 * np.sqrt(2) * sd / np.sqrt(8_000))
