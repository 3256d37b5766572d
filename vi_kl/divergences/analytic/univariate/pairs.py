"""The pairs of different families on the line: their divergences by moments.

Every family whose moments are known meets every family whose log density is linear in them. A family against
itself, or against another name of the same law, has a form of its own that comes first.
"""

import functools
import inspect
import itertools

import jax.numpy as jnp
import numpyro.distributions as dist

from vi_kl.divergences.analytic.positive import gamma_kl
from vi_kl.divergences.analytic.real_line import normal_kl
from vi_kl.divergences.analytic.univariate import against, families, log_laws, same_family
from vi_kl.divergences.analytic.univariate.families import LOG_LAWS, REAL_LAWS
from vi_kl.divergences.analytic.univariate.moments import of_exp
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import CLOSED_FORMS, ENTROPIES, closed_form, closed_form_entropy

POSITIVE_POWERS = {
    dist.Gamma: families.gamma,
    dist.Exponential: families.exponential,
    dist.Weibull: families.weibull,
    dist.HalfNormal: families.half_normal,
}
LAPLACES = {
    dist.Laplace: families.laplace,
    dist.AsymmetricLaplace: families.asymmetric_laplace,
    dist.AsymmetricLaplaceQuantile: families.asymmetric_laplace_quantile,
}
PARETOS = {dist.Pareto: families.pareto, dist.LowerTruncatedPowerLaw: families.lower_truncated_power_law}
TILTED = {
    dist.LogUniform: families.log_uniform,
    dist.DoublyTruncatedPowerLaw: families.doubly_truncated_power_law,
    dist.Uniform: families.uniform,
}
# the moment that q needs diverges for every p
ENDLESS = {
    *itertools.product([dist.Cauchy], [dist.Normal, dist.Gumbel, *LAPLACES]),
    *itertools.product([dist.HalfCauchy], [dist.Normal, dist.Gamma, dist.Exponential, dist.HalfNormal]),
    *itertools.product([dist.HalfCauchy, dist.HalfNormal, dist.Exponential], [dist.InverseGamma]),
    (dist.StudentT, dist.Gumbel),
}


def register(p_class, q_class, form, by):
    """Register a form for two classes, unless the pair has a form already."""
    if (p_class, q_class) not in CLOSED_FORMS:
        closed_form(p_class, q_class, by=by)(form)


def register_family(members, divergence):
    """Register one law under several names: any two of them by the form for two parameter lists."""
    for p_class, q_class in itertools.product(members, members):

        def form(p, q, translate_p=members[p_class], translate_q=members[q_class]):
            return divergence(*translate_p(p), *translate_q(q))

        register(p_class, q_class, form, "closed form")


def register_moments(laws, targets, transform=None):
    """Register each law against each target, a pair (function in `against`, translation of q's parameters)."""
    for p_class, q_class in itertools.product(laws, targets):
        (law, translate_p), (charge, translate_q) = laws[p_class], targets[q_class]
        program = moment_program(law, transform, charge)

        def form(p, q, program=program, translate_p=translate_p, translate_q=translate_q):
            return program(*translate_p(p), *translate_q(q))

        register(p_class, q_class, form, "infinite" if (p_class, q_class) in ENDLESS else "moments")


@functools.cache
def moment_program(law, transform, charge):
    """Return one compiled program for all the families that are the same law."""
    size = len(inspect.signature(law).parameters)
    others = len(inspect.signature(charge).parameters) - 1

    @computed_in_float64(*[0] * (size + others))
    def divergence(*arrays):
        moments = law(*arrays[:size])
        return charge(transform(moments) if transform else moments, *arrays[size:])

    return divergence


def gamma_target(p, concentration, power, numerator, denominator):
    return against.generalized_gamma(p, concentration, power, jnp.log(numerator) - jnp.log(denominator))


def gumbel_target(p, loc, scale):
    """Return KL to a Gumbel, for which exp(-(y - loc) / scale) is exponential."""
    return against.generalized_gamma(p, jnp.ones_like(scale), -1 / scale, loc)


def laplace_target(p, loc, scale, u, v, w):
    return against.asymmetric_laplace(p, loc, *families.laplace_scales(scale, u, v, w))


register_family({dist.InverseGamma: lambda p: (p.concentration, p.rate)}, gamma_kl)
register_family({dist.LogNormal: families.loc_scale}, normal_kl)
register_family(POSITIVE_POWERS, same_family.generalized_gamma_kl)
register_family(LAPLACES, same_family.asymmetric_laplace_kl)
register_family(PARETOS, same_family.pareto_kl)
register_family(TILTED, same_family.tilted_kl)

LOG_TARGETS = {
    dist.LogNormal: (against.normal, families.loc_scale),
    dist.InverseGamma: (gamma_target, families.inverse_gamma),
    **{family: (gamma_target, translate) for family, translate in POSITIVE_POWERS.items()},
}
LIGHT_TAILED = (dist.Normal, *LAPLACES, dist.Logistic, dist.SoftLaplace, dist.Uniform, dist.Gamma, dist.Exponential)
HEAVY_TAILED = (dist.Cauchy, dist.StudentT)  # KL to a Gumbel is infinite
WITH_PARTIAL_MEANS = (dist.Normal, dist.Logistic, dist.Gumbel, dist.Uniform, dist.Exponential, dist.Cauchy)

register_moments(LOG_LAWS, LOG_TARGETS)
register_moments(REAL_LAWS, {dist.Normal: (against.normal, families.loc_scale)})
register_moments(LOG_LAWS, {dist.Normal: (against.normal, families.loc_scale)}, of_exp)
register_moments(
    {p: REAL_LAWS[p] for p in LIGHT_TAILED + HEAVY_TAILED}, {dist.Gumbel: (gumbel_target, families.loc_scale)}
)
register_moments(
    {p: REAL_LAWS[p] for p in WITH_PARTIAL_MEANS}, {q: (laplace_target, translate) for q, translate in LAPLACES.items()}
)


@computed_in_float64(*[0] * 6)
def tilted_from_pareto(low, high, exponent, plus, minus, low_q):
    moments = log_laws.tilted(low, high, exponent)
    inside = low >= low_q
    divergence = against.pareto(
        moments, jnp.log(jnp.where(inside, low, 1.0)), plus - minus, jnp.log(jnp.where(inside, low_q, 1.0))
    )
    return jnp.where(inside, divergence, jnp.inf)


for p_class, q_class in itertools.product(TILTED, PARETOS):

    def bounded_from_pareto(p, q, translate_p=TILTED[p_class], translate_q=PARETOS[q_class]):
        return tilted_from_pareto(*translate_p(p), *translate_q(q))

    register(p_class, q_class, bounded_from_pareto, "moments")


@functools.cache
def entropy_program(law, of_logarithm):
    """Return the program of the entropy of X, which is that of log X plus E log X."""

    @computed_in_float64(*[0] * len(inspect.signature(law).parameters))
    def entropy(*arrays):
        moments = law(*arrays)
        return moments.entropy + moments.mean if of_logarithm else moments.entropy

    return entropy


for laws in (REAL_LAWS, LOG_LAWS):
    for family, (law, translate) in laws.items():
        if family in ENTROPIES:
            continue

        program = entropy_program(law, laws is LOG_LAWS)

        def entropy(p, program=program, translate=translate):
            return program(*translate(p))

        closed_form_entropy(family)(entropy)
