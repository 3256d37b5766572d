"""The NumPyro classes that are members of exponential families.

    normal        Normal, LogNormal, HalfNormal
    vector        MultivariateNormal, and Independent(Normal) beside one
    gamma         Gamma (and Chi2), Exponential, InverseGamma
    dirichlet     Dirichlet, Beta
    poisson       Poisson
    geometric     Geometric, by probabilities or logits
    finite        Categorical, Bernoulli, Binomial and Multinomial, by probabilities or logits

To add one: write its `Family` in exponential_families (how parameters mix, and its KL), and name the classes in
`MEMBERS`.
"""

import dataclasses
from collections.abc import Callable

import numpyro.distributions as dist

from vi_kl.divergences.bregman import namespace
from vi_kl.divergences.f_divergences.exponential_families import (
    CATEGORIES,
    DIRICHLET,
    GAMMA,
    GEOMETRIC,
    NORMAL,
    POISSON,
    TRIALS,
    VECTOR,
)
from vi_kl.divergences.f_divergences.exponential_family import Family
from vi_kl.divergences.given_parameters import given_matrix
from vi_kl.divergences.registry import unexpanded


@dataclasses.dataclass(frozen=True)
class Member:
    """A distribution as a member of a family.

    Attributes:
        family: the family.
        arrays: the distribution's parameters, as given.
        form: how the parameters are given, for `family.canonical`.
        space: the name of the map into the family; only members of one space can be compared.
        copies: the number of independent draws that it represents (a Binomial's trials), whose divergences add up.
    """

    family: Family
    arrays: tuple
    form: str = ""
    space: str = ""
    copies: object = 1


def independent_normal(d):
    """Return an Independent(Normal) vector as a member of the vector family; None for anything else."""
    base = unexpanded(d.base_dist)
    if type(base) is not dist.Normal or d.reinterpreted_batch_ndims != 1:
        return None
    xp = namespace(base.loc, base.scale)  # NumPy's digits would not survive JAX in a float32 caller
    loc, scale = (xp.broadcast_to(x, d.base_dist.batch_shape) for x in (base.loc, base.scale))
    return Member(VECTOR, (loc, scale[..., None] * xp.eye(scale.shape[-1], dtype=scale.dtype)), "tril")


def multivariate_normal(d):
    matrix, given = given_matrix(d)
    return Member(VECTOR, (d.loc, matrix), given)


def concentrations(d):
    pair = d.concentration1, d.concentration0
    xp = namespace(*pair)
    return xp.stack(xp.broadcast_arrays(*pair), -1)


def copies(d):
    return getattr(d, "total_count", 1)


MEMBERS: dict[type, Callable] = {
    dist.Normal: lambda d: Member(NORMAL, (d.loc, d.scale)),
    dist.LogNormal: lambda d: Member(NORMAL, (d.loc, d.scale), space="log"),
    dist.HalfNormal: lambda d: Member(NORMAL, (0.0, d.scale), space="absolute value"),
    dist.MultivariateNormal: multivariate_normal,
    dist.Independent: independent_normal,
    dist.Gamma: lambda d: Member(GAMMA, (d.concentration, d.rate)),
    dist.Exponential: lambda d: Member(GAMMA, (1.0, d.rate)),
    dist.InverseGamma: lambda d: Member(GAMMA, (d.concentration, d.rate), space="inverse"),
    dist.Dirichlet: lambda d: Member(DIRICHLET, (d.concentration,)),
    dist.Beta: lambda d: Member(DIRICHLET, (concentrations(d),)),
    dist.Poisson: lambda d: Member(POISSON, (d.rate,)),
    dist.GeometricProbs: lambda d: Member(GEOMETRIC, (d.probs,)),
    dist.GeometricLogits: lambda d: Member(GEOMETRIC, (d.logits,), "logits"),
    dist.BernoulliProbs: lambda d: Member(TRIALS, (d.probs,)),
    dist.BernoulliLogits: lambda d: Member(TRIALS, (d.logits,), "logits"),
    dist.BinomialProbs: lambda d: Member(TRIALS, (d.probs,), copies=copies(d)),
    dist.BinomialLogits: lambda d: Member(TRIALS, (d.logits,), "logits", copies=copies(d)),
    dist.CategoricalProbs: lambda d: Member(CATEGORIES, (d.probs,)),
    dist.CategoricalLogits: lambda d: Member(CATEGORIES, (d.logits,), "logits"),
    dist.MultinomialProbs: lambda d: Member(CATEGORIES, (d.probs,), space="counts", copies=copies(d)),
    dist.MultinomialLogits: lambda d: Member(CATEGORIES, (d.logits,), "logits", "counts", copies(d)),
}


def as_member(distribution) -> Member | None:
    """Return the distribution as a member of a family, by its nearest class; None if it is none."""
    inner = unexpanded(distribution)
    make = next((MEMBERS[kind] for kind in type(inner).__mro__ if kind in MEMBERS), None)
    return make(inner) if make else None
