"""Numbers as people read them: the digits that are sure, and divergences that are not negative."""

import dataclasses
import math

import numpy as np
import pytest

from vi_kl.core.estimate import Estimate
from vi_kl.core.written_numbers import at_place, divergence_with_error, significant, with_error, with_unit


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.69314, 0.00042, "0.69314 ± 0.00042"),
        (1391.2, 11.0, "1391 ± 11"),
        (1391.2, 110.0, "1390 ± 110"),
        (3.0, 0.0, "3"),
        (0.9189385332046727, 2e-18, "0.9189385332"),
        (-0.9189385332046727, 2e-18, "-0.9189385332"),
        (0.5, 1e-16, "0.5000000000"),
        (0.6931471801, 3e-9, "0.6931471801 ± 3.0e-09"),
        (3e-9, 1e-10, "3.00e-09 ± 1.0e-10"),
        (1e-12, 3e-9, "0 ± 3.0e-09"),
        (-1e-12, 3e-9, "0 ± 3.0e-09"),
        (0.0001, 0.5, "0.00 ± 0.50"),
        (0.3, 0.0996, "0.30 ± 0.10"),
        (1e31, 1e30, "1.00e+31 ± 1.0e+30"),
        (1234567.8, 0.0, "1234568"),
        (1e300, 1e280, "1.000000000e+300"),
        (1e-300, 1e-301, "1.00e-300 ± 1.0e-301"),
        (math.inf, 0.0, "inf"),
        (-math.inf, 0.0, "-inf"),
        (math.nan, 0.1, "NaN"),
        (1.5, math.inf, "1.5 ± inf"),
        (1.5, math.nan, "1.5 ± unknown"),
        (0.0, 0.0, "0"),
    ],
)
def test_a_number_has_the_digits_that_its_error_allows(value, error, text):
    assert with_error(value, error) == text


def test_what_is_written_is_the_number_within_its_error_and_holds_no_more_digits_than_ten():
    rng = np.random.default_rng(0)
    values, sizes = rng.normal(size=2000) * 10.0 ** rng.uniform(-12, 12, 2000), rng.uniform(-20, 3, 2000)
    for value, size in zip(values, sizes, strict=True):
        error = abs(value) * 10.0**size
        number, _, shown = with_error(value, error).partition(" ± ")
        assert abs(float(number) - value) <= 0.5 * error + 0.51e-9 * abs(value)
        if shown:
            assert float(shown) == pytest.approx(error, rel=1.0)
        else:  # the error is below half a unit of the tenth digit
            assert error <= 0.51e-8 * abs(value)
        if abs(value) < 1e9:
            assert len(number.split("e")[0].lstrip("-0.").replace(".", "")) <= 11


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.0123, 0.0004, "0.0123 ± 0.0004"),
        (-0.0003, 0.0004, "0.0000 ± 0.0004"),
        (-0.001, 0.0004, "0.000 ± 0.001"),
        (-0.003, 0.0004, "-0.0030 ± 0.0004 (impossible)"),
        (-1e-17, 0.0, "0 ± 1e-17"),
        (-1e-17, 2e-16, "0 ± 2e-16"),
        (-0.5, 0.0, "-0.5 (impossible)"),
        (-math.inf, 0.0, "-inf (impossible)"),
        (-0.0, 0.0, "0"),
        (math.inf, 0.0, "inf"),
        (math.nan, 0.0, "NaN"),
    ],
)
def test_a_divergence_is_below_zero_only_where_that_contradicts_its_error(value, error, text):
    assert divergence_with_error(value, error, digits=1) == text


def test_an_estimate_keeps_its_value_however_it_is_written():
    estimate = Estimate(-0.0003, 0.0004, "Monte Carlo")
    shown = estimate.as_divergence()
    assert str(estimate) == "-0.00030 ± 0.00040 nats (Monte Carlo)"  # an ELBO may be negative
    assert str(shown) == "0.00000 ± 0.00040 nats (Monte Carlo)"
    assert isinstance(shown, Estimate)
    assert (shown.value, shown.to("bits").value) == (-0.0003, -0.0003 / math.log(2))
    assert shown.to_dict() == estimate.to_dict()
    assert shown.to_dict()["value"] == -0.0003
    assert Estimate(**shown.to_dict()) == estimate
    assert str(dataclasses.replace(shown, method="a")) == "0.00000 ± 0.00040 nats (a)"
    assert str(shown.to("bits")).startswith("0.00000 ± 0.00058 bits")
    assert str(shown.minus(Estimate(1.0, 0.1), "difference")).startswith("-1.00 ± 0.10")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.00"), (0.0173, "0.0173"), (0.025, "0.0250"), (112.0, "112"), (1234.5, "1234"), (99.97, "100"),
        (0.9996, "1.00"), (1e-5, "1.00e-05"), (1e20, "1.00e+20"), (0.0, "0"), (-0.0, "0"), (math.inf, "inf"),
        (math.nan, "NaN"), (-0.1, "-0.100"),
    ],
)  # fmt: skip
def test_significant_digits(value, text):
    assert significant(value) == text


def test_zeros_and_units():
    assert significant(0.5, zeros=False) == "0.5"
    assert significant(100.0, zeros=False) == "100"
    assert significant(1e20, zeros=False) == "1e+20"
    assert at_place(-0.0004, 2) == "0.00"
    assert with_unit("1", "bits") == "1 bit"
    assert with_unit("1.00", "nats") == "1.00 nats"
    assert with_unit("0", "bits") == "0 bits"
    assert with_unit("1", "") == "1"
    assert str(Estimate(1.0)) == "1 nat (closed form)"
