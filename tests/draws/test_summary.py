"""Summaries of fits and reference posteriors: the numbers, the names of the rows, and the certificate's doubt."""

import functools
import json

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

import vi_kl
from vi_kl.core.estimate import Estimate
from vi_kl.draws.summary import Summary
from vi_kl.families import ParticleApproximation, Particles
from vi_kl.reference import Moments, ReferencePosterior

Y = np.array([28.0, 8.0, -3.0, 7.0])
SIGMA = np.array([15.0, 10.0, 16.0, 11.0])
SCHOOLS = ["Choate", "Deerfield", "Phillips Andover", "Phillips Exeter"]


def schools(sigma, y):
    with numpyro.plate("schools", len(y)):
        theta = numpyro.sample("theta", dist.Normal(5, 10))
        numpyro.deterministic("doubled", 2 * theta)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)
    numpyro.sample("free", dist.Normal(0, 1).expand([2]).to_event(1))


VARIANCE = 1 / (1 / 100 + 1 / SIGMA**2)
MEAN = VARIANCE * (5 / 100 + Y / SIGMA**2)


@functools.cache
def fit():
    return vi_kl.fit(schools, "laplace", SIGMA, Y, key=0)


@functools.cache
def certificate():
    return vi_kl.check(fit(), vi_kl.find_reference, key=1)


def test_the_numbers_are_those_of_the_posterior():
    table = fit().summary(2, probabilities=(0.05, 0.5, 0.9)).to_dataframe()
    n = 16_384
    mean, sd = np.r_[MEAN, 2 * MEAN, 0, 0], np.sqrt(np.r_[VARIANCE, 4 * VARIANCE, 1, 1])
    rows = [f"{site}[{i}]" for site in ("theta", "doubled") for i in range(4)] + ["free[0]", "free[1]"]
    table = table.loc[rows]
    assert np.all(np.abs(table["mean"] - mean) < 4.5 * sd / np.sqrt(n))
    assert np.all(np.abs(table["sd"] / sd - 1) < 4.5 / np.sqrt(2 * n))
    np.testing.assert_allclose(table["standard error"], table["sd"] / np.sqrt(n))
    for p, name in ((0.05, "5%"), (0.5, "50%"), (0.9, "90%")):
        at = stats.norm.ppf(p)
        error = sd * np.sqrt(p * (1 - p) / n) / stats.norm.pdf(at)
        assert np.all(np.abs(table[name] - (mean + sd * at)) < 4.5 * error)


def summary_of(sizes, computed=()):
    names = [f"{site}[{i}]" if size > 1 else site for site, size in sizes.items() for i in range(size)]
    n = len(names)
    return Summary("q", tuple(names), np.arange(n), np.ones(n), (0.5,), np.zeros((n, 1)), np.ones(n), computed=computed)


@pytest.mark.parametrize("read", [str, lambda summary: summary._repr_html_()])
def test_long_sites_are_shown_by_a_line(read):
    text = read(summary_of({"a": 1, "mu": 2000, "b": 1}, computed=("mu",)))
    assert "mu[0] to mu[1999], 2,000 values with means from 1.0 to 2000 and sds from 1.0 to 1.0" in text
    assert "summary.to_dataframe() has all 2,002 rows." in text
    assert "mu[3]" not in text
    assert len(summary_of({"a": 1, "mu": 2000}).to_dataframe()) == 2001  # the numbers have all
    text = read(summary_of({"a": 1, "theta": 2000}))
    assert "theta[19]" in text
    assert "theta[20] to theta[1999], 1,980 values" in text
    assert "theta[21]" not in text


def test_many_sites_leave_each_other_room():
    rows, words = summary_of({f"w{i}": 500 for i in range(8)} | {"s": 1}).shown()
    assert len(rows) <= 60
    assert "s" in rows.index
    assert all(f"w{i}[0]" in rows.index for i in range(8))
    assert words.endswith("984 values of 2 other sites.")
    rows, words = summary_of({f"w{i}": 1 for i in range(1000)}).shown()
    assert (len(rows), words.count(";")) == (60, 6)
    assert summary_of({"w": 60}).shown()[1] == ""


def test_what_is_computed_is_known_by_name():
    assert fit().summary(0, 100).computed == ("doubled",)
    assert json.loads(json.dumps(fit().summary(0, 100).to_dict()))["computed"] == ["doubled"]


def test_rows_have_the_names_of_the_coordinates():
    names = fit().summary(0, 100, coords={"schools": SCHOOLS}).names
    assert {"theta[Choate]", "doubled[Phillips Andover]", "free[0]"} <= set(names)
    named = fit().summary(0, 100, dims={"free": ["direction"]}, coords={"direction": ["x", "y"]}).names
    assert {"free[x]", "theta[0]"} <= set(named)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"coords": {"schools": ["Choate"]}}, r"coords\['schools'\] must hold 4 names.*\(1,\)"),
        ({"coords": {"school": SCHOOLS}}, "coords has the name 'school', and the axes are .*schools"),
        ({"dims": {"tau": ["x"]}}, "dims has the name 'tau', and the sites are"),
        ({"dims": {"theta": ["x", "y"]}}, r"dims\['theta'\] has 2 names"),
        ({"probabilities": (0.5, 5)}, "between 0 and 1"),
    ],
)
def test_mistakes_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        fit().summary(0, 100, **options)


def test_the_doubt_stands_beside_the_numbers():
    found = fit().summary(0, certificate=certificate())
    table, errors = found.to_dataframe(), certificate().errors.sites["theta"]
    rows = [f"theta[{i}]" for i in range(4)]
    np.testing.assert_array_equal(table.loc[rows, "mean error [sd]"], errors.mean_error)
    np.testing.assert_array_equal(table.loc[rows, "sd ratio"], errors.sd_ratio)
    assert np.isnan(table.loc["doubled[0]", "sd ratio"])  # certificates judge latent sites
    for form in (str(found), found._repr_html_()):
        assert "theta[0]" in form
        assert certificate().label in form
        assert certificate().cannot_see.split(":")[0] in form
    assert repr(found) == f"<Summary: 10 rows of {found.source}>"
    assert json.loads(json.dumps(found.to_dict()))["names"][0] == found.names[0]


def test_a_certificate_of_something_else_is_refused():
    other = vi_kl.fit(fit().target, "mean_field", key=0)
    with pytest.raises(ValueError, match="The certificate is of laplace, and the draws are of mean_field"):
        other.summary(0, 100, certificate=certificate())
    with pytest.raises(TypeError, match="certificate must be a Certificate"):
        fit().summary(0, 100, certificate="good")


def test_digits_are_no_more_than_the_draws_determine():
    """With 100 draws of sd 8 a mean is known to about 0.8."""
    written = fit().summary(0, 100).written()
    assert len(written.loc["theta[0]", "mean"].partition(".")[2]) <= 1
    assert len(fit().summary(0).written().loc["theta[0]", "mean"].partition(".")[2]) == 2


def test_an_unconverged_fit_says_so():
    found = vi_kl.fit(fit().target, vi_kl.SVI(vi_kl.MeanField(), max_steps=3), key=0)
    assert not found.status.converged
    assert str(found.status) in str(found.summary(0, 100))


def test_particles_have_a_summary():
    """They are drawn from, though they have no density."""
    z = np.arange(12.0).reshape(2, 6)
    q = ParticleApproximation(Particles(), {"particles": z}, fit().target)
    table = q.summary(0, 4_000).to_dataframe()
    assert set(np.unique(q.sample(0, 100)["theta"][:, 0])) <= {2.0, 8.0}
    assert table.loc["theta[0]", "mean"] == pytest.approx(5.0, abs=4.5 * 3 / np.sqrt(4_000))


def test_the_error_of_a_mean_over_chains_follows_from_their_autocorrelation():
    """Of an autoregression with coefficient 1/2, n draws are worth n (1 - 1/2) / (1 + 1/2) independent ones."""
    noise = np.random.default_rng(1).normal(size=(4, 4_000, 6))
    chains = np.zeros_like(noise)
    for i in range(1, 4_000):
        chains[:, i] = 0.5 * chains[:, i - 1] + np.sqrt(0.75) * noise[:, i]
    nothing = Moments(np.zeros(4), np.ones(4))
    reference = ReferencePosterior(
        Estimate(0.0), {"theta": nothing, "free": nothing}, None, "reference run", chains=chains, target=fit().target
    )
    found = reference.summary(0)
    table = found.to_dataframe()
    np.testing.assert_allclose(table.loc["theta[1]", "mean"], chains[..., 3].mean())
    effective = (table["sd"] / table["standard error"]) ** 2
    assert np.all(np.abs(effective / (16_000 / 3) - 1) < 0.15)
    assert "16,000 draws of 4 chains" in str(found)
    assert "4,000 draws of 4 chains" in str(reference.summary(0, 4_000))


def test_a_reference_without_a_target_says_so():
    reference = ReferencePosterior(Estimate(0.0), {}, lambda key, n: np.zeros((n, 1)))
    with pytest.raises(ValueError, match=r"does not know its target.*target=target"):
        reference.summary(0)
