"""Families on the model's own sites: exact for conjugate models, and placed by mode and curvature."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from programs import every_support
from scipy import stats
from scipy.special import digamma, gammaln

from vi_kl.algorithms import SVI
from vi_kl.algorithms.algorithm import counting_costs
from vi_kl.algorithms.initialization import initialize
from vi_kl.families import Approximation, Constrained
from vi_kl.objectives import ELBO
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")

EVENTS, COUNTS, DRAWS = np.array([2, 0, 3, 1]), np.array([4, 1, 9]), np.array([7])


def conjugate(events, counts, hits):
    """A gamma, a Dirichlet and a beta posterior, independent of each other."""
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    numpyro.sample("events", dist.Poisson(rate), obs=events)
    shares = numpyro.sample("shares", dist.Dirichlet(jnp.array([1.0, 2.0, 0.5])))
    numpyro.sample("counts", dist.Multinomial(14, shares), obs=counts)
    p = numpyro.sample("p", dist.Beta(1.5, 1.0))
    numpyro.sample("hits", dist.Binomial(10, p), obs=hits)


TARGET = Target.from_numpyro(conjugate, EVENTS, COUNTS, DRAWS)
POSTERIOR = {
    "rate": (2.0 + EVENTS.sum(), 1.0 + len(EVENTS)),
    "shares": np.array([1.0, 2.0, 0.5]) + COUNTS,
    "p": (1.5 + 7, 1.0 + 3),
}


def gamma_kl(a, b, c, d):
    return (a - c) * digamma(a) - gammaln(a) + gammaln(c) + c * (np.log(b) - np.log(d)) + a * (d - b) / b


def dirichlet_kl(a, c):
    a, c = np.asarray(a), np.asarray(c)
    normalisers = gammaln(a.sum()) - gammaln(a).sum() - gammaln(c.sum()) + gammaln(c).sum()
    return normalisers + (a - c) @ (digamma(a) - digamma(a.sum()))


def kls(approximation):
    with jax.enable_x64(True):
        sites = approximation.distribution.site_distributions()
        rate, p, shares = sites["rate"], sites["p"], np.asarray(sites["shares"].concentration)
        rate, p = (float(rate.concentration), float(rate.rate)), (float(p.concentration1), float(p.concentration0))
    return {
        "rate": gamma_kl(*rate, *POSTERIOR["rate"]),
        "shares": dirichlet_kl(shares, POSTERIOR["shares"]),
        "p": dirichlet_kl(p, POSTERIOR["p"]),
    }


@pytest.mark.exhaustive
def test_the_frame_at_the_mode_is_the_conjugate_posterior_already():
    """The mode and the curvature of a gamma, beta or Dirichlet in z tell its parameters exactly."""
    family = Constrained()
    with jax.enable_x64(True), counting_costs() as counter:
        frame = initialize(TARGET, jax.random.key(0), counter).frame
        params = family.place(family.standard(None, TARGET), family.units(frame, TARGET))
    found = kls(Approximation(family, params, TARGET))
    assert max(found.values()) < 1e-6, found
    assert min(found.values()) > -1e-12


@pytest.mark.exhaustive
def test_a_wrong_member_is_pulled_to_the_conjugate_posterior():
    """From a member far off, so that it is the gradients through gamma, beta and Dirichlet draws that lead home."""
    with jax.enable_x64(True):
        params = Constrained().init(jax.random.key(3), TARGET)
    wrong = Approximation(Constrained(), {**params, "log_scale": params["log_scale"] + 1.0}, TARGET)
    fit = SVI(Constrained(), ELBO(8)).fit(jax.random.key(1), TARGET, start=wrong)
    before, after = kls(wrong), kls(fit.approximation)
    assert min(before.values()) > 0.1, before
    assert max(after.values()) < 1e-4, after


@pytest.mark.exhaustive
def test_every_support_has_a_distribution_and_moving_bounds_are_refused():
    target = Target.from_numpyro(every_support, np.array(0.7))
    with pytest.raises(ValueError, match="'below' depends on other sites"):
        Constrained().require(target)


def supports(y):
    numpyro.sample("between", dist.Uniform(2.0, 5.0))
    numpyro.sample("above", dist.Pareto(1.0, 3.0))
    numpyro.sample("ordered", dist.TransformedDistribution(
        dist.Normal(0, 1).expand([3]).to_event(1), dist.transforms.OrderedTransform()
    ))  # fmt: skip
    numpyro.sample("scale", dist.HalfNormal(1.0).expand([2]))
    x = numpyro.sample("x", dist.Normal(0, 1).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(x[0], 1), obs=y)


@pytest.mark.exhaustive
def test_each_support_gets_its_distribution_and_draws_stay_in_it():
    target = Target.from_numpyro(supports, np.array(0.7))
    family = Constrained({"scale": dist.LogNormal})
    with jax.enable_x64(True):
        params = family.standard(jax.random.key(0), target)
        params = {**params, "log_scale": params["log_scale"] - 0.5}
    q = Approximation(family, params, target)
    z, log_q = q.sample_and_log_prob(jax.random.key(1), 8192)
    sites = target.constrain(z)
    assert ((sites["between"] > 2) & (sites["between"] < 5)).all()
    assert (sites["above"] > 1).all()
    assert (np.diff(sites["ordered"]) > 0).all()
    sd = np.exp(-0.5)
    size = sd**-2 / 0.25
    checks = {
        "between": stats.beta(size / 2, size / 2, 2, 3).cdf(sites["between"]),
        "above": stats.gamma(sd**-2, 1.0, 1 / sd**-2).cdf(sites["above"]),
        "scale": stats.lognorm(sd).cdf(sites["scale"][:, 1]),
        "x": stats.norm(0, sd).cdf(sites["x"][:, 0]),
        "ordered": stats.norm(0, sd).cdf(sites["ordered"][:, 0]),
    }
    for name, values in checks.items():
        assert stats.kstest(values, "uniform").pvalue > 1e-3, name
    # a normalised h inside q: E_q[h/q] = 1 fails where a Jacobian is missing
    inner = stats.multivariate_normal(z.mean(axis=0), 0.3 * np.cov(z, rowvar=False))
    ratio = np.exp(inner.logpdf(z) - log_q)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio))
