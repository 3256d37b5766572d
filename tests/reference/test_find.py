"""The best source of truth for each kind of target, and a truth that needs no maker twice."""

import copy
import time
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest
from programs import exponential_rate
from scipy.special import gammaln

from vi_kl.demo.worms import models as worms
from vi_kl.reference import UntrustworthyReference, find_reference
from vi_kl.targets import Target

Y = np.array([0.4, 1.3, 0.9, 0.1])


def log_gammas(z):
    """Independent log-gammas of shape 3: skewed, and the log evidence is log Gamma(3) for each."""
    return jnp.sum(3 * z - jnp.exp(z))


def test_what_the_target_knows_comes_first():
    target = worms.binomial()
    assert find_reference(target) is target.reference


def test_a_normal_posterior_is_recognised():
    reference = find_reference(Target.from_log_density(lambda z: -0.5 * jnp.sum((z - 1) ** 2), 30))
    assert reference.normal is not None
    assert reference.log_evidence.value == pytest.approx(15 * np.log(2 * np.pi), abs=1e-9)


def test_few_dimensions_are_integrated_and_the_target_remembers():
    target = Target.from_numpyro(exponential_rate, Y, reference=find_reference)
    reference = target.reference
    a, b = 3 + len(Y), 2 + Y.sum()
    assert reference.source == "quadrature"
    assert reference.log_evidence.value == pytest.approx(
        3 * np.log(2) - gammaln(3) + gammaln(a) - a * np.log(b), abs=1e-6
    )
    assert target.reference is reference


@pytest.mark.exhaustive
def test_many_dimensions_take_a_reference_run():
    reference = find_reference(Target.from_log_density(log_gammas, 4), num_draws=1000)
    assert reference.source == "reference run"
    assert abs(reference.log_evidence.value - 4 * gammaln(3)) < 4 * reference.log_evidence.standard_error
    assert reference.log_evidence.agrees_with(reference.second_opinion, 4.0)
    assert reference.complaints == ()


@pytest.mark.landing
def test_a_run_that_fails_its_checks_is_no_truth():
    with pytest.raises(UntrustworthyReference, match="effective sample size"):
        find_reference(Target.from_log_density(log_gammas, 4), num_warmup=100, num_draws=100)


def test_a_maker_that_fails_is_asked_again():
    calls = []

    def maker(target):
        calls.append(target.reference)
        raise RuntimeError("not today")

    target = Target.from_log_density(log_gammas, 1, reference=maker)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not today"):
            _ = target.reference
    assert calls == [None, None]  # while it is being made, nothing is known


def test_threads_wait_for_a_truth_that_is_being_made():
    def slowly(target):
        time.sleep(0.3)
        return "known"

    target = Target.from_log_density(log_gammas, 1, reference=slowly)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: target.reference, range(4))) == {"known"}
    assert copy.deepcopy(target).reference == "known"
