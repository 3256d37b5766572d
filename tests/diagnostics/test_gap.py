"""Parts of the gap: exact for normals, found by search elsewhere, and adding up to the total."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diagnostics.members import full_rank, log_gamma, member, normal_on_line
from scipy import integrate, optimize, stats

from vi_kl.core.estimate import Estimate
from vi_kl.core.gaussian import Gaussian
from vi_kl.demo.worms import models as worms
from vi_kl.diagnostics.gap import best_scales, explain_gap, normal_parts, parts_from_draws, split_kl
from vi_kl.families import MeanField
from vi_kl.reference import Moments, ReferencePosterior, reference_by_quadrature
from vi_kl.reference.mcmc.draws import PosteriorDraws
from vi_kl.targets import Target

COVARIANCE = np.array([[4.0, 1.9, 0.3], [1.9, 1.0, 0.1], [0.3, 0.1, 0.5]])
MEAN = np.array([1.0, -2.0, 0.5])


def normal(z, data):
    mean, precision = data
    return -0.5 * (z - mean) @ precision @ (z - mean)


def normal_target() -> Target:
    target = Target.from_log_density(normal, 3, data=(jnp.asarray(MEAN), jnp.asarray(np.linalg.inv(COVARIANCE))))
    found = reference_by_quadrature(target)
    return target.with_reference(dataclasses.replace(found, normal=(MEAN, COVARIANCE)))


def kl_by_formula(m, s, mean, covariance):
    """The textbook's, in another form than the code's."""
    precision = np.linalg.inv(covariance)
    terms = np.trace(precision @ s) + (mean - m) @ precision @ (mean - m) - len(m)
    return 0.5 * (terms + np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(s)[1])


def test_it_is_exact_on_a_normal_posterior(key):
    """Mean field off its optimum: the best member has the conditional sds, and what is left is the family's."""
    loc, sd = MEAN + np.array([0.1, 0.0, 0.2]), np.array([0.5, 0.3, 0.6])
    gap = explain_gap(member(MeanField(), normal_target(), loc=loc, log_scale=np.log(sd)), key=key)
    conditional = np.diag(1 / np.diag(np.linalg.inv(COVARIANCE)))
    assert gap.label == "exact"
    assert gap.total.value == pytest.approx(kl_by_formula(loc, np.diag(sd**2), MEAN, COVARIANCE), rel=1e-9)
    assert gap.family.value == pytest.approx(kl_by_formula(MEAN, conditional, MEAN, COVARIANCE), rel=1e-9)
    assert gap.optimisation.value == pytest.approx(gap.total.value - gap.family.value, rel=1e-9)
    parts = gap.normal
    assert parts.location.value == pytest.approx(0.5 * (loc - MEAN) @ np.linalg.inv(COVARIANCE) @ (loc - MEAN))
    assert parts.correlation.value == pytest.approx(gap.family.value, rel=1e-9)
    assert abs(parts.shape.value) < 1e-6
    assert "optimisation" in str(gap)
    assert gap.to_dict()["normal"]["scale"]["value"] >= 0


def test_full_rank_holds_a_normal_posterior(key):
    gap = explain_gap(full_rank(normal_target(), MEAN, 1.2 * COVARIANCE), key=key)
    assert gap.family.value == pytest.approx(0.0, abs=1e-12)
    assert gap.optimisation.value == pytest.approx(1.5 * (0.2 - np.log(1.2)), rel=1e-9)
    assert gap.normal.scale.value == pytest.approx(gap.total.value, rel=1e-6)


def kl_to_log_gamma(params):
    q, p = stats.norm(params[0], np.exp(params[1])), stats.loggamma(3)
    return integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), *q.ppf([1e-14, 1 - 1e-14]))[0]


def least_kl_to_log_gamma():
    options = {"xatol": 1e-6, "fatol": 1e-10}
    return optimize.minimize(kl_to_log_gamma, [0.9, -0.5], method="Nelder-Mead", options=options).fun


@pytest.mark.landing
def test_a_skewed_posterior_under_a_normal_has_a_shape(key):
    """The best normal by scipy's own optimiser over its own quadrature."""
    target = Target.from_log_density(log_gamma, 1)
    target = target.with_reference(reference_by_quadrature(target))
    gap = explain_gap(normal_on_line(target, 0.5, 0.9), key=key)
    p = stats.loggamma(3)
    assert gap.label == "estimated"
    assert gap.family.value == pytest.approx(least_kl_to_log_gamma(), abs=2e-4)
    assert gap.total.value == pytest.approx(kl_to_log_gamma([0.5, np.log(0.9)]), abs=1e-6)
    assert gap.optimisation.value == pytest.approx(gap.total.value - gap.family.value, abs=1e-9)
    to_normal = kl_by_formula(np.array([0.5]), np.array([[0.81]]), np.array([p.mean()]), np.array([[p.var()]]))
    assert abs(gap.normal.shape.value - (gap.total.value - to_normal)) < 4 * gap.normal.shape.standard_error


@pytest.mark.exhaustive
def test_without_a_truth_the_optimiser_can_still_be_judged(key):
    gap = explain_gap(normal_on_line(Target.from_log_density(log_gamma, 1), 0.2, 0.3), key=key)
    assert abs(gap.total.value - kl_to_log_gamma([0.2, np.log(0.3)])) < 4 * gap.total.standard_error
    assert abs(gap.family.value - least_kl_to_log_gamma()) < 4 * gap.family.standard_error
    assert gap.optimisation.value > 0.5
    at_best = explain_gap(gap.best, key=key)
    assert at_best.optimisation.value < 4 * at_best.optimisation.standard_error + 1e-4


def test_without_a_total_the_optimiser_can_still_be_judged(key):
    """A posterior that does not exist: 1/|z| far out."""
    gap = explain_gap(
        normal_on_line(Target.from_log_density(lambda z: -0.5 * jnp.log1p(z[0] ** 2), 1), 0.2, 0.3), key=key
    )
    assert gap.total is None
    assert gap.family is None
    assert gap.optimisation.value > 0.5
    assert "needs the total" in gap.note


def test_a_guide_of_another_kind_is_said_not_to_be_searched(key):
    from vi_kl.families import Guide

    q = member(Guide(worms.beta_guide), worms.binomial(), a=np.log(5000.0), b=np.log(3800.0))
    gap = explain_gap(q, key=key)
    assert gap.optimisation is None
    assert "not searched" in gap.note
    assert "unknown" in str(gap)


@pytest.mark.parametrize("seed", range(20))
def test_parts_of_random_normals_are_not_negative_and_add_up(seed):
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(1, 7))
    s, covariance = (np.cov(rng.normal(size=(dim, 3 * dim))).reshape(dim, dim) for _ in range(2))
    m, mean = rng.normal(size=(2, dim))
    parts = split_kl(Gaussian.of_covariance(m, s), Gaussian.of_covariance(mean, covariance))
    assert min(parts) >= -1e-12
    assert sum(parts) == pytest.approx(kl_by_formula(m, s, mean, covariance), rel=1e-8)
    form = np.linalg.inv(covariance) * (s / np.sqrt(np.outer(np.diag(s), np.diag(s))))
    d = best_scales(form)
    np.testing.assert_allclose(form @ d, 1 / d, rtol=1e-8)


@pytest.mark.landing
def test_a_reference_run_gives_parts_with_errors(key):
    """Autocorrelated chains in place of exact draws: the location's part within four of its errors."""
    rng = np.random.default_rng(3)
    steps, z = rng.normal(size=(4, 2000, 3)), np.zeros((4, 2000, 3))
    for i in range(1, 2000):
        z[:, i] = 0.5 * z[:, i - 1] + np.sqrt(0.75) * steps[:, i]
    chains = MEAN + z[:, 50:] @ np.linalg.cholesky(COVARIANCE).T
    target = normal_target()
    known: ReferencePosterior = dataclasses.replace(
        target.reference, normal=None, chains=chains, source="reference run"
    )
    loc = MEAN + np.array([0.5, 0.0, 0.0])
    gap = explain_gap(full_rank(target, loc, COVARIANCE), known, key=key)
    location = gap.normal.location
    exact = 0.5 * (loc - MEAN) @ np.linalg.inv(COVARIANCE) @ (loc - MEAN)
    assert 0 < location.standard_error < 0.5
    assert abs(location.value - exact) < 4 * location.standard_error


# Truths that fail their checks, totals that are averages, and the jackknife ----------------------------------------


def wide(dim: int, log_density=None, **fields) -> Target:
    """A normal in more dimensions than quadrature has, with a truth that does not say that it is normal."""
    mean, covariance = np.arange(dim) - 1.0, 0.5 * np.eye(dim) + 0.5

    def sample(key, n):
        return np.random.default_rng(7).multivariate_normal(mean, covariance, size=n)

    evidence = 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    moments = {"z": Moments(mean, np.sqrt(np.diag(covariance)))}
    density = stats.multivariate_normal(mean, covariance).logpdf if log_density else None
    reference = ReferencePosterior(Estimate(evidence), moments, sample, log_density=density, **fields)
    data = (mean, np.linalg.inv(covariance))  # in float64
    return Target.from_log_density(normal, dim, data=data, reference=reference)


def far_off(target: Target):
    """A full-rank member far from the posterior, and its KL to it."""
    mean, covariance = target.reference.moments["z"].mean, 0.5 * np.eye(target.dim) + 0.5
    loc, own = mean + 1.0, 0.1 * np.eye(target.dim)
    return full_rank(target, loc, own), kl_by_formula(loc, own, mean, covariance)


@pytest.mark.landing
def test_the_familys_part_rests_on_the_best_members_own_elbo(key):
    """The posterior is a member: the family's part is zero, and its error that of an ELBO that hardly varies."""
    q, kl = far_off(wide(5))
    gap = explain_gap(q, key=key)
    assert gap.total.standard_error > 3e-3
    assert gap.family.standard_error < 0.1 * gap.total.standard_error
    assert abs(gap.family.value) < 4 * gap.family.standard_error + 5e-3  # what 512 draws of fixed noise leave
    assert gap.family.value > -4 * gap.family.standard_error - 1e-9
    assert abs(gap.total.value - kl) < 4 * gap.total.standard_error
    parts = gap.family.value + gap.optimisation.value
    both = np.hypot(gap.total.standard_error, gap.optimisation.standard_error)
    assert abs(parts - gap.total.value) < 4 * both


def test_an_integral_by_monte_carlo_is_not_taken_for_an_exact_one(key):
    """Held to a closed form of the posterior in five dimensions, KL is an average like the other."""
    q, kl = far_off(wide(5, log_density=True))
    gap = explain_gap(q, key=key)
    assert "Monte Carlo" in gap.total.method
    assert "paired" in gap.optimisation.method
    assert abs(gap.optimisation.value - kl) < 4 * gap.optimisation.standard_error + 5e-3
    assert abs(gap.family.value) < 4 * gap.family.standard_error + 5e-3


def test_from_the_posterior_itself_on_nothing_is_left_to_either_part(key):
    """Within their errors, which are rounding here; and the family's part is not clipped at zero."""
    target = wide(5)
    covariance = 0.5 * np.eye(5) + 0.5
    gap = explain_gap(full_rank(target, target.reference.moments["z"].mean, covariance), key=key)
    assert abs(gap.family.value) <= 4 * gap.family.standard_error + 1e-9
    assert 0 <= gap.optimisation.value < 4 * gap.optimisation.standard_error + 1e-9


COMPLAINT = "R-hat is 1.2000, and should be at most 1.0100: the chains do not agree."


@pytest.mark.parametrize("exact", [False, True])
def test_a_truth_with_complaints_is_not_used_silently(key, exact):
    target = normal_target()
    normal_form = target.reference.normal if exact else None
    target = target.with_reference(dataclasses.replace(target.reference, complaints=(COMPLAINT,), normal=normal_form))
    gap = explain_gap(full_rank(target, MEAN, 1.2 * COVARIANCE), key=key)
    assert gap.warnings == (COMPLAINT,)
    assert gap.label == "unknown"
    assert COMPLAINT in str(gap)
    assert gap.to_dict()["warnings"] == [COMPLAINT]


@pytest.mark.landing
def test_figures_that_contradict_each_other_are_warned_of(key):
    """An evidence that is a nat too small: the ELBO exceeds it."""
    target = wide(4)
    evidence = Estimate(target.reference.log_evidence.value - 1.0)
    target = target.with_reference(dataclasses.replace(target.reference, log_evidence=evidence))
    gap = explain_gap(full_rank(target, target.reference.moments["z"].mean, 0.5 * np.eye(4) + 0.5), key=key)
    assert any("ELBO exceeds" in sentence for sentence in gap.warnings)
    assert gap.label == "unknown"
    assert gap.family.value == pytest.approx(-1.0, abs=0.05)


def of_many_sets(ours: Gaussian, mean, covariance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts and errors from each of 200 sets of 400 draws of a normal posterior, and the exact parts."""
    rng = np.random.default_rng(11)
    sets = [
        parts_from_draws(ours, PosteriorDraws(rng.multivariate_normal(mean, covariance, size=(1, 400)), True))
        for _ in range(200)
    ]
    exact = split_kl(ours, Gaussian.of_covariance(mean, covariance))
    return np.stack([one[0] for one in sets]), np.stack([one[1] for one in sets]), np.array([*exact, sum(exact)])


@pytest.mark.landing
def test_parts_from_draws_are_unbiased():
    """At the posterior's own mean the uncorrected location's part is off by 18 of the errors of this test."""
    values, _, exact = of_many_sets(Gaussian.of(MEAN, [2.0, 1.0, 0.7]), MEAN, COVARIANCE)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - exact) < 4 * error).all()


@pytest.mark.landing
def test_the_error_of_a_sum_of_parts_is_not_that_of_independent_ones():
    """On a line location and scale both go with the posterior's variance v, so their errors add up.

    By the delta method at v = 1: d(sum)/dv = -9/2 - (9 - 1)/2 and d(sum)/d(mean) = -3, where the sample's v and mean
    have errors sqrt(2 / n) and sqrt(1 / n).
    """
    _, errors, _ = of_many_sets(Gaussian.of([3.0], [3.0]), np.zeros(1), np.eye(1))
    rms = np.sqrt((errors**2).mean(axis=0))
    assert rms[0] == pytest.approx(np.hypot(4.5 * np.sqrt(2 / 400), 3 * np.sqrt(1 / 400)), rel=0.1)
    assert rms[1] == pytest.approx(4.0 * np.sqrt(2 / 400), rel=0.1)
    assert rms[3] == pytest.approx(np.hypot(8.5 * np.sqrt(2 / 400), 3 * np.sqrt(1 / 400)), rel=0.1)
    assert np.hypot(rms[0], rms[1]) < 0.8 * rms[3]


def test_the_shape_has_the_error_of_that_sum():
    q = full_rank(wide(1), np.array([3.0]), np.array([[9.0]]))
    with jax.enable_x64(True):
        parts = normal_parts(q, q.target.reference, Estimate(7.0, 0.0), jax.random.key(0), 400)
    separate = np.hypot(parts.location.standard_error, parts.scale.standard_error)
    assert parts.shape.standard_error > 1.2 * separate
