"""Calibration of procedures that are right, and of ones that are wrong in ways whose figures are known exactly."""

import dataclasses
import inspect
import json
import math

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from procedures import Distorted, Normal, amortised, exponential, normal_mean, regression
from scipy.stats import gamma, kstest, norm
from scipy.stats import multivariate_normal as mvn

import vi_kl
import vi_kl.workflows.calibration.words
from vi_kl.algorithms import SVI, FitError, Laplace
from vi_kl.core.compilation import compile_clock
from vi_kl.core.records import plain
from vi_kl.families import FullRank, MeanField
from vi_kl.objectives import ELBO
from vi_kl.workflows.calibration.ranks import JOINT

QUICK = SVI(FullRank(), ELBO(4), step_size=0.1, tolerance=0.005, chunk=50)


def agrees(estimate, exact, errors=3.0):
    assert abs(estimate.value - exact) < errors * estimate.standard_error, (str(estimate), exact)


def central(level, scale=1.0):
    """How often an interval of a normal whose sd is `scale` of the right one covers."""
    return 2 * norm.cdf(scale * norm.ppf(0.5 + level / 2)) - 1


@pytest.fixture(scope="module")
def exact():
    """Full-rank SVI of a normal mean: the family holds the posterior."""
    return vi_kl.calibrate(normal_mean, 4, observed="y", method=QUICK, key=jax.random.key(5))


def test_an_exact_procedure_is_found_without_fault(exact):
    assert exact.parameters == ("mu", JOINT)
    assert exact.ranks.shape == exact.pits.shape == (200, 2)
    assert exact.ranks.min() >= 0
    assert exact.ranks.max() <= 1000
    np.testing.assert_array_equal(exact.ranks, np.floor(exact.pits * 1001))
    for level in (0.5, 0.8, 0.95):
        agrees(exact.coverage(level)["mu"], level)
        agrees(exact.coverage(level)[JOINT], level)
    assert not exact.finds_fault
    assert kstest(exact.pits[:, 0], "uniform").pvalue > 0.01
    assert "No fault found in 200 data sets" in exact.verdict
    assert exact.converged.all()
    assert "average over data that the prior makes" in exact.cannot_see


def test_a_calibration_is_a_plain_record(exact):
    found = json.loads(json.dumps(exact.to_dict(), allow_nan=False))
    assert found == json.loads(json.dumps(plain(dataclasses.asdict(exact)), allow_nan=False))
    assert found.keys() == {
        *(
            "method",
            "parameters",
            "ranks",
            "pits",
            "num_draws",
            "converged",
            "failures",
            "latent",
            "data",
            "cost",
            "given",
        ),
        *("p_values", "adjusted_p_values", "faults", "bias", "width", "finds_fault", "worst_first"),
        *("verdict", "cannot_see"),
    }
    np.testing.assert_array_equal(found["pits"], exact.pits)
    assert (found["verdict"], found["cannot_see"]) == (exact.verdict, exact.cannot_see)
    narrow = dataclasses.replace(exact, pits=np.where(exact.pits > 0.5, 1.0, 0.0))  # every truth outside q's draws
    assert narrow.finds_fault
    assert narrow.width["mu"] == "too narrow"
    assert "Intervals of mu are too narrow" in narrow.verdict
    assert "Calibration" not in inspect.getsource(vi_kl.workflows.calibration.words)


def test_a_calibration_without_parameters_says_so(exact):
    empty = dataclasses.replace(exact, parameters=(), ranks=exact.ranks[:, :0], pits=exact.pits[:, :0])
    assert "no parameter of the model varies" in empty.verdict


def test_ranks_of_svi_are_those_of_the_exact_posterior(exact):
    """Within the error of 1000 draws, data set by data set: a permutation of data sets would not show in ranks."""
    precision = 1 / 4 + 4
    mean = exact.data["y"].sum(axis=1) / precision
    cdf = norm.cdf(exact.latent["mu"], mean, precision**-0.5)
    error = np.sqrt(cdf * (1 - cdf) / 1000) + 1e-3
    assert (np.abs(exact.pits[:, 0] - cdf) < 5 * error).all()


@pytest.mark.exhaustive
def test_p_values_are_uniform_over_keys():
    """20 calibrations of the exact posterior: none of the tests finds more than it should."""
    p_values = []
    for seed in range(20):
        done = vi_kl.calibrate(normal_mean, 4, observed="y", method=Normal(), key=jax.random.key(seed))
        p_values.append([done.p_values[test][0] for test in ("uniformity", "symmetry", "spread")])
    for p in np.transpose(p_values):
        assert kstest(p, "uniform").pvalue > 0.01
    assert np.ptp(p_values, axis=0).min() > 0.5


@pytest.mark.exhaustive
def test_p_values_of_svi_are_uniform_over_keys():
    p = [
        list(vi_kl.calibrate(normal_mean, 4, observed="y", method=QUICK, key=jax.random.key(seed)).p_values.values())
        for seed in range(20)
    ]
    for values in np.array(p).reshape(20, -1).T:
        assert kstest(values, "uniform").pvalue > 0.001  # six tests


@pytest.mark.parametrize(("scale", "width"), [(0.5, "too narrow"), (2.0, "too wide")])
@pytest.mark.parametrize("inner", [None, pytest.param(QUICK, marks=pytest.mark.exhaustive, id="svi")])
def test_a_planted_scale_shows_as_the_known_coverage(scale, width, inner):
    """q's sd halved: its 95% intervals cover P(|Z| < 0.98) = 0.673. Of the exact posterior, and of SVI's."""
    method = Normal(scale=scale) if inner is None else Distorted(inner, scale=scale)
    found = vi_kl.calibrate(normal_mean, 4, observed="y", method=method, key=jax.random.key(13))
    for level in (0.5, 0.8, 0.95):
        agrees(found.coverage(level)["mu"], central(level, scale))
    assert found.width["mu"] == width
    assert found.bias["mu"] == ""
    percent = f"{100 * found.coverage(0.95)['mu'].value:.0f}%"
    assert f"Intervals of mu are {width}: 95% intervals cover {percent}" in found.verdict


@pytest.mark.parametrize(("shift", "words"), [(0.5, "overestimated"), (-0.5, "underestimated")])
def test_a_planted_shift_shows_with_its_direction(shift, words):
    """q's mean half a posterior sd too high: the truth lies above it with probability P(Z > 0.5)."""
    found = vi_kl.calibrate(normal_mean, 4, observed="y", method=Normal(shift=shift), key=jax.random.key(7))
    agrees(found.above_median()["mu"], norm.sf(shift))
    agrees(found.coverage(0.95)["mu"], norm.cdf(1.96 + shift) - norm.cdf(-1.96 + shift))
    assert found.p_values["symmetry"][0] < 1e-4
    assert found.bias["mu"] == words
    assert f"mu is {words}: the truth lies above q's median in" in found.verdict


def test_a_q_that_ignores_the_data_shows_only_in_the_joint_density():
    """The prior is calibrated for mu; Modrák et al. (2023) rank the log density too for this reason."""
    found = vi_kl.calibrate(normal_mean, 4, observed="y", method=Normal(prior=True), key=jax.random.key(8))
    assert found.bias["mu"] == found.width["mu"] == ""
    assert not found.faults["uniformity"][0]
    assert found.bias[JOINT] == "underestimated"
    assert found.worst_first[0] == JOINT
    assert "higher than at q's draws" in found.verdict


@pytest.mark.exhaustive
def test_mean_field_of_a_skewed_posterior_has_the_known_distribution_of_ranks():
    """The posterior of log rate is log Gamma(2, b); the best normal has sd 1/sqrt(2) and mean log(2/b) - 1/4."""
    method = SVI(MeanField(), ELBO(8), step_size=0.1, tolerance=0.005, chunk=50, max_steps=3000)
    found = vi_kl.calibrate(exponential, 1, observed="y", method=method, key=jax.random.key(9))

    def probability_below(u):
        return gamma.cdf(2 * np.exp(-1 / 4 + norm.ppf(u) / math.sqrt(2)), 2)

    for level in (0.5, 0.95):
        agrees(
            found.coverage(level)["rate"], np.diff(probability_below(np.array([0.5 - level / 2, 0.5 + level / 2])))[0]
        )
    agrees(found.above_median()["rate"], 1 - probability_below(0.5))
    assert kstest(probability_below(found.pits[:, 0]), "uniform").pvalue > 0.01


@pytest.mark.exhaustive
def test_mean_field_of_a_correlated_posterior_is_too_narrow_by_the_known_factor():
    """Its sds are sqrt(1 - rho^2) of the posterior's."""
    x = np.linspace(0, 2, 10)
    design = np.stack([np.ones_like(x), x], axis=1)
    precision = design.T @ design / 0.25 + np.eye(2)
    rho = -precision[0, 1] / math.sqrt(precision[0, 0] * precision[1, 1])
    assert rho < -0.8
    method = SVI(MeanField(), ELBO(4), step_size=0.05, tolerance=0.05, chunk=50, max_steps=2000)
    found = vi_kl.calibrate(regression, x, observed="y", method=method, key=jax.random.key(10))
    assert found.parameters == ("b[0]", "b[1]", JOINT)
    for name in ("b[0]", "b[1]"):
        for level in (0.5, 0.95):
            agrees(found.coverage(level)[name], central(level, math.sqrt(1 - rho**2)))
        assert found.width[name] == "too narrow"
        assert f"Intervals of {name} are too narrow" in found.verdict


def test_simulated_parameters_and_data_have_the_joint_distribution_of_the_model(exact):
    """(mu, y_1, ..., y_4) is normal with variance 4 + 1 of y and covariance 4 with everything."""
    draws = np.column_stack([exact.latent["mu"], exact.data["y"]])
    covariance = np.full((5, 5), 4.0) + np.diag([0.0, 1, 1, 1, 1])
    distances = np.einsum("ni,ij,nj->n", draws, np.linalg.inv(covariance), draws)
    assert kstest(distances, "chi2", args=(5,)).pvalue > 0.01
    assert mvn(np.zeros(5), covariance).logpdf(draws).mean() == pytest.approx(
        -0.5 * (5 * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1] + 5), abs=4 * math.sqrt(5 / 2 / 200)
    )


@pytest.mark.exhaustive
def test_other_numbers_of_data_sets_compile_nothing_more(exact):
    """One program for all 200 fits, and none for 100 more: the lanes are filled again and again."""
    with compile_clock() as clock:
        more = vi_kl.calibrate(normal_mean, 4, observed="y", method=QUICK, key=jax.random.key(11), num_data_sets=100)
    assert len(more.pits) == 100
    assert clock.programs <= 1  # the simulation: its number of keys is its shape


@pytest.mark.landing
def test_same_key_same_calibration():
    done = [
        vi_kl.calibrate(normal_mean, 4, observed="y", method=Normal(), key=jax.random.key(seed), num_data_sets=10)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(done[0].pits, done[1].pits)
    assert (done[0].pits != done[2].pits).all()


def test_failed_fits_are_left_out_and_counted():
    method = Normal(fails_above=2.0)
    found = vi_kl.calibrate(normal_mean, 4, observed="y", method=method, key=jax.random.key(12))
    high = np.flatnonzero(found.data["y"].mean(axis=1) > 2.0)
    assert sorted(found.failures) == high.tolist()
    assert len(found.pits) == len(found.converged) == 200 - len(high)
    assert f"{len(high)} of 200 fits failed and are left out" in found.verdict
    assert "too high" in found.failures[high[0]]


def test_where_every_fit_fails_the_first_error_is_told():
    with pytest.raises(FitError, match=r"Each of the 10 fits of normal failed. The first: The mean"):
        vi_kl.calibrate(
            normal_mean, 4, observed="y", method=Normal(fails_above=-99), key=jax.random.key(1), num_data_sets=10
        )


@pytest.mark.exhaustive
def test_fits_that_did_not_converge_are_counted_in():
    method = dataclasses.replace(QUICK, max_steps=50)
    found = vi_kl.calibrate(normal_mean, 4, observed="y", method=method, key=jax.random.key(1))
    assert not found.converged.any()
    assert len(found.pits) == 200
    assert "200 of 200 fits did not converge; they are counted in." in found.verdict


@pytest.mark.parametrize(
    "guide",
    [amortised, pytest.param(numpyro.infer.autoguide.AutoNormal, marks=pytest.mark.exhaustive)],
    ids=lambda guide: guide.__name__,
)
def test_guides(guide):
    """A guide function may look at the simulated data; an autoguide class is made for the model with its data."""
    found = vi_kl.calibrate(normal_mean, 4, observed="y", method=guide, key=jax.random.key(2), num_data_sets=10)
    assert found.method == guide.__name__
    precision = 1 / 4 + 4
    cdf = norm.cdf(found.latent["mu"], found.data["y"].sum(axis=1) / precision, precision**-0.5)
    np.testing.assert_allclose(found.pits[:, 0], cdf, atol=0.1)


def throws(n, y=None, z=None):
    """Two data sites, one of them discrete, and a latent site one of whose entries never varies."""
    logit = numpyro.sample("logit", dist.Normal(0, 1))
    numpyro.sample("corr", dist.LKJCholesky(2, 2.0))
    numpyro.sample("y", dist.Bernoulli(logits=logit).expand([n]).to_event(1), obs=y)
    numpyro.sample("z", dist.Normal(logit, 0.1), obs=z)


@pytest.mark.exhaustive
def test_discrete_data_several_sites_and_entries_that_never_vary():
    method = Laplace()
    found = vi_kl.calibrate(throws, 20, observed=["z", "y"], method=method, key=jax.random.key(3), num_data_sets=10)
    assert found.parameters == ("corr[1,0]", "corr[1,1]", "logit", JOINT)
    assert set(np.unique(found.data["y"])) == {0, 1}
    assert (np.abs(found.latent["logit"] - found.data["z"]) < 0.4).all()
    probability = 1 / (1 + np.exp(-found.latent["logit"]))
    assert (np.abs(probability - found.data["y"].mean(axis=1)) < 0.45).all()  # 4 sd of 20 throws


def test_a_table_a_text_and_the_sizes_that_are_refused(exact):
    table = exact.to_dataframe()
    assert list(table.index) == ["mu", JOINT]
    assert table.loc["mu", "95% cover"] == exact.coverage(0.95)["mu"].value
    assert exact.verdict in str(exact)
    assert "<table" in exact._repr_html_()
    with pytest.raises(ValueError, match="level must lie between"):
        exact.coverage(95)
    for wrong, words in (
        ({"num_data_sets": 5}, "at least 10"),
        ({"num_draws": 0}, "num_draws must be at least 1"),
        ({"observed": ()}, "observed is empty"),
        ({"method": "fool-rank"}, "Unknown method"),
    ):
        with pytest.raises(ValueError, match=words):
            vi_kl.calibrate(normal_mean, 4, **{"observed": "y", "key": jax.random.key(0), **wrong})


def test_an_argument_that_no_one_takes_is_told_with_the_one_that_is_meant():
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'num_datasets'\. Did you mean 'num_data_sets'"):
        vi_kl.calibrate(normal_mean, 4, observed="y", num_datasets=20, key=0)
    with pytest.raises(TypeError, match="missing a required argument: 'n'"):
        vi_kl.calibrate(normal_mean, observed="y", key=0)
