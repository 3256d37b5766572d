"""Importance-corrected draws against quadrature, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logsumexp
from scipy import integrate

import vi_kl
from vi_kl.core.errors import UnsuitableError
from vi_kl.divergences.estimators.pareto import pareto_k
from vi_kl.draws.resampling import limit_for, stratified
from vi_kl.families import Approximation, MeanField
from vi_kl.targets import Target


def skewed(z):
    """The log of a Gumbel density: a mean and a variance that are not the mode's."""
    return -z[0] - jnp.exp(-z[0])


def humped(z):
    """Two humps that a wide normal covers, of unequal mass."""
    parts = jnp.stack([-0.5 * (z[0] + 1.5) ** 2, jnp.log(0.4) - 0.5 * ((z[0] - 1.5) / 0.8) ** 2])
    return logsumexp(parts)


def normal(function, loc, scale):
    """The approximation Normal(loc, scale) of a one-dimensional log density."""
    params = {"loc": np.array([loc]), "log_scale": np.log([scale])}
    return Approximation(MeanField(), params, Target.from_log_density(function, 1))


DENSITIES = {
    "skewed": lambda x: np.exp(-x - np.exp(-x)),
    "humped": lambda x: np.exp(-0.5 * (x + 1.5) ** 2) + 0.4 * np.exp(-0.5 * ((x - 1.5) / 0.8) ** 2),
}


def moments(density):
    """(mean, variance, fourth central moment, mass above 0) by quadrature."""
    area = lambda f: integrate.quad(lambda x: f(x) * density(x), -8, 30, limit=400, points=[-2, 0, 2])[0]  # noqa: E731
    total = area(lambda x: 1.0)
    mean = area(lambda x: x) / total
    variance = area(lambda x: (x - mean) ** 2) / total
    return mean, variance, area(lambda x: (x - mean) ** 4) / total, area(lambda x: float(x > 0)) / total


@functools.cache
def case(name):
    function, loc, scale = {"skewed": (skewed, 1.0, 2.0), "humped": (humped, 0.0, 2.5)}[name]
    return normal(function, loc, scale), moments(DENSITIES[name])


@pytest.mark.parametrize("name", ["skewed", "humped"])
def test_moments_are_the_posteriors(name):
    q, (mean, variance, fourth, above) = case(name)
    found = q.resample(1, 4_000)
    x = found.sites["z"][:, 0]
    # as many draws of the posterior as the smaller of both stages gives
    n = 1 / (1 / found.effective + 1 / len(x))
    assert found.reliable
    assert abs(x.mean() - mean) < 4.5 * np.sqrt(variance / n)
    assert abs(x.var() - variance) < 4.5 * np.sqrt((fourth - variance**2) / n)
    assert abs((x > 0).mean() - above) < 4.5 * np.sqrt(above * (1 - above) / n)
    own = q.sample(1, 100_000)["z"][:, 0]
    assert abs(own.var() - variance) > 20 * np.sqrt((fourth - variance**2) / n)  # q itself is far off
    assert found.distinct > 0.7 * len(x)
    table = found.summary(0).to_dataframe()
    assert table.loc["z[0]", "mean"] == pytest.approx(x.mean())


def test_heavy_weights_are_refused_or_marked():
    q = normal(skewed, 0.0, 0.3)  # far narrower than the posterior
    z, log_q = q.sample_and_log_prob(0, 16_384)
    assert pareto_k(q.target.log_density(z) - log_q) > 0.7
    with pytest.raises(UnsuitableError, match=r"mean_field have k-hat .* above 0\.70.*Vehtari.*on_failure") as caught:
        q.resample(1, 500)
    assert "vi_kl.sample" in str(caught.value)
    kept = q.resample(1, 500, on_failure="keep")
    assert not kept.reliable
    for form in (repr(kept), str(kept), str(kept.summary(0))):
        assert "NOT reliable" in form


def test_the_limit_is_lower_for_few_weights():
    """min(1 - 1 / log10(S), 0.7): 0.5 for 100, 0.667 for 1,000."""
    assert limit_for(100) == pytest.approx(0.5)
    assert limit_for(1_000) == pytest.approx(2 / 3)
    assert limit_for(16_384) == 0.7


def test_each_place_is_kept_as_often_as_its_weight_says():
    """Of n strata, weight w fills n w of them, to the one below or above."""
    weights = np.random.default_rng(0).dirichlet(np.full(50, 0.3))
    places = stratified(weights, 1_000, 3)
    counts = np.bincount(places, minlength=50)
    assert np.all(np.abs(counts - 1_000 * weights) < 2)
    assert np.any(np.diff(places) < 0)  # their order says nothing


@pytest.mark.parametrize("method", ["map", "svgd"])
def test_what_has_no_density_has_no_weights(method):
    fit = vi_kl.fit(Target.from_log_density(skewed, 1), method, key=0)
    with pytest.raises(UnsuitableError, match=f"{fit.name} has no density"):
        fit.resample(1, 100)


def test_mistakes_are_named():
    q, _ = case("skewed")
    with pytest.raises(TypeError, match="key comes first"):
        q.resample(100, jax.random.key(0))
    with pytest.raises(ValueError, match="on_failure must be"):
        q.resample(1, 100, on_failure="warn")
    with pytest.raises(ValueError, match="num_candidates"):
        q.resample(1, 100, num_candidates=50)
