"""Truncated distributions: by the distribution functions and, for normals, Nielsen's formula, in many digits.

Distribution functions that nearly agree are subtracted, so they are needed in more than 60 digits: enough for
intervals of 1e-13 of a scale at hundreds of scales from the middle.
"""

import itertools

import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
from mpmath import inf, mpf

from truths.case import case, exact

WIDE = 150  # digits, where distribution functions are subtracted
TRUNCATED = {
    dist.LeftTruncatedDistribution: (True, False),  # whether it has a low end, and a high one
    dist.RightTruncatedDistribution: (False, True),
    dist.TwoSidedTruncatedDistribution: (True, True),
}


def normal_below(z):
    return mpmath.erfc(-z / mpmath.sqrt(2)) / 2


def laplace_below(z):
    return mpmath.exp(z) / 2 if z < 0 else 1 - mpmath.exp(-z) / 2


def logistic_below(z):
    return 1 / (1 + mpmath.exp(-z))


def cauchy_below(z):
    return mpf(1) / 2 + mpmath.atan(z) / mpmath.pi


def soft_laplace_below(z):
    return 2 / mpmath.pi * mpmath.atan(mpmath.exp(z))


def student_t_below(z, df):
    tail = mpmath.betainc(df / 2, mpf(1) / 2, 0, df / (df + z * z), regularized=True) / 2
    return tail if z < 0 else 1 - tail


# base -> its standard distribution function
BELOW = {
    dist.Laplace: laplace_below,
    dist.Logistic: logistic_below,
    dist.Cauchy: cauchy_below,
    dist.SoftLaplace: soft_laplace_below,
    dist.StudentT: student_t_below,
}


def mass(below, low, high, *shape):
    """The probability of an interval; towards the upper tail by symmetry."""
    if low + high > 0:
        low, high = -high, -low
    ends = (mpf(0) if z == -inf else mpf(1) if z == inf else below(z, *shape) for z in (low, high))
    start, end = ends
    return end - start


def is_nested(low_p, high_p, low_q, high_q):
    return low_q <= low_p and high_p <= high_q


def of_one_base(below, loc, scale, low_p, high_p, low_q, high_q, *shape):
    if not is_nested(low_p, high_p, low_q, high_q):
        return inf
    digits = 80 if shape else WIDE  # the incomplete beta function is slow; heavy tails need fewer
    with mpmath.workdps(digits):
        ends = [(end - loc) / scale for end in (low_p, high_p, low_q, high_q)]
        return mpmath.log(mass(below, *ends[2:], *shape) / mass(below, *ends[:2], *shape))


def truncated_normals(loc_p, scale_p, low_p, high_p, loc_q, scale_q, low_q, high_q):
    """Nielsen (2022): from the mean and the second moment of the truncated p."""
    if not is_nested(low_p, high_p, low_q, high_q):
        return inf
    with mpmath.workdps(WIDE):
        low, high = (low_p - loc_p) / scale_p, (high_p - loc_p) / scale_p
        mass_p = mass(normal_below, low, high)
        mass_q = mass(normal_below, (low_q - loc_q) / scale_q, (high_q - loc_q) / scale_q)
        mean = (density(low) - density(high)) / mass_p
        square = 1 + (moment(low) - moment(high)) / mass_p
        shift = loc_p - loc_q
        charge = (scale_p**2 * square + 2 * scale_p * shift * mean + shift**2) / scale_q**2
        return mpmath.log(mass_q / mass_p) + mpmath.log(scale_q / scale_p) + (charge - square) / 2


def truncated_normal_entropy(loc, scale, low, high):
    with mpmath.workdps(WIDE):
        low, high = (low - loc) / scale, (high - loc) / scale
        mass_p = mass(normal_below, low, high)
        square = 1 + (moment(low) - moment(high)) / mass_p
        return mpmath.log(scale * mpmath.sqrt(2 * mpmath.pi) * mass_p) + square / 2


def density(z):
    return mpf(0) if abs(z) == inf else mpmath.npdf(z)


def moment(z):
    return mpf(0) if abs(z) == inf else z * mpmath.npdf(z)


def intervals(draw, loc, scale, ends_p, ends_q):
    """p's interval, from narrow to wide and up to hundreds of scales from the middle, and q's, mostly wider."""
    rng = draw.rng
    low = loc + scale * rng.normal() * 10 ** rng.uniform(-1, 1.5)
    high = low + scale * 10 ** rng.uniform(-2, 1.5)
    low, high = draw.rounded(low), draw.rounded(high)
    high = high if high > low else np.nextafter(low, draw.rounded(np.inf))
    steps = scale * 10 ** rng.uniform(-11, 1, 2) * rng.choice([0.0, 1.0, -0.01], 2, p=[0.3, 0.65, 0.05])
    wider = draw.rounded(low - steps[0]), draw.rounded(high + steps[1])
    infinite = draw.rounded(-np.inf), draw.rounded(np.inf)
    return [
        [end if has else unbounded for end, has, unbounded in zip(pair, ends, infinite, strict=True)]
        for pair, ends in (((low, high), ends_p), (wider, ends_q))
    ]


def build(truncated, base, interval):
    ends = {
        name: jnp.asarray(end)
        for name, end, has in zip(("low", "high"), interval, TRUNCATED[truncated], strict=True)
        if has
    }
    return truncated(base, **ends)


def base_law(base, *parameters):
    """With the parameters' order that these formulas use: location, scale, then the degrees of freedom."""
    arrays = [jnp.asarray(parameter) for parameter in parameters]
    return base(*arrays[2:], *arrays[:2])


def normal_parameters(draw):
    """Near-equal, one of the two equal, or unrelated."""
    loc, scale = draw.rng.normal() * 10 ** draw.rng.uniform(-2, 1), 10 ** draw.rng.uniform(-1.5, 1.5)
    changes = draw.relative_step() * draw.rng.normal(size=2) * (draw.rng.random(2) < 0.8)
    other = loc + scale * changes[0], scale * np.exp(changes[1])
    if draw.rng.random() < 0.25:
        other = draw.rng.normal() * 3, 10 ** draw.rng.uniform(-1.5, 1.5)
    return [draw.rounded(x) for x in (loc, scale)], [draw.rounded(x) for x in other]


def normals(p_class, q_class):
    ends_q = TRUNCATED.get(q_class, (False, False))

    def truncations_of_normals(draw):
        first, second = normal_parameters(draw)
        interval_p, interval_q = intervals(draw, *map(float, first), TRUNCATED[p_class], ends_q)
        p, q = base_law(dist.Normal, *first), base_law(dist.Normal, *second)
        numbers = [exact(x) for x in (*first, *interval_p, *second, *interval_q)]
        return (
            build(p_class, p, interval_p),
            build(q_class, q, interval_q) if any(ends_q) else q,
            truncated_normals(*numbers),
        )

    return truncations_of_normals


def one_base(p_class, q_class, bases):
    ends_q = TRUNCATED.get(q_class, (False, False))

    def truncations_of_one_base(draw):
        base = bases[draw.rng.integers(len(bases))]
        loc, scale = (draw.rounded(x) for x in (draw.rng.normal(), 10 ** draw.rng.uniform(-1.5, 1.5)))
        shape = [draw.rounded(10 ** draw.rng.uniform(-1, 2))] if base is dist.StudentT else []
        interval_p, interval_q = intervals(draw, float(loc), float(scale), TRUNCATED[p_class], ends_q)
        law = base_law(base, loc, scale, *shape)
        truth = of_one_base(BELOW[base], *(exact(x) for x in (loc, scale, *interval_p, *interval_q, *shape)))
        return build(p_class, law, interval_p), build(q_class, law, interval_q) if any(ends_q) else law, truth

    return truncations_of_one_base


for p_class, q_class in itertools.product(TRUNCATED, TRUNCATED):
    case(p_class, q_class)(normals(p_class, q_class))
    case(p_class, q_class)(one_base(p_class, q_class, list(BELOW)))
for p_class in TRUNCATED:
    case(p_class, dist.Normal)(normals(p_class, dist.Normal))
    for base in BELOW:
        case(p_class, base)(one_base(p_class, base, [base]))


def with_entropy(truncated, loc, scale, **ends):
    """A truncated normal of few binary digits, with its entropy."""
    exactly = [mpf(x) for x in (loc, scale, ends.get("low", -inf), ends.get("high", inf))]
    base = dist.Normal(np.float64(loc), np.float64(scale))
    p = truncated(base, **{name: np.float64(end) for name, end in ends.items()})
    return p, lambda: truncated_normal_entropy(*exactly)


ENTROPY_TRUTHS = {
    dist.LeftTruncatedDistribution: lambda: with_entropy(dist.LeftTruncatedDistribution, 0.5, 2.0, low=40.25),
    dist.RightTruncatedDistribution: lambda: with_entropy(dist.RightTruncatedDistribution, 0.5, 0.25, high=0.75),
    dist.TwoSidedTruncatedDistribution: lambda: with_entropy(
        dist.TwoSidedTruncatedDistribution, -1.0, 4.0, low=-3.0, high=9.5
    ),
}
