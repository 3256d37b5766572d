"""Estimates: units, intervals, agreement, and how they read."""

import math

import pytest

from vi_kl.core.estimate import Estimate


def test_bits_and_nats():
    one_bit = Estimate(math.log(2), 0.01, "closed form", "nats").to("bits")
    assert one_bit.value == pytest.approx(1.0)
    assert one_bit.standard_error == pytest.approx(0.01 / math.log(2))
    assert one_bit.to("nats").value == pytest.approx(math.log(2))


def test_difference_adds_independent_errors_and_converts_units():
    difference = Estimate(1.0, 0.3, "a").minus(Estimate(1 / math.log(2), 0.4 / math.log(2), "b", "bits"), "gap")
    assert difference.value == pytest.approx(0.0)
    assert difference.standard_error == pytest.approx(0.5)


def test_interval_is_gaussian():
    low, high = Estimate(2.0, 0.5, "Monte Carlo").interval(0.95)
    assert (low, high) == pytest.approx((2 - 0.5 * 1.959964, 2 + 0.5 * 1.959964))


def test_agreement_is_counted_in_combined_errors():
    a = Estimate(1.0, 0.1, "a")
    assert a.agrees_with(Estimate(1.41, 0.1, "b"))
    assert not a.agrees_with(Estimate(1.45, 0.1, "b"))
    assert not a.agrees_with(Estimate(0.55, 0.1, "b"))


@pytest.mark.parametrize("bad", [{"unit": "bytes"}, {"standard_error": -1.0}])
def test_nonsense_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Estimate(1.0, **bad)
    with pytest.raises(ValueError, match="bits"):
        Estimate(1.0, 0.0, "", "").to("bits")


def test_few_degrees_of_freedom_widen_the_interval():
    """Student's t quantile with 15 degrees of freedom, from a table: 2.131."""
    low, high = Estimate(2.0, 0.5, "16 sequences", degrees_of_freedom=15).interval(0.95)
    assert (low, high) == pytest.approx((2 - 0.5 * 2.13145, 2 + 0.5 * 2.13145), rel=1e-5)
    with pytest.raises(ValueError, match="degrees_of_freedom"):
        Estimate(1.0, degrees_of_freedom=0)


def test_what_is_known_of_an_estimate_stays_with_it():
    estimate = Estimate(1.0, 0.1, "Monte Carlo", num_draws=100, k_hat=0.3, caveat="Modes go unseen.")
    bits = estimate.to("bits")
    assert (bits.num_draws, bits.k_hat, bits.caveat) == (100, 0.3, "Modes go unseen.")
    assert bits.to_dict()["caveat"] == "Modes go unseen."
    assert str(estimate) == "1.00 ± 0.10 nats (Monte Carlo)"
    plain = Estimate(1.0)
    assert (plain.num_draws, plain.k_hat, plain.caveat, plain.degrees_of_freedom) == (None, None, "", None)


def test_a_difference_keeps_both_caveats_and_combines_degrees_of_freedom():
    """Welch and Satterthwaite: two equal variances of 15 degrees each have 30 together, with an exact one 60."""
    few = Estimate(1.0, 0.3, "a", caveat="One.", degrees_of_freedom=15)
    other = Estimate(2.0, 0.3, "b", caveat="Two.", degrees_of_freedom=15)
    assert few.minus(other, "gap").degrees_of_freedom == pytest.approx(30)
    assert few.minus(other, "gap").caveat == "One. Two."
    assert few.minus(Estimate(2.0, 0.3, "c", caveat="One."), "gap").degrees_of_freedom == pytest.approx(60)
    assert few.minus(few, "gap").caveat == "One."
    assert Estimate(1.0, 0.1, "a").minus(Estimate(1.0, 0.1, "b"), "gap").degrees_of_freedom is None
