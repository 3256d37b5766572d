"""Missing rows, masks over latent sites, and sites that nothing depends on: against closed forms and brute force."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.handlers import mask
from scipy import stats

from vi_kl.targets import Target
from vi_kl.targets.numpyro.model import ModelError

pytestmark = pytest.mark.usefixtures("compiled_quickly")
X = np.array([-1.0, 0.2, 0.7, 1.5, 2.0])
Y = np.array([-0.8, 1.1, 2.6, 4.2, 4.9])
SEEN = np.array([True, False, True, True, False])


def regression(x, y, seen):
    slope = numpyro.sample("slope", dist.Normal(0, 3))
    with numpyro.plate("rows", len(x)):
        numpyro.sample("y", dist.Normal(slope * x, 0.5), obs=y, obs_mask=seen)


def test_only_missing_rows_are_latent():
    """slope and the missing rows are jointly normal given the seen ones, with the predictive distribution."""
    target = Target.from_numpyro(regression, X, np.where(SEEN, Y, np.nan), SEEN)
    assert {site.name: site.shape for site in target.sites} == {"slope": (), "y_unobserved": (2,)}
    precision = 1 / 9 + np.sum(X[SEEN] ** 2) / 0.25
    mean, missing = np.sum(X[SEEN] * Y[SEEN]) / 0.25 / precision, X[~SEEN]
    whole = np.concatenate([[1.0], missing])
    posterior = stats.multivariate_normal(
        mean * whole, np.outer(whole, whole) / precision + np.diag([0, 0.25, 0.25]), allow_singular=True
    )
    evidence = stats.multivariate_normal(np.zeros(3), 9 * np.outer(X[SEEN], X[SEEN]) + 0.25 * np.eye(3)).logpdf(Y[SEEN])
    z = np.random.default_rng(0).normal([2, 0, 3], size=(4, 3))
    np.testing.assert_allclose(target.log_density(z), posterior.logpdf(z) + evidence, rtol=1e-9)
    np.testing.assert_allclose(target.unconstrain(target.constrain(z)), z, rtol=1e-12)


@pytest.mark.parametrize(
    ("seen", "sites"), [(np.ones(5, bool), {"slope"}), (np.zeros(5, bool), {"slope", "y_unobserved"})]
)
def test_all_rows_or_none_are_seen(seen, sites):
    target = Target.from_numpyro(regression, X, Y, seen)
    assert set(target.site_names) == sites
    assert target.dim == 1 + np.sum(~seen)


def positive_rows(y, seen):
    """Vectors, positive ones and ones whose support differs between rows, of which some are missing."""
    width = numpyro.sample("width", dist.LogNormal(0, 1))
    with numpyro.plate("rows", 3):
        numpyro.sample("pair", dist.Exponential(width).expand([3, 2]).to_event(1), obs=y, obs_mask=seen)
        numpyro.sample("u", dist.Uniform(jnp.arange(3.0), jnp.arange(3.0) + width), obs=y[:, 0], obs_mask=seen)


def test_missing_vectors_and_rows_with_their_own_support():
    y = np.array([[0.5, 1.0], [1.4, 0.3], [2.1, 2.0]])
    target = Target.from_numpyro(positive_rows, y, np.array([True, False, True]))
    assert {site.name: site.shape for site in target.sites} == {
        "pair_unobserved": (1, 2), "u_unobserved": (1,), "width": (),
    }  # fmt: skip
    z = np.array([0.3, -0.5, 0.4, 1.2])
    sites = target.constrain(z)
    width, pair, u = sites["width"], sites["pair_unobserved"][0], sites["u_unobserved"][0]
    assert 1 < u < 1 + width
    expected = stats.norm.logpdf(z[3]) + stats.expon.logpdf(np.stack([y[0], pair, y[2]]), scale=1 / width).sum()
    expected += z[:2].sum() - 3 * np.log(width) + np.log((u - 1) * (1 + width - u) / width)
    np.testing.assert_allclose(target.log_density(z), expected, rtol=1e-12)


def missing_counts(y, seen):
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Poisson(rate), obs=y, obs_mask=seen)
        numpyro.sample("next", dist.Poisson(rate))


def test_missing_counts_and_predictions_sum_to_one():
    counts, seen = np.array([3, 0, 2, 5]), np.array([True, True, False, True])
    target = Target.from_numpyro(missing_counts, counts, seen)
    assert target.site_names == ("rate",)
    z = np.array([0.4])
    expected = stats.gamma.logpdf(np.exp(0.4), 2) + 0.4 + stats.poisson.logpmf(counts[seen], np.exp(0.4)).sum()
    np.testing.assert_allclose(target.log_density(z), expected, rtol=1e-12)


def count_that_matters(y):
    count = numpyro.sample("count", dist.Poisson(3.0))
    loc = numpyro.sample("loc", dist.Normal(count, 1))
    numpyro.sample("y", dist.Normal(loc, 1), obs=y)


def test_an_unbounded_count_on_which_something_depends_is_refused():
    with pytest.raises(ModelError, match=r"'count' is discrete .* cannot be listed"):
        Target.from_numpyro(count_that_matters, 1.0)


def mask_from_a_latent(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(loc, 1).expand([3]), obs=y, obs_mask=loc > jnp.zeros(3))


def mask_from_a_discrete_latent(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    on = numpyro.sample("on", dist.Bernoulli(0.3))
    with mask(mask=on == 1):
        shift = numpyro.sample("shift", dist.Bernoulli(0.5))
    numpyro.sample("y", dist.Normal(loc + shift, 1), obs=y)


@pytest.mark.parametrize(("model", "site"), [(mask_from_a_latent, "y_"), (mask_from_a_discrete_latent, "shift")])
def test_a_mask_that_depends_on_a_latent_site_is_refused(model, site):
    with pytest.raises(ModelError, match=f"mask of latent site '{site}.* depends on a latent site"):
        Target.from_numpyro(model, np.zeros(3))


def padded_paths(y, real):
    """Latent walks of different lengths, in one array."""
    scale = numpyro.sample("scale", dist.LogNormal(0, 1))
    with mask(mask=real):
        x = numpyro.sample("x", dist.Normal(0, scale).expand(y.shape))
        numpyro.sample("y", dist.Normal(x, 1), obs=y)


def test_masked_latent_entries_that_nothing_depends_on_are_left_out():
    y, real = np.array([[0.3, 1.0, 0.0], [2.0, 0.0, 0.0]]), np.array([[True, True, False], [True, False, False]])
    target = Target.from_numpyro(padded_paths, y, real)
    assert target.dim == 4
    z = np.array([0.2, 0.5, -0.3, 1.1])
    expected = stats.norm.logpdf(z[0]) + stats.norm.logpdf(z[1:], 0, np.exp(0.2)).sum()
    np.testing.assert_allclose(target.log_density(z), expected + stats.norm.logpdf(y[real], z[1:]).sum(), rtol=1e-12)


def flat_prior(y):
    with mask(mask=False):
        loc = numpyro.sample("loc", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(loc, 1), obs=y)


def test_a_mask_that_makes_a_prior_flat_leaves_the_site():
    target = Target.from_numpyro(flat_prior, Y)
    np.testing.assert_allclose(target.log_density(np.array([0.7])), stats.norm.logpdf(Y, 0.7).sum(), rtol=1e-12)


def flat_and_unused(y):
    loc = numpyro.sample("loc", dist.Normal(0, 1))
    numpyro.sample("nothing", dist.ImproperUniform(dist.constraints.positive, (), ()))
    numpyro.sample("y", dist.Normal(loc, 1), obs=y)


def test_an_improper_prior_that_nothing_depends_on_is_refused():
    with pytest.raises(ModelError, match=r"'nothing' has an improper prior .* nothing else"):
        Target.from_numpyro(flat_and_unused, Y)


def test_a_flat_prior_on_a_bounded_support_is_proper():
    def model():
        numpyro.sample("weights", dist.ImproperUniform(dist.constraints.simplex, (), (3,)))

    assert Target.from_numpyro(model).dim == 2


def padded_in_a_scan(y, length):
    def step(carry, y):
        x, t = carry
        with numpyro.plate("sequences", len(length)), mask(mask=t < length):
            x = numpyro.sample("x", dist.Normal(x, 1))
            numpyro.sample("y", dist.Normal(x, 1), obs=y)
        return (x, t + 1), None

    scan(step, (jnp.zeros(len(length)), 0), y.T)


def test_flat_entries_within_a_scan_are_refused_with_the_mend():
    with pytest.raises(ModelError, match=r"'x' stands in a scan .* 2 of its masked entries.*Mask the observations"):
        Target.from_numpyro(padded_in_a_scan, np.zeros((2, 3)), np.array([3, 1]))
