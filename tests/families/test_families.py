"""Families one by one: densities on paper, what does not fit a model, and what is refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import autoguide
from programs import exponential_rate, two_site_guide, two_sites
from scipy import stats

import vi_kl
from vi_kl.algorithms import SVI
from vi_kl.families import (
    Approximation,
    BlockNormal,
    Constrained,
    Coupling,
    Delta,
    Flow,
    Guide,
    GuideError,
    LowRank,
    Mixture,
    StudentT,
)
from vi_kl.families.gaussian import full_rank_params, scale_tril
from vi_kl.families.guide import guide_family
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")

DATA = np.array([0.4, 1.3, 0.9])
TARGET = Target.from_numpyro(two_sites, DATA)


@pytest.mark.exhaustive
def test_degrees_of_freedom_have_unbiased_gradients():
    """E[z^2] = s^2 df / (df - 2), so that its derivative in log(df - 2) is -2 s^2 / (df - 2)."""
    family, target = StudentT(), Target.from_log_density(jnp.sum, 1)
    with jax.enable_x64(True):
        params = family.standard(None, target)

        def second_moment(log_df, key):
            z, _ = family.sample_and_log_prob({**params, "log_df": log_df}, target, key, 500)
            return jnp.mean(z**2)

        keys = jax.random.split(jax.random.key(4), 80)
        slopes = np.asarray(jax.jit(jax.vmap(jax.grad(second_moment), in_axes=(None, 0)))(params["log_df"], keys))
    expected = -2 * (10 / 12) / 10
    assert abs(slopes.mean() - expected) < 4 * slopes.std(ddof=1) / np.sqrt(len(slopes))
    assert slopes.std(ddof=1) / np.sqrt(len(slopes)) < 0.1 * abs(expected)


@pytest.mark.exhaustive
def test_the_block_autoregressive_guide_fits_though_it_has_no_inverse():
    fit = vi_kl.fit(TARGET, SVI(guide_family(autoguide.AutoBNAFNormal, TARGET), max_steps=400), key=jax.random.key(0))
    q = fit.approximation
    z, log_q = q.sample_and_log_prob(jax.random.key(1), 4096)
    inner = stats.multivariate_normal(z.mean(axis=0), 0.25 * np.cov(z, rowvar=False))
    ratio = np.exp(inner.logpdf(z) - log_q)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio))
    assert np.mean(fit.history.loss[-100:]) < np.mean(fit.history.loss[:100])


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


@pytest.mark.parametrize(
    ("family", "words"),
    [
        (Flow(), "use MeanField"),
        (LowRank(), "use MeanField"),
        (Coupling(), "use Skewed"),
        (BlockNormal((("rate", "missing"),)), r"sites \['missing'\]; the target has \['rate'\]"),
        (Constrained({"missing": dist.Beta}), r"sites \['missing'\]"),
        (Constrained({"rate": dist.Beta}), "'rate' cannot be Beta"),
    ],
)
def test_what_does_not_fit_a_target_of_one_dimension_is_refused(family, words):
    with pytest.raises(ValueError, match=words):
        family.require(Target.from_numpyro(exponential_rate, DATA))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LowRank(0), "rank must be at least 1"),
        (lambda: LowRank(2).require(TARGET), "below the target's 2 dimensions"),
        (lambda: BlockNormal(("rate", "share")), "groups of site names"),
        (lambda: BlockNormal((("rate",), ("rate", "share"))), r"\['rate'\] are in more than one"),
        (lambda: BlockNormal().units(None), "units\\(frame, target\\)"),
        (lambda: Mixture(0), "num_components"),
        (lambda: Mixture(2, "low"), "covariance"),
        (lambda: SVI(Delta()).fit(jax.random.key(0), TARGET), "A point has no density"),
        (lambda: Coupling("bezier"), "bend must be one of affine"),
        (lambda: Constrained({"rate": dist.Weibull}), "'rate': choose one of Beta"),
        (lambda: Constrained().require(Target.from_log_density(jnp.sum, 2)), "a log density over z, does not offer"),
    ],
)
def test_nonsense_is_refused_by_name(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_point_has_no_finite_density():
    point = Approximation(Delta(), {"loc": np.array([0.2, -0.3])}, TARGET)
    z, log_q = point.sample_and_log_prob(jax.random.key(0), 5)
    np.testing.assert_array_equal(z, np.tile([0.2, -0.3], (5, 1)))
    assert (log_q == np.inf).all()
    np.testing.assert_array_equal(point.log_prob(np.array([[0.2, -0.3], [0.2, 0.0]])), [np.inf, -np.inf])
    np.testing.assert_allclose(point.sample(jax.random.key(0), 2)["rate"], np.exp(0.2), rtol=1e-12)
