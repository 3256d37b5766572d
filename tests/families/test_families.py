"""Every family: draws and log density belong together, the density is normalised, gradients are right."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import autoguide
from programs import exponential_rate
from scipy import stats

from vi_kl.families import Approximation, Flow, FullRank, Guide, GuideError, MeanField
from vi_kl.families.gaussian import full_rank_params, scale_tril
from vi_kl.families.guide import guide_family
from vi_kl.target import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")

DATA = np.array([0.4, 1.3, 0.9])


def two_sites(y):
    rate = numpyro.sample("rate", dist.Gamma(3.0, 2.0))
    share = numpyro.sample("share", dist.Beta(2.0, 2.0))
    numpyro.sample("y", dist.Exponential(rate * share), obs=y)


def two_site_guide(y):
    a = numpyro.param("a", 3.0, constraint=dist.constraints.positive)
    rate = numpyro.sample("rate", dist.Gamma(a, 2.0))
    numpyro.sample("share", dist.Beta(1.0 + rate, 2.0))  # depends on the other site


TARGET = Target.from_numpyro(two_sites, DATA)
FAMILIES = {
    "mean_field": MeanField(),
    "full_rank": FullRank(),
    "flow": Flow(),
    "guide": Guide(two_site_guide),
    "AutoNormal": guide_family(autoguide.AutoNormal, TARGET),
    "AutoDiagonalNormal": guide_family(autoguide.AutoDiagonalNormal, TARGET),
    "AutoMultivariateNormal": guide_family(autoguide.AutoMultivariateNormal, TARGET),
    "AutoLowRankMultivariateNormal": guide_family(autoguide.AutoLowRankMultivariateNormal, TARGET),
    "AutoIAFNormal": guide_family(autoguide.AutoIAFNormal, TARGET),
}
# NumPyro's other guides over a flat vector take the same way as AutoMultivariateNormal
EXHAUSTIVE = ("AutoDiagonalNormal", "AutoLowRankMultivariateNormal", "AutoIAFNormal")
NAMES = [pytest.param(n, marks=pytest.mark.exhaustive if n in EXHAUSTIVE else []) for n in sorted(FAMILIES)]


def member(name, spread=0.7):
    """A member that is not the starting one: all its parameters moved, deterministically."""
    family = FAMILIES[name]
    with jax.enable_x64(True):
        params = family.init(jax.random.key(1), TARGET)
        rng = np.random.default_rng(5)
        params = jax.tree.map(lambda x: jnp.asarray(x + spread * 0.3 * rng.normal(size=jnp.shape(x))), params)
    return Approximation(family, params, TARGET)


@pytest.mark.parametrize("name", NAMES)
def test_log_prob_at_own_draws_is_what_came_with_them(name):
    q = member(name)
    z, log_q = q.sample_and_log_prob(jax.random.key(2), 50)
    assert z.shape == (50, 2)
    np.testing.assert_allclose(q.log_prob(z), log_q, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_density_is_normalised_over_z(name):
    """E_q[h/q] = 1 for a normalised h that is inside q: fails without the Jacobian, or with its sign turned."""
    q = member(name)
    z, log_q = q.sample_and_log_prob(jax.random.key(3), 20_000)
    inner = stats.multivariate_normal(z.mean(axis=0), 0.25 * np.cov(z, rowvar=False))
    ratio = np.exp(inner.logpdf(z) - log_q)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio))
    assert ratio.std() / np.sqrt(len(ratio)) < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_same_key_same_draws_and_the_sites_are_constrained(name):
    q = member(name)
    sites = q.sample(jax.random.key(4), 7)
    again = q.sample(jax.random.key(4), 7)
    assert set(sites) == {"rate", "share"}
    assert (sites["rate"] > 0).all()
    assert ((sites["share"] > 0) & (sites["share"] < 1)).all()
    np.testing.assert_array_equal(sites["rate"], again["rate"])


def test_guide_density_is_the_one_on_paper():
    """q(z) = Gamma(rate) Beta(share) |d rate / dz| |d share / dz|."""
    with jax.enable_x64(True):
        params = {"a": jnp.log(3.0)}
    q = Approximation(Guide(two_site_guide), params, TARGET)
    rate, share = 1.7, 0.3
    z = TARGET.unconstrain({"rate": np.array(rate), "share": np.array(share)})
    expected = stats.gamma.logpdf(rate, 3.0, scale=1 / 2) + stats.beta.logpdf(share, 1 + rate, 2.0)
    expected += np.log(rate) + np.log(share * (1 - share))
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-9)


def test_guides_draw_what_they_say_also_by_numpy():
    """A guide with independent sites is drawn by NumPy; the distribution must be the guide's own."""

    def beta_guide(y):
        numpyro.sample("rate", dist.Gamma(5.0, 2.0))
        numpyro.sample("share", dist.Beta(3.0, 1.5))

    sites = Approximation(Guide(beta_guide), {}, TARGET).sample(jax.random.key(0), 20_000)
    assert stats.kstest(sites["rate"], stats.gamma(5, scale=0.5).cdf).pvalue > 1e-3
    assert stats.kstest(sites["share"], stats.beta(3, 1.5).cdf).pvalue > 1e-3


def test_dependent_sites_are_not_taken_for_independent():
    guide = Approximation(Guide(two_site_guide), {"a": np.array(1.0)}, TARGET).distribution
    assert guide.site_distributions() is None


def test_full_rank_parameters_round_trip():
    rng = np.random.default_rng(0)
    tril = np.linalg.cholesky(np.cov(rng.normal(size=(4, 30)) * np.array([[1e-3], [1.0], [50.0], [2.0]])))
    with jax.enable_x64(True):
        np.testing.assert_allclose(scale_tril(full_rank_params(np.zeros(4), tril)), tril, rtol=1e-12)


def missing(y):
    numpyro.sample("rate", dist.Gamma(2.0, 1.0))


def extra(y):
    numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    numpyro.sample("share", dist.Beta(2.0, 1.0))
    numpyro.sample("noise", dist.Normal(0, 1))


def wrong_shape(y):
    numpyro.sample("rate", dist.Gamma(2.0, 1.0).expand([3]))
    numpyro.sample("share", dist.Beta(2.0, 1.0))


def observing(y):
    numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    numpyro.sample("share", dist.Beta(2.0, 1.0), obs=jnp.array(0.5))


def other_arguments(y, z):
    numpyro.sample("rate", dist.Gamma(2.0, 1.0))


@pytest.mark.parametrize(
    ("guide", "words"),
    [
        (missing, r"missing.*does not draw \['share'\]"),
        (extra, r"draws \['noise'\], which the model does not have"),
        (wrong_shape, r"'rate' with shape \(3,\)"),
        (observing, r"observes \['share'\]"),
        (other_arguments, "the model's own arguments"),
    ],
)
def test_guides_that_do_not_match_are_refused_by_name(guide, words):
    with pytest.raises(GuideError, match=words):
        Guide(guide).init(jax.random.key(0), TARGET)


@pytest.mark.parametrize("kind", [autoguide.AutoDelta, autoguide.AutoLaplaceApproximation, autoguide.AutoDAIS])
def test_point_guides_are_refused_with_the_way_out(kind):
    with pytest.raises(GuideError, match="use '"):
        guide_family(kind, TARGET)


def test_a_flow_needs_two_dimensions():
    with pytest.raises(ValueError, match="MeanField"):
        Flow().require(Target.from_numpyro(exponential_rate, DATA))
