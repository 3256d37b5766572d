"""Posterior SBC: calibrated where the posterior is exact, and a wrong sd or mean is seen, given the data seen."""

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from procedures import Distorted, normal_mean, regression
from scipy.stats import kstest, norm
from tiers import exhaustive

import vi_kl
from vi_kl.algorithms import Laplace
from vi_kl.core.errors import ModelError
from vi_kl.targets.simulation import simulator_of

X = np.linspace(-1, 1, 6)
SEEN = {"y": 0.3 + 0.8 * X + 0.5 * np.random.default_rng(0).normal(size=6)}


def calibrated(method, key=1, **settings):
    """The calibration of a linear regression, given data that were seen."""
    return vi_kl.calibrate(regression, X, observed="y", given=SEEN, method=method, key=key, **settings)


def test_the_posterior_given_both_data_is_that_of_all_rows():
    """Two data sets of one regression are one of twice the rows."""
    again = np.random.default_rng(1).normal(size=(3, 6))
    targets = simulator_of(regression, (X,), {}, ("y",)).augmented({"y": again}, SEEN)
    z = np.random.default_rng(2).normal(size=(4, 2))
    for target, y in zip(targets, again, strict=True):
        twice = vi_kl.Target.from_numpyro(regression, np.tile(X, 2), y=np.concatenate([SEEN["y"], y]))
        with jax.enable_x64(True):
            np.testing.assert_allclose(target.log_density(z), twice.log_density(z), rtol=1e-10)


@pytest.mark.exhaustive
def test_parameters_are_the_fits_and_data_are_theirs():
    """The moments of both, by linear algebra: theta ~ N(m, V), y ~ N(A m, A V A' + noise)."""
    found = calibrated("laplace", num_data_sets=400, num_draws=10)
    design = np.column_stack([np.ones(6), X])
    cov = np.linalg.inv(np.eye(2) + design.T @ design / 0.25)
    mean = cov @ design.T @ SEEN["y"] / 0.25
    sd = np.sqrt(np.diag(cov))
    assert np.abs(found.latent["b"].mean(axis=0) - mean).max() < 4 * sd.max() / 20
    of_data = np.sqrt(np.diag(design @ cov @ design.T) + 0.25)
    np.testing.assert_allclose(found.data["y"].std(axis=0), of_data, rtol=0.15)
    assert np.abs(found.data["y"].mean(axis=0) - design @ mean).max() < 4 * of_data.max() / 20


@pytest.mark.exhaustive
def test_an_exact_procedure_is_found_without_fault():
    found = calibrated("laplace", num_data_sets=300)
    assert not found.finds_fault, found.verdict
    for pits in found.pits.T:
        assert kstest(pits, "uniform").pvalue > 1e-3
    assert found.given == ("y",)
    assert "data that q's own draws make" in found.cannot_see


@pytest.mark.parametrize(("scale", "word"), [(0.6, "too narrow"), exhaustive((2.5, "too wide"))])
def test_a_wrong_sd_is_seen(scale, word):
    """theta lies with variance (scale^2 + 1)/4 around q's mean, in units of the first posterior's; q says scale^2/2."""
    found = calibrated(Distorted(Laplace(), scale=scale), num_data_sets=200)
    assert found.finds_fault
    assert {found.width[name] for name in ("b[0]", "b[1]")} == {word}


@pytest.mark.exhaustive
def test_how_often_a_wrong_interval_covers_is_known():
    """A normal mean under a vague prior: theta' - m' is normal with variance (scale^2 + 1)/4 of the posterior's."""
    scale, n = 0.6, 50
    seen = {"y": np.random.default_rng(3).normal(size=n)}
    found = vi_kl.calibrate(
        normal_mean, n, observed="y", given=seen, method=Distorted(Laplace(), scale=scale), key=2, num_data_sets=400
    )
    claimed, true = scale / np.sqrt(2), np.sqrt((scale**2 + 1) / 4)
    expected = 2 * norm.cdf(norm.ppf(0.75) * claimed / true) - 1
    cover = found.coverage(0.5)["mu"]
    assert abs(cover.value - expected) < 4 * cover.standard_error


@pytest.mark.exhaustive
def test_a_fault_in_other_data_alone_does_not_show():
    """Far from the data that were seen, where the prior puts most of its mass, the procedure may be as it likes."""

    class WrongElsewhere(Distorted):
        def distort(self, fit):
            return super().distort(fit) if np.abs(np.asarray(fit.approximation.params["loc"])[0]) > 1.5 else fit

    method = WrongElsewhere(Laplace(), scale=0.3)
    assert not calibrated(method).finds_fault
    assert vi_kl.calibrate(regression, X, observed="y", method=method, key=1, num_data_sets=600).finds_fault


def test_what_cannot_be_done_is_refused():
    def mixture(n, y=None):
        p = numpyro.sample("p", dist.Beta(1, 1))
        with numpyro.plate("rows", n):
            k = numpyro.sample("k", dist.Bernoulli(p), infer={"enumerate": "parallel"})
            numpyro.sample("y", dist.Normal(k, 1), obs=y)

    def guide(x, y=None):
        numpyro.sample("b", dist.Normal(y.mean(), 1).expand([2]).to_event(1))

    with pytest.raises(ModelError, match="discrete latent sites"):
        vi_kl.calibrate(mixture, 3, observed="y", given={"y": np.zeros(3)}, method="laplace", key=0)
    with pytest.raises(ValueError, match="reads the data"):
        calibrated(guide)
    with pytest.raises(ValueError, match="give all"):
        vi_kl.calibrate(regression, X, observed="y", given={"z": X}, method="laplace", key=0)
