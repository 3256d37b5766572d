"""Words that claim no more than the figures: modes, places beside modes, infinite divergences, broken densities."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diagnostics.members import full_rank, normal_on_line, two_modes

from vi_kl.core.estimate import Estimate
from vi_kl.diagnostics import check
from vi_kl.diagnostics.density import density_excess
from vi_kl.diagnostics.evidence import Draws
from vi_kl.families import Approximation, Delta
from vi_kl.reference import Moments, ReferencePosterior, reference_by_quadrature
from vi_kl.targets import Target


def standard_normal(z):
    return -0.5 * jnp.sum(z**2)


def known_normal(dim: int) -> ReferencePosterior:
    def sample(key, n):
        return np.random.default_rng(np.asarray(jax.random.key_data(key))).standard_normal((n, dim))

    evidence = Estimate(0.5 * dim * np.log(2 * np.pi))
    return ReferencePosterior(evidence, {"z": Moments(np.zeros(dim), np.ones(dim))}, sample)


@pytest.mark.landing
def test_a_narrow_q_in_many_dimensions_misses_no_mode(key):
    target = Target.from_log_density(standard_normal, 50, reference=known_normal(50))
    c = check(full_rank(target, np.zeros(50), 0.49 * np.eye(50)), key=key)
    assert c.coverage < 0.9
    assert not c.misses_mode
    assert "mode is missing" not in c.verdict
    assert "too narrow" in c.verdict


def test_a_q_beside_the_only_mode_misses_no_other(key):
    c = check(normal_on_line(Target.from_log_density(standard_normal, 1), 2.0, 0.1), key=key)
    assert c.is_beside
    assert not c.misses_mode
    assert "q sits beside a mode" in c.verdict
    assert "another start" in c.try_next[0]
    assert c.limits.lower > 1.0


def test_a_part_that_holds_q_is_not_counted_twice(key):
    """A spike and a wide neighbour whose ellipsoid holds the spike: evidence 1, half of it in each."""

    def spiked(z):
        spike = -0.5 * (z[0] / 0.01) ** 2 - jnp.log(0.01)
        return jnp.logaddexp(spike, -0.5 * (z[0] - 1.0) ** 2) - jnp.log(2.0) - 0.5 * jnp.log(2 * jnp.pi)

    c = check(normal_on_line(Target.from_log_density(spiked, 1), 0.0, 0.0101), key=key)
    assert len(c.missed_modes) == 1
    assert c.missed_share == pytest.approx(0.5, abs=0.03)
    assert 0.5 < c.limits.lower <= math.log(2)
    if c.reverse_kl is not None:
        assert abs(c.log_evidence.value) < 4 * c.log_evidence.standard_error


@pytest.mark.parametrize("sds", [(1e6, 1.0), (1.0, 1e-6), (10.0, 1e-7)])
def test_badly_scaled_posteriors_raise_no_false_alarm(sds, key):
    scales = jnp.asarray(np.array(sds))
    target = Target.from_log_density(lambda z, s: -0.5 * jnp.sum((z / s) ** 2), 2, data=scales)
    q = full_rank(target, np.zeros(2), np.diag(np.square(sds)))
    assert density_excess(q, Draws(q, key, 4096), key) == 0.0
    assert check(q, key=key).contradictions == ()


def test_where_the_posterior_has_no_density_the_divergence_is_infinite(key):
    cut = Target.from_log_density(lambda z: jnp.where(z[0] > -3, -0.5 * z[0] ** 2, -jnp.inf), 1)
    c = check(normal_on_line(cut, 0.0, 1.0), key=key)
    assert c.reverse_kl.value == math.inf
    assert c.label == "exact"
    assert c.outside_support == pytest.approx(0.00135, abs=0.001)
    assert "infinite" in c.verdict
    assert json.loads(json.dumps(c.to_dict(), allow_nan=False))["reverse_kl"]["value"] is None
    nowhere = check(normal_on_line(cut, -9.0, 0.1), key=key)
    assert nowhere.outside_support == 1
    assert nowhere.evidence_limits.lower == -math.inf
    assert "infinite" in str(nowhere)


@pytest.mark.parametrize("reference", [None, known_normal(1)], ids=["without", "with"])
def test_a_point_is_infinitely_far_and_that_is_said_in_one_sentence(reference, key):
    target = Target.from_log_density(standard_normal, 1)
    c = check(Approximation(Delta(), {"loc": np.zeros(1)}, target), reference, key=key)
    assert c.reverse_kl.value == math.inf
    assert c.elbo.value == -math.inf
    assert c.label == "exact"
    assert c.verdict.count(".") == 1
    assert "q is a point, which has no density, so KL(q||posterior) is infinite" in c.verdict
    assert "laplace" in c.try_next[0]
    assert json.loads(json.dumps(c.to_dict(), allow_nan=False))["is_point"] is True
    assert "infinite" in str(c)


def test_a_density_that_is_nan_is_refused_with_its_reason(key):
    broken = Target.from_log_density(lambda z: jnp.where(z[0] > 2, jnp.nan, -0.5 * z[0] ** 2), 1)
    with pytest.raises(ValueError, match="NaN or infinite at"):
        check(normal_on_line(broken, 0.0, 1.0), key=key)
    with pytest.raises(ValueError, match="at least 500"):
        check(normal_on_line(Target.from_log_density(standard_normal, 1), 0.0, 1.0), key=key, num_draws=100)


def test_a_truth_of_another_target_is_refused(key):
    other = dataclasses.replace(known_normal(1), moments={"mu": Moments(np.zeros(1), np.ones(1))})
    with pytest.raises(ValueError, match="The reference is of sites"):
        check(normal_on_line(Target.from_log_density(standard_normal, 1), 0.0, 1.0), other, key=key)


def test_draws_of_another_posterior_contradict_the_evidence(key):
    """The truth of N(5, 1) handed over for N(0, 1), whose evidence is the same."""
    shifted = dataclasses.replace(
        known_normal(1),
        moments={"z": Moments(np.full(1, 5.0), np.ones(1))},
        sample=lambda key, n: 5 + known_normal(1).sample(key, n),
    )
    c = check(normal_on_line(Target.from_log_density(standard_normal, 1), 0.0, 1.2), shifted, key=key)
    assert c.label == "unknown"
    assert "not this posterior's" in c.verdict


def chains_of(target: Target, length: int = 1000, **changes) -> ReferencePosterior:
    """A reference run that is in fact exact draws."""
    known = target.reference
    z = np.asarray(known.sample(jax.random.key(9), 4 * length)).reshape(4, length, target.dim)
    evidence = dataclasses.replace(known.log_evidence, standard_error=0.002, method="bridge")
    return dataclasses.replace(known, log_evidence=evidence, chains=z, source="reference run", **changes)


def test_the_label_of_a_reference_run(key):
    target = Target.from_log_density(standard_normal, 2)
    target = target.with_reference(known_normal(2))
    good = full_rank(target, np.zeros(2), np.eye(2))
    certified = check(good, chains_of(target), key=key)
    assert certified.label == "certified"
    assert certified.climbs > 0
    noisy = chains_of(target)
    noisy = dataclasses.replace(noisy, log_evidence=Estimate(noisy.log_evidence.value - 0.02, 0.015, "bridge"))
    assert check(good, noisy, key=key).label == "certified"  # a negative point estimate is noise, not a reason
    complained = check(good, chains_of(target, complaints=("R-hat is 1.5.",)), key=key)
    assert complained.label == "unknown"
    assert "R-hat is 1.5." in complained.verdict
    assert "passes its checks" in complained.try_next[0]


def test_chains_that_missed_a_mode_are_contradicted_by_climbs(key):
    """Draws of one mode, the evidence of one mode, q on it: everything agrees, except what climbs find."""
    target = Target.from_log_density(two_modes, 1)
    half = Target.from_log_density(standard_normal, 1, reference=known_normal(1))
    c = check(normal_on_line(target, 0.0, 1.02), chains_of(half), key=key)
    assert c.forward_kl.value < 0.01
    assert c.label == "unknown"
    assert "misses a part of the posterior" in c.verdict
    assert "A mode is missing" in c.verdict


def test_json_has_no_nan_and_says_which_unit(key):
    target = Target.from_log_density(standard_normal, 1, reference=reference_by_quadrature)
    c = check(normal_on_line(target, 0.1, 1.0), key=key)
    found = json.loads(json.dumps(c.to("bits").to_dict(), allow_nan=False))
    assert found["reverse_kl"]["unit"] == "bits"
    assert found["limits"]["unit"] == "bits"
    assert found["errors"]["correlation"] is None
    assert c.to("bits").verdict == c.verdict
