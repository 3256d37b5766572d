"""Numbers as people read them: no digit that the error leaves open, and none that a float64 does not hold.

A number has as many digits as its error allows, and ten at most; an error too small to change the last of them is not
written. A divergence cannot be negative: an estimate that is, within its error, is written as 0 with that error, and
one that is negative beyond its error as what it is, which is impossible.
"""

import math

MOST_DIGITS = 10  # significant digits of a value, however small its error
MOST_DECIMALS = 5  # with more, errors are written as powers of ten
POSITIONAL = 1e-4, 1e15  # the sizes that are written without a power of ten
CONTRADICTION = 4.0  # standard errors below zero from which on a divergence contradicts its error
ROUNDING = 1e-6  # nats below zero that rounding explains where there is no error


def with_error(value: float, standard_error: float, digits: int = 2, most: int = MOST_DIGITS) -> str:
    """Return `value ± error`, with the error at `digits` significant digits and the value at the same place.

    Args:
        value: the number.
        standard_error: its error; 0 for none.
        digits: the significant digits of the error.
        most: the most significant digits of the value. If the error is less than half a unit of the last one, the
            value stands alone.
    """
    if not math.isfinite(value) or standard_error == 0:
        return significant(value, min(most, 6), zeros=False)
    if not math.isfinite(standard_error):
        error = "inf" if standard_error == math.inf else "unknown"
        return f"{significant(value, 4, zeros=False)} ± {error}"
    finest = most - 1 - exponent(value) if value else math.inf
    if standard_error < 0.5 * 10.0**-finest:
        return significant(value, most)
    decimals = min(digits - 1 - exponent(standard_error, digits), finest)
    return f"{at_place(value, decimals, standard_error)} ± {at_place(standard_error, decimals)}"


def divergence_with_error(value: float, standard_error: float, digits: int = 2, most: int = MOST_DIGITS) -> str:
    """Return `value ± error` of a number that cannot be negative.

    One below zero by no more than its error explains is written as 0; it errs by its distance from 0 at least.
    """
    if not value < 0:
        return with_error(value, standard_error, digits, most)
    if not contradicts_zero(value, standard_error):
        size = max(-value, standard_error)
        return with_error(0.0, size, digits if size == standard_error else 1, most)
    return f"{with_error(value, standard_error, digits, most)} (impossible)"


def contradicts_zero(value: float, standard_error: float) -> bool:
    """Return whether a divergence is further below zero than its error, or rounding, explains."""
    return value < -max(CONTRADICTION * standard_error, ROUNDING)


def significant(value: float, digits: int = 3, zeros: bool = True) -> str:
    """Write a number to that many significant digits; without `zeros`, those at the end of its decimals are left out.

    Whole digits are never rounded away: 123,456 at three digits is 123456.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value) or value == 0:
        return f"{value:g}".replace("-0", "0")
    low, high = POSITIONAL
    if not low <= abs(value) < high:
        number, power = f"{value:.{digits - 1}e}".split("e")
        return f"{number if zeros else without_zeros(number)}e{power}"
    number = f"{value:.{max(0, digits - 1 - exponent(value, digits))}f}"
    return number if zeros else without_zeros(number)


def at_place(value: float, decimals: int, beside: float = 0.0) -> str:
    """Write a number rounded to a decimal place, before the point if that is negative.

    Args:
        value: the number.
        decimals: the place.
        beside: an error beside which the number stands.
    """
    size = max(abs(value), beside)
    has_many_decimals = decimals > MOST_DECIMALS and (size < POSITIONAL[0] or not beside)
    if not has_many_decimals and size < POSITIONAL[1]:
        text = f"{round(value, decimals):.{max(0, decimals)}f}"
        return text if text.strip("-0.") else text.removeprefix("-")
    if abs(value) < 0.5 * 10.0**-decimals:
        return "0"
    return f"{value:.{max(0, decimals + exponent(value))}e}"


def exponent(value: float, digits: int = 15) -> int:
    """Return the power of ten of the first digit of a number that is not 0, rounded to so many digits."""
    return int(f"{value:.{digits - 1}e}".split("e")[1])


def without_zeros(number: str) -> str:
    """Return a written number without the zeros at the end of its decimals."""
    return number.rstrip("0").rstrip(".") if "." in number else number


def with_unit(number: str, unit: str) -> str:
    """Return a written number with its unit: "1 bit", "1.00 bits", and no unit at all for a plain number."""
    return f"{number} {unit.removesuffix('s') if number == '1' else unit}".rstrip()
