"""Certificates on cases whose truth is known: both directions of KL, their intervals, moments, and the words."""

import dataclasses
import inspect
import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from diagnostics.members import log_gamma, member
from scipy import integrate, stats

import vi_kl
import vi_kl.diagnostics.advice
import vi_kl.diagnostics.measurements
import vi_kl.diagnostics.verdict
from vi_kl.algorithms import Status
from vi_kl.core.estimate import Estimate
from vi_kl.core.records import plain
from vi_kl.demo.worms import models as worms
from vi_kl.diagnostics import Limits, check
from vi_kl.diagnostics.advice import advice_for
from vi_kl.diagnostics.certificate import Certificate
from vi_kl.diagnostics.measurements import Measurements
from vi_kl.diagnostics.verdict import blind_spot, label_of, verdict_of
from vi_kl.families import Approximation, Flow, FullRank, Guide, MeanField
from vi_kl.families.gaussian import full_rank_params
from vi_kl.reference import reference_by_quadrature
from vi_kl.targets import Target

KEYS = [jax.random.key(seed) for seed in range(200)]


SKEWED = Target.from_log_density(log_gamma, 1, reference=reference_by_quadrature)
LOC, SCALE = 0.9, 0.5


def skewed_truth():
    """KL in both directions between N(LOC, SCALE) and the log-gamma, by scipy."""
    p, q = stats.loggamma(3), stats.norm(LOC, SCALE)
    reverse = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), LOC - 5, LOC + 5)[0]
    forward = integrate.quad(lambda z: p.pdf(z) * (p.logpdf(z) - q.logpdf(z)), -14, 5)[0]
    return reverse, forward


def test_both_directions_on_a_skewed_target(key):
    q = member(MeanField(), SKEWED, loc=[LOC], log_scale=[np.log(SCALE)])
    certificate = check(q, key=key)
    reverse, forward = skewed_truth()
    assert abs(reverse - forward) > 0.03  # so that the two cannot be swapped unnoticed
    assert abs(certificate.integrated.value - reverse) < 1e-6
    assert abs(certificate.gap.value - reverse) < 4 * certificate.gap.standard_error
    assert abs(certificate.forward_kl.value - forward) < 4 * certificate.forward_kl.standard_error
    assert certificate.label == "exact"
    assert certificate.ways_agree


# by default the parts of the intervals are tested: test_importance.py, test_evidence_bounds.py
@pytest.mark.exhaustive
def test_the_intervals_cover_the_truth_at_their_level():
    """Gap and forward KL at nominal 95% over 200 keys: 95% give or take three binomial errors (1.5% each)."""
    q = member(MeanField(), SKEWED, loc=[LOC], log_scale=[np.log(SCALE)])
    certificates = [check(q, key=key, num_draws=4096) for key in KEYS]
    reverse, forward = skewed_truth()
    for name, reference in (("gap", reverse), ("forward_kl", forward)):
        inside = [low <= reference <= high for low, high in (getattr(c, name).interval(0.95) for c in certificates)]
        assert np.mean(inside) >= 0.95 - 3 * 0.0154
    agree = [c.ways_agree for c in certificates]
    assert np.mean(agree) > 0.97


def test_moment_errors_have_their_sign_and_unit(key):
    """q one posterior sd to the right and half as wide."""
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum((z / 3.0) ** 2), 1, reference=reference_by_quadrature)
    certificate = check(member(MeanField(), target, loc=[3.0], log_scale=[np.log(1.5)]), key=key)
    errors = certificate.errors.sites["z"]
    assert errors.mean_error[0] == pytest.approx(1.0, abs=4 * errors.noise)
    assert errors.sd_ratio[0] == pytest.approx(0.5, abs=4 * errors.noise)
    assert certificate.worst_sd_ratio < 1


@pytest.mark.landing
def test_closed_form_and_gap_for_a_beta_guide(key):
    target = worms.binomial()
    exact = target.reference.distributions["p"]
    a, b = float(exact.concentration1), float(exact.concentration0)
    q = member(Guide(worms.beta_guide), target, a=np.log(0.8 * a), b=np.log(0.82 * b))
    certificate = check(q, key=key)
    expected = stats.beta(0.8 * a, 0.82 * b)
    kl = integrate.quad(
        lambda p: expected.pdf(p) * (expected.logpdf(p) - stats.beta.logpdf(p, a, b)), 0.52, 0.62, limit=200
    )[0]
    assert certificate.integrated.method == "closed form"
    assert certificate.integrated.value == pytest.approx(kl, rel=1e-6)
    assert certificate.ways_agree


@pytest.mark.exhaustive
def test_quadrature_over_the_noise_of_a_flow(key):
    target = worms.beta_binomial()
    family = Flow()
    with jax.enable_x64(True):
        params = family.init(key, target)
        params |= {"loc": jnp.array([1.82, 0.29]), "log_scale": jnp.log(jnp.array([0.08, 0.033]))}
    certificate = check(Approximation(family, params, target), key=key)
    assert "quadrature over q" in certificate.integrated.method
    assert certificate.integrated.standard_error < 1e-5
    assert certificate.ways_agree


def one_mode_of_two(key, label_log_scale=1.05):
    def two(z):
        return jnp.logaddexp(-0.5 * z[0] ** 2, -0.5 * (z[0] - 20) ** 2)

    target = Target.from_log_density(two, 1, reference=reference_by_quadrature)
    return check(member(MeanField(), target, loc=[0.0], log_scale=[np.log(label_log_scale)]), key=key)


def test_a_missing_mode_costs_log_two_and_is_named(key):
    certificate = one_mode_of_two(key)
    expected = np.log(2) + 0.5 * (1.05**2 - 1) - np.log(1.05)
    assert certificate.reverse_kl.value == pytest.approx(expected, abs=1e-4)
    assert certificate.coverage == pytest.approx(0.5, abs=0.02)
    assert certificate.k_hat < 0.5  # blind to it
    assert certificate.forward_kl.value > 50
    assert "leaves out about 50% of the posterior" in certificate.verdict
    assert "0.696 nats = 1.00 bits" in certificate.verdict


def test_a_q_that_covers_both_modes_misses_nothing(key):
    assert one_mode_of_two(key, label_log_scale=15.0).coverage > 0.95


def test_wrong_evidence_makes_the_two_ways_disagree(key):
    """A planted error of 0.05 nats in the log evidence is found out: the ways are independent."""
    import dataclasses

    target = worms.binomial()
    wrong = dataclasses.replace(
        target.reference,
        log_evidence=dataclasses.replace(
            target.reference.log_evidence, value=target.reference.log_evidence.value + 0.05
        ),
    )
    q = member(MeanField(), target, loc=[0.2823], log_scale=[np.log(0.0202)])
    first = check(q, key=key)
    assert first.ways_agree, (str(first.gap), str(first.integrated))
    certificate = check(q, wrong, key=key)
    assert certificate.ways_agree is False
    assert "disagree" in certificate.verdict


def test_without_a_truth_wider_draws_tell_the_distance_and_it_says_what_it_cannot_see(key):
    """q's own weights are too heavy to tell (k-hat above 0.7); with wider densities beside q they are not."""
    target = Target.from_log_density(log_gamma, 1)
    certificate = check(member(MeanField(), target, loc=[LOC], log_scale=[np.log(SCALE)]), key=key)
    assert certificate.k_hat > 0.7
    assert certificate.label == "estimated"
    kl = certificate.reverse_kl
    assert abs(kl.value - skewed_truth()[0]) < 4 * kl.standard_error < 0.02
    assert "never visits" in certificate.cannot_see
    assert "nan" not in str(certificate.to_dict())


@pytest.mark.parametrize("wrong", [jnp.inf, jnp.nan])
def test_a_density_that_is_broken_far_out_is_none_there(wrong, key):
    """As that of a truncated normal is, where the mass beyond its limit is 0 in floating point."""

    def log_density(z):
        return jnp.where(z[0] < -7.0, wrong, -0.5 * jnp.sum(z**2))

    target = Target.from_log_density(log_density, 4)
    params = full_rank_params(np.zeros(4), np.eye(4))
    certificate = check(member(FullRank(), target, **params), key=key)
    assert abs(certificate.reverse_kl.value) < 1e-3
    assert vi_kl.fit(target, key=0).status.converged


def test_heavy_weights_show_in_k_hat(key):
    """A normal that is far too narrow for the log-gamma's long left tail."""
    narrow = check(member(MeanField(), SKEWED, loc=[LOC], log_scale=[np.log(0.15)]), key=key)
    assert narrow.k_hat > 0.7
    assert "importance weighting would not repair it" in narrow.verdict


KEYS_OF_JSON = {
    *("name", "source", "elbo", "k_hat", "ess", "evidence_limits", "limits", "log_evidence", "reverse_kl", "gap"),
    *("integrated", "forward_kl", "coverage", "missed_modes", "missed_share", "climbs", "misses_mode", "inner_modes"),
    *("is_beside", "outside_support", "is_point", "errors", "corrected", "distance", "contradictions", "complaints"),
    "short_chains",
    *(
        "converged",
        "family",
        "dim",
        "num_draws",
        "search_share",
        "rows_begun_on",
        "hierarchical",
        "improper",
        "saturated",
        "learned",
        "rounding",
        "gradient_evaluations",
        "density_evaluations",
    ),
    *("label", "verdict", "cannot_see", "try_next", "ways_agree"),
}


@pytest.fixture(scope="module")
def certificate():
    target = Target.from_log_density(lambda z: -0.5 * z @ z, 2, reference=reference_by_quadrature)
    params = full_rank_params(np.array([0.1, 0.0]), np.array([[1.0, 0.0], [0.3, 0.9]]))
    return check(member(FullRank(), target, **params), key=jax.random.key(0))


def test_a_certificate_reads_and_serialises(certificate):
    assert "KL(q||post.)" in str(certificate)
    found = json.loads(json.dumps(certificate.to_dict(), allow_nan=False))
    assert found.keys() == KEYS_OF_JSON
    assert found["label"] == "exact"
    assert found["try_next"] == list(certificate.try_next)
    site = found["errors"]["sites"]["z"]
    assert site.keys() == {"mean_error", "sd_ratio", "quantile_errors", "noise", "is_off"}
    assert found["errors"].keys() == {"sites", "correlation", "against", "without_moments"}


def test_a_certificate_is_a_plain_record(certificate):
    """What `asdict` has is JSON, and holds all that `to_dict` shows; the words stand in it, and cannot be given."""
    shown, whole = certificate.to_dict(), plain(dataclasses.asdict(certificate))
    assert json.dumps(whole, allow_nan=False)
    for name in KEYS_OF_JSON - {"errors", "corrected"}:
        assert whole[name] == shown[name]
    for name in ("errors", "corrected"):
        assert shown[name]["sites"]["z"].items() <= whole[name]["sites"]["z"].items()
    for name in ("label", "verdict", "cannot_see", "try_next", "ways_agree"):
        assert name in vars(certificate)
        with pytest.raises((TypeError, ValueError), match=name):
            dataclasses.replace(certificate, **{name: ""})


def test_words_follow_the_figures_of_the_record(certificate):
    doubted = dataclasses.replace(certificate, contradictions=("Two and two are five.",))
    assert doubted.label == "unknown"
    assert "Two and two are five." in doubted.verdict
    assert "contradicts" in doubted.try_next[0]
    bits = certificate.to("bits")
    assert bits.reverse_kl.value == pytest.approx(certificate.reverse_kl.value / np.log(2))
    assert (bits.label, bits.verdict, bits.cannot_see, bits.try_next) == (
        *(certificate.label, certificate.verdict, certificate.cannot_see, certificate.try_next),
    )
    assert bits.to("nats").verdict == certificate.verdict


def test_the_optimiser_is_to_finish_only_where_the_status_says_how(key):
    """A flow that the default keeps for the best has done all it was to do, and is not called converged."""
    found = vi_kl.fit(Target.from_log_density(lambda z: -0.5 * z @ z, 2), "laplace", key=key)
    for words, says_how in (("Raise max_steps.", True), ("Kept flow: the best found, and a rough stand-in.", False)):
        fit = dataclasses.replace(found, status=Status(False, words))
        assert any("Let the optimiser finish" in each for each in check(fit, key=key).try_next) is says_how


def test_verdict_and_advice_know_no_certificate():
    """Words can be had of measurements alone, and their modules import nothing that makes a certificate."""
    seen = Measurements(
        "q", "closed form", Estimate(-1.5, unit="bits"), 0.1, 0.9, Limits(-1.0, -1.0, 0.95), Limits(0.0, 1.0, 0.95),
        reverse_kl=Estimate(0.5, unit="bits"), dim=2, family="mean_field", is_mean_field=True,
    )  # fmt: skip
    assert label_of(seen) == "exact"
    assert "q is 0.347 nats = 0.500 bits from the posterior" in verdict_of(seen, "exact")
    assert "good one" in blind_spot(seen)
    assert advice_for(seen, "exact")[0] == 'A richer family: "full_rank", then "skewed", then "flow".'
    for module in (vi_kl.diagnostics.verdict, vi_kl.diagnostics.advice, vi_kl.diagnostics.measurements):
        assert "Certificate" not in inspect.getsource(module)


def test_a_kl_below_zero_by_more_than_its_error_is_no_distance():
    """One within its error is none either: it is shown as 0 with that error, and kept as it is."""
    limits = Limits(0.0, 1.0, 0.95)
    seen = Certificate(
        "q", "quadrature", Estimate(-1.5, 0.01), 0.1, 0.9, Limits(-1.0, -1.0, 0.95), limits,
        log_evidence=Estimate(-1.8), reverse_kl=Estimate(-0.3, 0.01, "evidence - ELBO"), forward_kl=Estimate(-1e-17),
    )  # fmt: skip
    assert seen.label == "unknown"
    assert "came out as -0.300 ± 0.010 nats, and no divergence is negative" in seen.verdict
    assert "KL(q||post.) -0.300 ± 0.010 (impossible) nats" in str(seen)
    assert "KL(post.||q) 0 ± 1e-17 nats" in str(seen)
    near = dataclasses.replace(seen, reverse_kl=Estimate(-0.0003, 0.0004, "evidence - ELBO"))
    assert near.label == "exact"
    assert "q is 0 nats = 0 bits from the posterior" in near.verdict
    assert "KL(q||posterior) 0.00000 ± 0.00040 nats" in near.headline
    assert near.to_dict()["reverse_kl"]["value"] == -0.0003


def test_only_fits_are_checked(key):
    with pytest.raises(TypeError, match="Approximation"):
        check(dist.Normal(0, 1), key=key)
