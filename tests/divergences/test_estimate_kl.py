"""estimate_kl: each method against a known answer, the choice between them, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from vi_kl.divergences import NoClosedForm, estimate_kl, kl_divergence
from vi_kl.divergences.estimation import METHODS
from vi_kl.divergences.estimators.numerical import NotApplicable, NotConverged

GAMMAS = dist.Gamma(2.0, 3.0), dist.Gamma(2.5, 3.0)
NORMALS = dist.Normal(0.0, 1.0), dist.Normal(1.0, 2.0)
NORMALS_KL = np.log(2) + 2 / 8 - 0.5


class Unknown(dist.Distribution):
    """A distribution under the name of a class that no closed form knows."""

    pytree_data_fields = ("inner",)

    def __init__(self, inner):
        self.inner = inner
        super().__init__(inner.batch_shape, inner.event_shape)

    @property
    def support(self):
        return self.inner.support

    @property
    def has_enumerate_support(self):
        return self.inner.has_enumerate_support

    def sample(self, key, sample_shape=()):
        return self.inner.sample(key, sample_shape)

    def log_prob(self, value):
        return self.inner.log_prob(value)

    def enumerate_support(self, expand=True):
        return self.inner.enumerate_support(expand)


COUNTS = Unknown(dist.Poisson(3.0)), dist.Poisson(4.0)


def test_a_closed_form_comes_first_and_is_exact():
    estimate = estimate_kl(*NORMALS)
    assert estimate.value == pytest.approx(NORMALS_KL, rel=1e-14)
    assert (estimate.standard_error, estimate.method, estimate.unit) == (0.0, "closed form", "nats")


def test_bits():
    estimate = estimate_kl(*NORMALS, base=2)
    assert estimate.unit == "bits"
    assert estimate.value == pytest.approx(NORMALS_KL / np.log(2), rel=1e-14)


def test_pmf_arrays_are_summed_exactly():
    estimate = estimate_kl([0.5, 0.5], [0.25, 0.75])
    assert estimate.value == pytest.approx(np.log(4 / 3) / 2, rel=1e-14)
    assert estimate.method == "exact sum over 2 values"


@pytest.mark.divergences
def test_a_finite_support_is_enumerated():
    pmf = jnp.array([0.1, 0.2, 0.3, 0.4])
    p, q = dist.Categorical(pmf), dist.Binomial(3, 0.4)
    estimate = estimate_kl(p, q, method="enumeration")
    expected = kl_divergence(np.float64(pmf), [0.216, 0.432, 0.288, 0.064], normalize=True)
    assert estimate.value == pytest.approx(float(expected), rel=1e-6)
    assert estimate.method == "exact sum over 4 values"


@pytest.mark.parametrize(
    ("p", "q"), [(dist.Binomial(5, 0.3), dist.Binomial(7, 0.2)), (dist.Bernoulli(0.3), dist.Bernoulli(0.4))]
)
def test_enumeration_agrees_with_the_closed_form(p, q):
    """Where q has probability outside p's support too."""
    exact = estimate_kl(p, q, method="closed_form").value
    assert estimate_kl(p, q, method="enumeration").value == pytest.approx(exact, rel=1e-10)


def test_enumeration_is_infinite_where_q_has_no_probability():
    p, q = dist.Binomial(5, 0.3), dist.Categorical(jnp.ones(5) / 5)
    assert estimate_kl(p, q, method="enumeration").value == np.inf


@pytest.mark.divergences
def test_a_pmf_that_numpyro_computes_inaccurately_is_charged_for_it():
    """NumPyro's BetaBinomial sums to 1 + 5e-7; the estimate says so in its error."""
    estimate = estimate_kl(dist.BetaBinomial(2.0, 3.0, 10), dist.Binomial(10, 0.4), method="enumeration")
    total = np.exp(dist.BetaBinomial(2.0, 3.0, 10).log_prob(np.arange(11))).sum()
    assert 0 <= estimate.standard_error < 1e-5
    assert total == pytest.approx(1, abs=1e-4)
    assert estimate.value == pytest.approx(0.355542, abs=3e-6)


@pytest.mark.parametrize(
    ("p", "q"),
    [
        NORMALS,
        (dist.Normal(1e6, 1e-3), dist.Normal(1e6, 2e-3)),
        GAMMAS,
        (dist.Gamma(0.1, 3.0), dist.Gamma(0.2, 3.0)),
        (dist.Beta(2.0, 300.0), dist.Beta(1.0, 200.0)),
    ],
)
def test_quadrature_agrees_with_the_closed_form_within_its_error(p, q):
    exact = estimate_kl(p, q, method="closed_form").value
    estimate = estimate_kl(p, q, method="quadrature")
    assert "quadrature" in estimate.method
    assert abs(estimate.value - exact) <= 10 * estimate.standard_error + 1e-10 * exact
    assert estimate.standard_error < 1e-6 * (1 + exact)


def test_quadrature_where_there_is_no_closed_form():
    """KL between two Cauchys of one scale is log(1 + d^2/4); NumPyro has heavy tails right."""
    estimate = estimate_kl(Unknown(dist.Cauchy(0.0, 1.0)), dist.Cauchy(2.0, 1.0))
    assert "quadrature" in estimate.method
    assert abs(estimate.value - np.log(2)) <= 3 * estimate.standard_error + 1e-12


def test_quadrature_sees_narrow_and_distant_modes():
    """Two modes 1,000 apart, one of width 1e-3: the divergence of separate parts is known."""
    locs, scales = np.array([-1000.0, 5.0]), np.array([1e-3, 1.0])
    mixture = dist.MixtureSameFamily(dist.Categorical(np.array([0.5, 0.5])), dist.Normal(locs, scales))
    q = dist.Normal(0.0, 500.0)
    entropy = np.log(2) + np.mean(np.log(scales * np.sqrt(2 * np.pi * np.e)))
    cross_entropy = np.log(500 * np.sqrt(2 * np.pi)) + np.mean(locs**2 + scales**2) / (2 * 500**2)
    estimate = estimate_kl(mixture, q, method="quadrature")
    assert "quadrature" in estimate.method
    assert estimate.value == pytest.approx(cross_entropy - entropy, rel=1e-9)


def test_quadrature_finds_what_q_does_not_cover():
    short, long = dist.Uniform(0.0, 1.0), dist.Uniform(0.0, 2.0)
    assert estimate_kl(long, short, method="quadrature").value == np.inf
    assert estimate_kl(short, long, method="quadrature").value == pytest.approx(np.log(2), rel=1e-12)


def test_an_infinite_divergence_does_not_pass_for_a_number(key):
    """E of x^2 under a Cauchy: quadrature must say that it did not settle, and so must the fallback."""
    p, q = Unknown(dist.Cauchy(0.0, 1.0)), dist.Normal(0.0, 1.0)
    with pytest.raises(NotConverged, match="did not converge"):
        estimate_kl(p, q, method="quadrature")
    assert "quadrature did not converge" in estimate_kl(p, q, key=key, num_draws=1000).method


def test_float32_parameters_are_used_at_their_exact_values():
    estimate = estimate_kl(dist.Normal(jnp.float32(0.1), 1.0), dist.Normal(jnp.float32(0.3), 1.0))
    difference = float(np.float32(0.3)) - float(np.float32(0.1))
    assert estimate.value == pytest.approx(difference**2 / 2, rel=1e-14)


def test_what_cannot_be_estimated():
    with pytest.raises(ValueError, match=r"from random draws: pass key=jax.random.key\(0\)"):
        estimate_kl(*COUNTS)
    with pytest.raises(ValueError, match="method must be 'auto' or one of 'closed_form'"):
        estimate_kl(*NORMALS, method="magic")
    with pytest.raises(ValueError, match=r"batch shapes of p and q are \(2,\) and \(\)"):
        estimate_kl(dist.Normal(jnp.zeros(2), 1.0), NORMALS[1])
    with pytest.raises(ValueError, match="batch shape is"):
        estimate_kl([[0.5, 0.5]], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"event shape \(2,\)"):
        estimate_kl(dist.Dirichlet(jnp.ones(2)), dist.Dirichlet(jnp.ones(3)))
    with pytest.raises(ValueError, match="p is discrete and q is continuous"):
        estimate_kl(dist.Binomial(3, 0.5), NORMALS[0])
    with pytest.raises(ValueError, match="base must be 2"):
        estimate_kl(*NORMALS, base=3)
    with pytest.raises(ValueError, match="pmf arrays are summed exactly"):
        estimate_kl([0.5, 0.5], [0.5, 0.5], method="quadrature")
    with pytest.raises(ValueError, match="a proposal is for method='importance_sampling', not for 'auto'"):
        estimate_kl(*NORMALS, proposal=NORMALS[1])
    with pytest.raises(ValueError, match="num_draws must be at least 2"):
        estimate_kl(*NORMALS, key=jax.random.key(0), method="monte_carlo", num_draws=1)
    with pytest.raises(TypeError, match="p is a distribution"):
        estimate_kl(NORMALS[0], [0.5, 0.5])


def test_a_method_asked_for_is_the_method_used_or_an_error():
    with pytest.raises(NoClosedForm):
        estimate_kl(*COUNTS, method="closed_form")
    with pytest.raises(NotApplicable, match="no finite support"):
        estimate_kl(*NORMALS, method="enumeration")
    with pytest.raises(NotApplicable, match="not a density of one variable"):
        estimate_kl(dist.Poisson(3.0), dist.Poisson(4.0), method="quadrature")
    with pytest.raises(NotApplicable, match="no map from uniform numbers to draws of Unknown"):
        estimate_kl(*COUNTS, method="quasi_monte_carlo", key=jax.random.key(0))
    named = estimate_kl.__doc__.split("method:")[1].split("num_draws:")[0]
    assert all(f'"{method}"' in named for method in METHODS)


def two_modes(dim, spread=2.0):
    """Of scale 1 at +-spread in each variable, with weights 0.3 and 0.7: a density without closed forms."""
    locs = jnp.array([[-spread] * dim, [spread] * dim])
    components = dist.Normal(locs, 1.0).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(jnp.array([0.3, 0.7])), components)


@pytest.mark.parametrize(
    ("p", "q", "words"),
    [
        (*NORMALS, "closed form"),
        (Unknown(dist.BetaBinomial(2.0, 3.0, 10)), dist.Binomial(10, 0.4), "exact sum"),
        (two_modes(2), two_modes(2, 1.5), "cubature"),
        (two_modes(4), two_modes(4, 1.5), "quasi-Monte Carlo"),
        (*COUNTS, "Monte Carlo"),
    ],
)
def test_the_best_method_there_is_comes_first(p, q, words, key):
    """Each with a caveat, but for the closed form, which needs none."""
    estimate = estimate_kl(p, q, key=key, num_draws=4000)
    assert estimate.method.startswith(words)
    assert bool(estimate.caveat) == (words != "closed form")


@pytest.mark.divergences
def test_what_cannot_settle_falls_through_and_says_so(key):
    """A kink is not resolved in three variables."""
    p, q = dist.Laplace(jnp.zeros(3), 1.0).to_event(1), two_modes(3)
    estimate = estimate_kl(p, q, key=key, num_draws=4000)
    assert estimate.method.startswith("quasi-Monte Carlo")
    assert "cubature did not converge" in estimate.method
