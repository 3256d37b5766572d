"""The line: every family against every other whose log density is linear in moments it knows."""

import dataclasses
import itertools
from collections.abc import Callable

import jax.numpy as jnp
import mpmath
import numpyro.distributions as dist
from mpmath import inf, log, loggamma, mpf, pi

from truths import laws
from truths.case import case, exact
from vi_kl.divergences.registry import CLOSED_FORMS


@dataclasses.dataclass(frozen=True)
class Family:
    """How to draw members of a family, and what each is in NumPyro and in 60 digits."""

    draw: Callable  # Draws -> parameters
    build: Callable  # parameters -> NumPyro distribution
    law: Callable  # parameters in mpmath -> Law
    charge: Callable | None = None  # (Law of p, mpmath parameters of q) -> cross-entropy


def positive(draw, low=-2, high=3):
    return 10 ** draw.rng.uniform(low, high)


def real(draw):
    return draw.rng.normal() * 10 ** draw.rng.uniform(-2, 2)


def loc_scale(draw):
    return real(draw), positive(draw, -2, 2)


def interval(draw):
    low = positive(draw, -2, 2) if draw.rng.random() < 0.7 else 0.0
    return low, low + positive(draw, -2, 2)


def positive_interval(draw):
    low = positive(draw, -2, 2)
    return low, low * (1 + positive(draw, -2, 3))


def normal_charge(p, loc, scale):
    if p.second() == inf:
        return inf
    return (p.second() - 2 * loc * p.mean() + loc**2) / (2 * scale**2) + log(2 * pi * scale**2) / 2


def log_normal_charge(p, loc, scale):
    if not p.positive:
        return inf
    square = p.log_second() - 2 * loc * p.log_mean() + loc**2
    return square / (2 * scale**2) + log(2 * pi * scale**2) / 2 + p.log_mean()


def gamma_charge(p, a, exponent, scale):
    if not p.positive or p.power(exponent) == inf:
        return inf
    mean_log = p.log_mean()
    log_density = log(abs(exponent)) - mean_log + a * exponent * (mean_log - log(scale)) - loggamma(a)
    return p.power(exponent) / scale**exponent - log_density


def gumbel_charge(p, loc, scale):
    mgf = p.mgf(-1 / scale)
    return inf if mgf == inf else log(scale) + (p.mean() - loc) / scale + mgf * mpmath.exp(loc / scale)


def laplace_charge(p, loc, left, right):
    above, below = p.above(loc), p.below(loc)
    return log(left + right) + above / right + below / left


def pareto_charge(p, low, rate):
    return inf if p.low < low else -log(rate) - rate * log(low) + (rate + 1) * p.log_mean()


def power_law_charge(p, low, high, exponent):
    if p.low < low or p.high > high:
        return inf
    if low <= 0:
        return log(high - low)
    return log(laws.PowerLaw(low, high, exponent).integral(exponent)) - exponent * p.log_mean()


def uniform_charge(p, low, high):
    return inf if p.low < low or p.high > high else log(high - low)


def quantile_scales(loc, scale, quantile):
    return loc, scale / (1 - quantile), scale / quantile


def of(law, charge=None, arguments=lambda *a: a):
    """The law and the charge of the same translated parameters."""
    return {
        "law": lambda *a: law(*arguments(*a)),
        "charge": charge and (lambda p, *a: charge(p, *arguments(*a))),
    }


def array_built(constructor):
    return lambda *a: constructor(*map(jnp.asarray, a))


def family(constructor, draw, **rest):
    return Family(draw, array_built(constructor), **rest)


FAMILIES = {
    dist.Normal: family(dist.Normal, loc_scale, **of(laws.Normal, normal_charge)),
    dist.Laplace: family(dist.Laplace, loc_scale, **of(laws.AsymmetricLaplace, laplace_charge, lambda m, s: (m, s, s))),
    dist.AsymmetricLaplace: family(
        dist.AsymmetricLaplace,
        lambda draw: (*loc_scale(draw), positive(draw, -1, 1)),
        **of(laws.AsymmetricLaplace, laplace_charge, lambda m, s, k: (m, s * k, s / k)),
    ),
    dist.AsymmetricLaplaceQuantile: family(
        dist.AsymmetricLaplaceQuantile,
        lambda draw: (*loc_scale(draw), draw.rng.uniform(0.02, 0.98)),
        **of(laws.AsymmetricLaplace, laplace_charge, quantile_scales),
    ),
    dist.Logistic: family(dist.Logistic, loc_scale, **of(laws.Logistic)),
    dist.SoftLaplace: family(dist.SoftLaplace, loc_scale, **of(laws.SoftLaplace)),
    dist.Gumbel: family(dist.Gumbel, loc_scale, **of(laws.Gumbel, gumbel_charge)),
    dist.Cauchy: family(dist.Cauchy, loc_scale, **of(laws.Cauchy)),
    dist.StudentT: family(dist.StudentT, lambda draw: (positive(draw, 0, 8), *loc_scale(draw)), **of(laws.StudentT)),
    dist.Uniform: family(dist.Uniform, interval, **of(laws.Uniform, uniform_charge)),
    dist.Gamma: family(
        dist.Gamma,
        lambda draw: (positive(draw, -3, 8), positive(draw, -3, 3)),
        **of(laws.GeneralizedGamma, gamma_charge, lambda a, b: (a, mpf(1), 1 / b)),
    ),
    dist.Exponential: family(
        dist.Exponential,
        lambda draw: (positive(draw, -3, 3),),
        **of(laws.GeneralizedGamma, gamma_charge, lambda b: (mpf(1), mpf(1), 1 / b)),
    ),
    dist.InverseGamma: family(
        dist.InverseGamma,
        lambda draw: (positive(draw, -3, 8), positive(draw, -3, 3)),
        **of(laws.GeneralizedGamma, gamma_charge, lambda a, b: (a, mpf(-1), b)),
    ),
    dist.Weibull: family(
        dist.Weibull,
        lambda draw: (positive(draw), positive(draw, -1, 3)),
        **of(laws.GeneralizedGamma, gamma_charge, lambda s, k: (mpf(1), k, s)),
    ),
    dist.HalfNormal: family(
        dist.HalfNormal,
        lambda draw: (positive(draw),),
        **of(laws.GeneralizedGamma, gamma_charge, lambda s: (mpf(1) / 2, mpf(2), s * mpmath.sqrt(2))),
    ),
    dist.LogNormal: family(
        dist.LogNormal, lambda draw: (draw.rng.normal(), positive(draw, -3, 1)), **of(laws.LogNormal, log_normal_charge)
    ),
    dist.Beta: family(dist.Beta, lambda draw: (positive(draw, -2, 5), positive(draw, -2, 5)), **of(laws.Beta)),
    dist.Kumaraswamy: family(
        dist.Kumaraswamy,
        lambda draw: (positive(draw, -1, 3), positive(draw, -1, 3)),
        **of(laws.Beta, None, lambda a, b: (mpf(1), b, a)),
    ),
    dist.HalfCauchy: family(
        dist.HalfCauchy,
        lambda draw: (positive(draw),),
        **of(laws.BetaPrime, None, lambda s: (mpf(1) / 2, mpf(1) / 2, mpf(2), s)),
    ),
    dist.Dagum: family(
        dist.Dagum,
        lambda draw: (positive(draw, -1, 4), positive(draw, -1, 2), positive(draw)),
        **of(laws.BetaPrime, None, lambda a, k, s: (a, mpf(1), k, s)),
    ),
    dist.Pareto: family(
        dist.Pareto, lambda draw: (positive(draw), positive(draw, -1, 3)), **of(laws.Pareto, pareto_charge)
    ),
    dist.LowerTruncatedPowerLaw: family(
        dist.LowerTruncatedPowerLaw,
        lambda draw: (-1 - positive(draw, -1, 3), positive(draw)),
        **of(laws.Pareto, pareto_charge, lambda k, low: (low, -1 - k)),
    ),
    dist.LogUniform: family(
        dist.LogUniform,
        positive_interval,
        **of(laws.PowerLaw, power_law_charge, lambda low, high: (low, high, mpf(-1))),
    ),
    dist.DoublyTruncatedPowerLaw: family(
        dist.DoublyTruncatedPowerLaw,
        lambda draw: (draw.rng.normal() * 3, *positive_interval(draw)),
        **of(laws.PowerLaw, power_law_charge, lambda k, low, high: (low, high, k)),
    ),
}


# one member of each as p and another as q, of few binary digits, such that most of the divergences are finite
MODERATE_P = {
    dist.Normal: (0.75, 1.25),
    dist.Laplace: (0.5, 0.375),
    dist.AsymmetricLaplace: (0.5, 0.375, 1.25),
    dist.AsymmetricLaplaceQuantile: (0.5, 0.25, 0.375),
    dist.Logistic: (-0.25, 0.625),
    dist.SoftLaplace: (0.625, 0.75),
    dist.Gumbel: (0.5, 0.875),
    dist.Cauchy: (0.5, 2.5),
    dist.StudentT: (5.5, 0.25, 1.5),
    dist.Uniform: (0.5, 1.5),
    dist.Gamma: (2.5, 1.75),
    dist.Exponential: (1.75,),
    dist.InverseGamma: (4.5, 2.25),
    dist.Weibull: (0.75, 1.625),
    dist.HalfNormal: (1.375,),
    dist.LogNormal: (0.25, 0.625),
    dist.Beta: (2.5, 1.375),
    dist.Kumaraswamy: (1.625, 2.5),
    dist.HalfCauchy: (0.75,),
    dist.Dagum: (2.5, 3.25, 0.75),
    dist.Pareto: (0.75, 6.5),
    dist.LowerTruncatedPowerLaw: (-7.25, 0.625),
    dist.LogUniform: (0.5, 1.75),
    dist.DoublyTruncatedPowerLaw: (1.5, 0.5, 1.625),
}
MODERATE_Q = {
    dist.Normal: (0.25, 2.25),
    dist.Laplace: (0.25, 1.375),
    dist.AsymmetricLaplace: (0.25, 1.375, 0.75),
    dist.AsymmetricLaplaceQuantile: (0.25, 1.25, 0.625),
    dist.Gumbel: (0.75, 1.75),
    dist.Gamma: (1.75, 1.375),
    dist.Exponential: (1.25,),
    dist.InverseGamma: (1.5, 1.25),
    dist.Weibull: (1.25, 0.625),  # light powers, so that a half-Cauchy has the moment
    dist.HalfNormal: (1.75,),
    dist.LogNormal: (0.5, 1.25),
    dist.Pareto: (0.375, 1.5),
    dist.LowerTruncatedPowerLaw: (-2.25, 0.25),
    dist.Uniform: (-0.25, 2.0),
    dist.LogUniform: (0.25, 2.0),
    dist.DoublyTruncatedPowerLaw: (0.75, 0.25, 2.0),
}


def near(draw, parameters):
    """The same parameters, moved a little, down to the last digits."""
    step = draw.relative_step()
    return [x * (1 + step * draw.rng.normal()) for x in parameters]


def around(draw, low, high):
    """Bounds of q around those of p, so that the divergence is finite; some of them the same."""
    share = draw.relative_step() * draw.rng.choice([0, 1], size=2)
    return low * (1 - min(share[0], 0.5)), high * (1 + share[1])


def parameter_pair(p_class, q_class, draw):
    """Unrelated parameters, or ones that make two members of one law nearly the same."""
    p = list(FAMILIES[p_class].draw(draw))
    q = list(FAMILIES[q_class].draw(draw))
    bounded = {dist.Uniform, dist.LogUniform, dist.DoublyTruncatedPowerLaw}
    if p_class is q_class and p_class not in bounded and draw.rng.random() < 0.7:
        q = near(draw, p)
    if {p_class, q_class} <= bounded and draw.rng.random() < 0.8:
        p[-2:] = [max(p[-2], 1e-2), p[-1] + 1e-2]
        q[-2:] = around(draw, *p[-2:])
        if p_class is q_class is dist.DoublyTruncatedPowerLaw:
            q[0] = near(draw, p)[0]
    if q_class in (dist.Pareto, dist.LowerTruncatedPowerLaw) and draw.rng.random() < 0.8:
        low = p[0] if p_class is dist.Pareto else p[-1] if p_class is dist.LowerTruncatedPowerLaw else p[-2]
        low = max(low, 1e-2)
        q[0 if q_class is dist.Pareto else -1] = low * (1 - min(draw.relative_step(), 0.5))
    return [draw.rounded(x) for x in p], [draw.rounded(x) for x in q]


def register_pair(p_class, q_class):
    @case(p_class, q_class)
    def by_moments(draw):
        p, q = parameter_pair(p_class, q_class, draw)
        law = FAMILIES[p_class].law(*map(exact, p))
        charge = FAMILIES[q_class].charge(law, *map(exact, q))
        truth = inf if charge == inf else charge - law.entropy()
        return FAMILIES[p_class].build(*p), FAMILIES[q_class].build(*q), truth


OTHERS_HAVE_CASES = {(dist.Normal, dist.Normal), (dist.Gamma, dist.Gamma), (dist.Beta, dist.Beta)}
for pair in itertools.product(FAMILIES, FAMILIES):
    if pair in CLOSED_FORMS and FAMILIES[pair[1]].charge and pair not in OTHERS_HAVE_CASES:
        register_pair(*pair)


def exponentials(p, q):
    """An exponential variable of rate p against one of rate q."""
    return log(p / q) + q / p - 1


def common_and_pair(draw, low=-1, high=3):
    common = draw.rounded(positive(draw))
    return common, *draw.positive_pair(low=low, high=high)


@case(dist.Kumaraswamy, dist.Kumaraswamy)
def kumaraswamys(draw):
    common, p, q = common_and_pair(draw)
    make = array_built(dist.Kumaraswamy)
    return make(common, p), make(common, q), exponentials(exact(p), exact(q))


@case(dist.Dagum, dist.Dagum)
def dagums(draw):
    common, p, q = common_and_pair(draw)
    make = array_built(dist.Dagum)
    return make(p, common, common), make(q, common, common), exponentials(exact(p), exact(q))


@case(dist.Gompertz, dist.Gompertz)
def gompertzs(draw):
    common, p, q = common_and_pair(draw)
    make = array_built(dist.Gompertz)
    return make(p, common), make(q, common), exponentials(exact(p), exact(q))


@case(dist.Levy, dist.Levy)
def levys(draw):
    common, p, q = common_and_pair(draw)
    make = array_built(dist.Levy)
    law = laws.GeneralizedGamma(mpf(1) / 2, mpf(-1), exact(p) / 2)
    truth = gamma_charge(law, mpf(1) / 2, mpf(-1), exact(q) / 2) - law.entropy()
    return make(common, p), make(common, q), truth


def shifted(draw):
    scale = draw.rounded(positive(draw))
    loc_p, loc_q = draw.loc_pair(scale)
    return scale, loc_p, loc_q, abs(exact(loc_p) - exact(loc_q)) / exact(scale)


@case(dist.Logistic, dist.Logistic)
def logistics(draw):
    scale, loc_p, loc_q, d = shifted(draw)
    make = array_built(dist.Logistic)
    return make(loc_p, scale), make(loc_q, scale), d * mpmath.coth(d / 2) - 2 if d else mpf(0)


@case(dist.SoftLaplace, dist.SoftLaplace)
def soft_laplaces(draw):
    scale, loc_p, loc_q, d = shifted(draw)
    make = array_built(dist.SoftLaplace)
    return make(loc_p, scale), make(loc_q, scale), 2 * log(mpmath.cosh(d / 2))


def cauchys_truth(loc_p, scale_p, loc_q, scale_q):
    return log(((scale_p + scale_q) ** 2 + (loc_p - loc_q) ** 2) / (4 * scale_p * scale_q))


@case(dist.Cauchy, dist.Cauchy)
def cauchys(draw):
    scales = draw.positive_pair(low=-4, high=4)
    locs = draw.loc_pair(scales[1])
    p, q = (dist.Cauchy(jnp.asarray(m), jnp.asarray(s)) for m, s in zip(locs, scales, strict=True))
    return p, q, cauchys_truth(exact(locs[0]), exact(scales[0]), exact(locs[1]), exact(scales[1]))


@case(dist.HalfCauchy, dist.HalfCauchy)
def half_cauchys(draw):
    p, q = draw.positive_pair(low=-4, high=4)
    truth = cauchys_truth(mpf(0), exact(p), mpf(0), exact(q))
    return dist.HalfCauchy(jnp.asarray(p)), dist.HalfCauchy(jnp.asarray(q)), truth
