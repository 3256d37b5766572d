"""The worm models: evidence and posteriors against independent calculations."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats
from scipy.special import logsumexp
from tiers import exhaustive_after

from vi_kl.demo.worms import models as worms
from vi_kl.demo.worms.data import TEETH, WORMS
from vi_kl.targets import Target

MEDIUM = WORMS // 8
SMALL = np.array([1, 0, 2, 3, 5, 4, 2, 1, 2, 1, 1])


def binomial_pmf(p):
    return stats.binom.pmf(TEETH, 10, p)


def block_pmf(p):
    return np.where(TEETH >= 6, p / 5, (1 - p) / 6)


@pytest.mark.parametrize(("make", "pmf"), [(worms.binomial, binomial_pmf), (worms.block, block_pmf)])
@pytest.mark.parametrize("counts", [SMALL, WORMS])
def test_one_parameter_evidence_and_moments_by_scipy(make, pmf, counts):
    reference = make(counts).reference
    peak = reference.moments["p"].mean

    def integrand(p, power=0):
        return np.exp(np.sum(counts * np.log(pmf(p))) - shift) * (p - peak) ** power

    shift = np.sum(counts * np.log(pmf(peak)))
    nodes = [peak - 0.02, peak, peak + 0.02]
    mass, first, second = (
        integrate.quad(integrand, 1e-9, 1 - 1e-9, (power,), points=nodes, epsabs=1e-13, limit=200)[0]
        for power in range(3)
    )
    np.testing.assert_allclose(reference.log_evidence.value, np.log(mass) + shift, rtol=1e-9)
    np.testing.assert_allclose(first / mass, 0.0, atol=1e-7)
    np.testing.assert_allclose(reference.moments["p"].sd, np.sqrt(second / mass), rtol=1e-5)


def test_categorical_evidence_is_the_chain_rule_of_predictions():
    """Polya's urn: each worm is predicted from those before it, (count + 1) / (worms so far + 11)."""
    sequence = np.repeat(TEETH, SMALL)
    seen, total = np.zeros(11), 0.0
    for teeth in np.random.default_rng(0).permutation(sequence):
        total += np.log((seen[teeth] + 1) / (seen.sum() + 11))
        seen[teeth] += 1
    np.testing.assert_allclose(worms.categorical(SMALL).reference.log_evidence.value, total, rtol=1e-12)


@pytest.mark.landing
def test_beta_binomial_evidence_by_scipy():
    """With SciPy's pmf, by Gauss's rule over log concentration and mean."""

    def log_mass(nodes):
        x, weights = np.polynomial.legendre.leggauss(nodes)
        log_concentration, mean = 1.5 + 7.5 * x[:, None, None], 0.5 + 0.5 * x[:, None]
        k = np.exp(log_concentration)
        log_likelihood = (SMALL * stats.betabinom.logpmf(TEETH, 10, mean * k, (1 - mean) * k)).sum(-1)
        log_joint = log_likelihood + stats.norm.logpdf(log_concentration[..., 0], 1, 1)
        return logsumexp(log_joint, b=7.5 * weights[:, None] * 0.5 * weights)

    assert abs(log_mass(160) - log_mass(120)) < 1e-8  # all of its digits that are needed
    reference = worms.beta_binomial(SMALL).reference
    assert abs(reference.log_evidence.value - log_mass(160)) < max(3 * reference.log_evidence.standard_error, 1e-7)


@pytest.mark.exhaustive
def test_two_kinds_evidence_by_brute_force_and_its_symmetry():
    p = (np.arange(200) + 0.5) / 200
    weight = (np.arange(60) + 0.5) / 60
    pmf = np.stack([stats.binom.pmf(TEETH, 10, x) for x in p])
    total = []
    for w in weight:
        mixture = w * pmf[:, None] + (1 - w) * pmf[None]
        total.append(logsumexp(np.einsum("t,ijt->ij", MEDIUM, np.log(mixture))))
    midpoint_rule = logsumexp(total) - np.log(200 * 200 * 60)
    reference = worms.two_kinds(MEDIUM).reference
    np.testing.assert_allclose(reference.log_evidence.value, midpoint_rule, atol=2e-3)
    np.testing.assert_allclose(reference.moments["p1"].mean, reference.moments["p2"].mean, rtol=1e-5)
    np.testing.assert_allclose(reference.moments["weight"].mean, 0.5, atol=1e-5)


@pytest.mark.parametrize("name", exhaustive_after(1, sorted(worms.TARGETS)))
def test_scaled_histogram_is_the_same_as_a_row_per_worm(name):
    target = worms.TARGETS[name](SMALL)
    rows = np.repeat(TEETH, SMALL)
    one_by_one = Target.from_numpyro(target.density.model, rows, np.ones_like(rows))
    z = np.random.default_rng(2).normal(size=(3, target.dim))
    np.testing.assert_allclose(target.log_density(z), one_by_one.log_density(z), rtol=1e-12)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (np.array([1, 2, 3]), "11 counts"),
        (np.where(TEETH == 3, -1, WORMS), r"worms\[3\].*negative"),
        (np.where(TEETH == 2, np.nan, WORMS), r"worms\[2\].*NaN"),
        (np.where(TEETH == 4, 1.5, WORMS), r"worms\[4\].*whole"),
        (np.zeros(11), "nothing to send"),
    ],
)
def test_bad_counts_are_refused_by_name(counts, words):
    for make in worms.TARGETS.values():
        with pytest.raises(ValueError, match=words):
            make(counts)


@pytest.mark.exhaustive
def test_a_mode_of_the_mixture_is_worth_half():
    """Ordering the two kinds leaves one mode: its evidence is exactly half, log 2 below."""

    def ordered(teeth, counts):
        weight = numpyro.sample("weight", dist.Uniform(0, 1))
        low = numpyro.sample("low", dist.Uniform(0, 1))
        gap = numpyro.sample("share_of_the_rest", dist.Uniform(0, 1))
        high = low + (1 - low) * gap
        numpyro.factor("density_of_high_given_low_is_uniform_over_the_square", jnp.log1p(-low))
        kinds = dist.Binomial(10, jnp.stack([low, high])[:, None]).log_prob(jnp.arange(11))
        log_weights = jnp.log(jnp.stack([weight, 1 - weight]))[:, None]
        logits = jnp.logaddexp(*(log_weights + kinds))
        numpyro.factor("teeth", jnp.sum(counts * logits))

    from vi_kl.reference import reference_by_quadrature

    half = reference_by_quadrature(Target.from_numpyro(ordered, TEETH, WORMS))
    whole = worms.two_kinds().reference
    np.testing.assert_allclose(whole.log_evidence.value - half.log_evidence.value, np.log(2), atol=1e-6)


def test_beta_binomial_probabilities_by_scipy():
    with jax.enable_x64(True):
        for a, b in ((0.3, 0.1), (3.5, 2.7), (400.0, 300.0)):
            ours = worms.beta_binomial_log_pmf(jnp.asarray(a), jnp.asarray(b))
            np.testing.assert_allclose(ours, stats.betabinom.logpmf(TEETH, 10, a, b), rtol=1e-11)
