"""Entropies by each method against SciPy's, and against each other where nobody has them."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats

from vi_kl.divergences import NoClosedForm, entropy, estimate_entropy

KEY = jax.random.key(0)


def mixture():
    return dist.MixtureSameFamily(dist.Categorical(jnp.array([0.25, 0.75])), dist.Normal(jnp.array([-2.0, 1.0]), 0.5))


def mixture_truth():
    pdf = lambda x: 0.25 * stats.norm.pdf(x, -2, 0.5) + 0.75 * stats.norm.pdf(x, 1, 0.5)  # noqa: E731
    return integrate.quad(lambda x: -pdf(x) * np.log(pdf(x)), -8, 8, epsabs=1e-12, limit=200)[0]


def test_the_method_is_the_first_that_applies():
    closed = estimate_entropy(dist.Gamma(2.0, 3.0))
    assert (closed.method, closed.standard_error) == ("closed form", 0.0)
    assert closed.value == pytest.approx(stats.gamma(2, scale=1 / 3).entropy(), rel=1e-12)
    quadrature = estimate_entropy(mixture())
    assert quadrature.method.startswith("quadrature")
    assert quadrature.value == pytest.approx(mixture_truth(), abs=1e-8)
    pmf = estimate_entropy([0.5, 0.25, 0.25], base=2)
    assert (pmf.unit, pmf.method) == ("bits", "exact sum over 3 values")
    assert pmf.value == pytest.approx(1.5, rel=1e-15)


@pytest.mark.divergences
def test_a_bounded_support_keeps_its_own_scale():
    """A density on (0, 1) is integrated over the logit line, where its entropy is another."""
    p = dist.Beta(2.0, 3.0)
    assert estimate_entropy(p, method="quadrature").value == pytest.approx(stats.beta(2, 3).entropy(), abs=1e-8)
    assert estimate_entropy(p, method="monte_carlo", key=KEY, num_draws=20_000).value == pytest.approx(
        stats.beta(2, 3).entropy(), abs=0.02
    )


@pytest.mark.divergences
@pytest.mark.parametrize("method", ["quasi_monte_carlo", "monte_carlo"])
def test_estimates_lie_within_their_errors(method):
    p = dist.Normal(jnp.zeros(2), jnp.array([1.0, 3.0])).to_event(1)
    estimate = estimate_entropy(p, method=method, key=KEY, num_draws=20_000)
    assert 0 < estimate.standard_error < 0.02
    assert abs(estimate.value - float(entropy(p))) < 4 * estimate.standard_error


def test_a_finite_support_is_summed():
    p = dist.Binomial(5, 0.3)
    assert estimate_entropy(p, method="enumeration").value == pytest.approx(stats.binom(5, 0.3).entropy(), rel=1e-12)


@pytest.mark.divergences
def test_a_vector_without_a_form():
    p = dist.MixtureSameFamily(
        dist.Categorical(jnp.array([0.5, 0.5])),
        dist.MultivariateNormal(jnp.array([[-20.0, 0.0], [20.0, 0.0]]), jnp.eye(2)),
    )
    estimate = estimate_entropy(p, key=KEY, num_draws=20_000)
    truth = np.log(2) + np.log(2 * np.pi * np.e)  # modes that do not overlap
    assert abs(estimate.value - truth) < 4 * estimate.standard_error


def test_what_cannot_be_estimated_is_said():
    with pytest.raises(ValueError, match=r"pass key=jax\.random\.key"):
        estimate_entropy(dist.Normal(0.0, 1.0), method="monte_carlo")
    with pytest.raises(ValueError, match="method must be"):
        estimate_entropy(dist.Normal(0.0, 1.0), method="guess")
    with pytest.raises(ValueError, match="one p at a time"):
        estimate_entropy(dist.Normal(jnp.zeros(2), 1.0))
    with pytest.raises(ValueError, match="one p at a time"):
        estimate_entropy(jnp.full((2, 2), 0.5))
    with pytest.raises(ValueError, match="pmf arrays are summed"):
        estimate_entropy([0.5, 0.5], method="monte_carlo")
    with pytest.raises(NoClosedForm):
        estimate_entropy(mixture(), method="closed_form")
