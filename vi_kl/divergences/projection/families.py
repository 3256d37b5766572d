"""The families that `project` knows by their NumPyro class: their parameters, and how the nearest member is found.

In an exponential family the member nearest to p, forward, is the one under which the sufficient statistics have
the means that they have under p. `match` solves that, given a source of p's moments. The other families have
only a `start`, a member that lies where p does.

Reference: Barndorff-Nielsen (1978), "Information and Exponential Families".
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

from vi_kl.divergences.projection.equations import (
    concentration_of_gap,
    concentration_of_length,
    dirichlet_concentration,
    inverse_digamma,
)
from vi_kl.divergences.projection.moments import NoFormula, NoMoment, Points

CLOSED = "closed form"
NEWTON = "moment equations solved by Newton's method"
GUMBEL_QUARTILES = 1.5725336  # distance of the quartiles of a standard Gumbel; only a start


@dataclasses.dataclass(frozen=True, eq=False)
class ParametricFamily:
    """A family by its NumPyro class.

    Attributes:
        build: the function from the parameters, by name, to a member.
        parameters: the constraint of each parameter.
        match: the function from a source of moments (and the `given` parameters) to the parameters of the nearest
            member, forward; None if the family is not exponential.
        start: the function from points of p to parameters; None if there is a `match`.
        solved: how `match` finds its answer, in words.
        given: the parameters that the user has to fix.
        event_dim: the number of event axes, 1 for families over vectors.
    """

    name: str
    build: Callable
    parameters: dict[str, constraints.Constraint]
    match: Callable | None = None
    start: Callable | None = None
    solved: str = CLOSED
    given: tuple[str, ...] = ()
    event_dim: int = 0

    def like(self, source, given) -> dict:
        """Return the parameters of the member that `match` or `start` finds.

        They may lie on the edge, and be infinite.
        """
        with np.errstate(all="ignore"):
            return self.match(source, **given) if self.match else self.start(source)


def normal(p):
    return {"loc": p.mean("x"), "scale": np.sqrt(p.variance("x"))}


def log_normal(p):
    return {"loc": p.mean("log x"), "scale": np.sqrt(p.variance("log x"))}


def half_normal(p):
    return {"scale": np.sqrt(p.mean("x²"))}


def multivariate_normal(p):
    covariance = p.covariance()
    try:
        scale_tril = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise NoMoment(
            f"The covariance of p is singular (smallest eigenvalue {np.linalg.eigvalsh(covariance)[0]:.3g}): no"
            " MultivariateNormal has it. Project fewer coordinates."
        ) from None
    return {"loc": p.mean("x"), "scale_tril": scale_tril}


def gamma(p):
    concentration = concentration_of_gap(p.log_mean_gap("x"))
    return {"concentration": concentration, "rate": concentration / p.mean("x")}


def inverse_gamma(p):
    """Return the inverse gamma for which 1/x has a Gamma distribution."""
    concentration = concentration_of_gap(p.log_mean_gap("1/x"))
    return {"concentration": concentration, "rate": concentration / p.mean("1/x")}


def chi2(p):
    """Return the solution of digamma(df / 2) + log 2 = E[log x]."""
    return {"df": 2 * inverse_digamma(p.mean("log x") - np.log(2.0))}


def beta(p):
    concentration = dirichlet_concentration(np.stack([p.mean("log x"), p.mean("log(1 - x)")], axis=-1))
    return {"concentration1": concentration[..., 0], "concentration0": concentration[..., 1]}


def dirichlet(p):
    return {"concentration": dirichlet_concentration(p.mean("log x"))}


def von_mises(p):
    """Return the mean direction, and the concentration at which it is as long as that of p."""
    cos, sin = p.mean("cos x"), p.mean("sin x")
    length = np.hypot(cos, sin)
    return {"loc": np.arctan2(sin, cos), "concentration": concentration_of_length(length)}


def categorical(p):
    if not isinstance(p, Points):
        raise NoFormula
    if np.any(p.x < 0) or np.any(p.x != np.round(p.x)) or p.x.ndim > 1:
        raise NoMoment("Categorical is a distribution over 0, 1, 2, ..., and p has probability elsewhere.")
    return {"probs": np.bincount(p.x.astype(int), weights=p.weights)}


def located(width):
    """Return a function for a start: the median, and the quartiles' distance over the standard one's."""
    return lambda p: {"loc": p.quantile(0.5), "scale": (p.quantile(0.75) - p.quantile(0.25)) / width}


def weibull_start(p):
    low, middle, high = (np.log(p.quantile(u)) for u in (0.25, 0.5, 0.75))
    concentration = GUMBEL_QUARTILES / (high - low)
    return {"concentration": concentration, "scale": np.exp(middle - np.log(np.log(2)) / concentration)}


REAL, POSITIVE, UNIT = constraints.real, constraints.positive, constraints.unit_interval
LOCATED = {"loc": REAL, "scale": POSITIVE}
SHAPED = {"concentration": POSITIVE, "rate": POSITIVE}
TWO_SHAPES = {"concentration1": POSITIVE, "concentration0": POSITIVE}

FAMILIES = (
    ParametricFamily("Normal", dist.Normal, LOCATED, normal),
    ParametricFamily("LogNormal", dist.LogNormal, LOCATED, log_normal),
    ParametricFamily("HalfNormal", dist.HalfNormal, {"scale": POSITIVE}, half_normal),
    ParametricFamily("Exponential", dist.Exponential, {"rate": POSITIVE}, lambda p: {"rate": 1 / p.mean("x")}),
    ParametricFamily("Gamma", dist.Gamma, SHAPED, gamma, solved=NEWTON),
    ParametricFamily("InverseGamma", dist.InverseGamma, SHAPED, inverse_gamma, solved=NEWTON),
    ParametricFamily("Chi2", dist.Chi2, {"df": POSITIVE}, chi2, solved=NEWTON),
    ParametricFamily("Beta", dist.Beta, TWO_SHAPES, beta, solved=NEWTON),
    ParametricFamily("VonMises", dist.VonMises, {"loc": REAL, "concentration": POSITIVE}, von_mises, solved=NEWTON),
    ParametricFamily("Poisson", dist.Poisson, {"rate": POSITIVE}, lambda p: {"rate": p.mean("x")}),
    ParametricFamily("Geometric", dist.GeometricProbs, {"probs": UNIT}, lambda p: {"probs": 1 / (1 + p.mean("x"))}),
    ParametricFamily("Bernoulli", dist.BernoulliProbs, {"probs": UNIT}, lambda p: {"probs": p.mean("x")}),
    ParametricFamily(
        "Binomial", dist.BinomialProbs, {"probs": UNIT},
        lambda p, total_count: {"probs": p.mean("x") / total_count}, given=("total_count",),
    ),
    ParametricFamily(
        "NegativeBinomial", dist.NegativeBinomialProbs, {"probs": UNIT},
        lambda p, total_count: {"probs": p.mean("x") / (p.mean("x") + total_count)}, given=("total_count",),
    ),
    ParametricFamily("Categorical", dist.CategoricalProbs, {"probs": constraints.simplex}, categorical),
    ParametricFamily(
        "MultivariateNormal", dist.MultivariateNormal,
        {"loc": constraints.real_vector, "scale_tril": constraints.lower_cholesky}, multivariate_normal, event_dim=1,
    ),
    ParametricFamily(
        "Dirichlet", dist.Dirichlet, {"concentration": constraints.independent(POSITIVE, 1)}, dirichlet,
        solved=NEWTON, event_dim=1,
    ),
    ParametricFamily("Logistic", dist.Logistic, LOCATED, start=located(2 * np.log(3))),
    ParametricFamily("Gumbel", dist.Gumbel, LOCATED, start=located(GUMBEL_QUARTILES)),
    ParametricFamily("Cauchy", dist.Cauchy, LOCATED, start=located(2.0)),
    ParametricFamily(
        "StudentT", dist.StudentT, {"df": POSITIVE, **LOCATED}, start=lambda p: {"df": 5.0, **located(1.45)(p)}
    ),
    ParametricFamily("HalfCauchy", dist.HalfCauchy, {"scale": POSITIVE}, start=lambda p: {"scale": p.quantile(0.5)}),
    ParametricFamily("Weibull", dist.Weibull, {"concentration": POSITIVE, "scale": POSITIVE}, start=weibull_start),
    ParametricFamily(
        "Kumaraswamy", dist.Kumaraswamy, TWO_SHAPES, start=lambda p: {"concentration1": 1.0, "concentration0": 1.0}
    ),
)  # fmt: skip
# NumPyro offers some of them also under the name of a function
FACTORIES = {
    dist.BernoulliProbs: dist.Bernoulli,
    dist.BinomialProbs: dist.Binomial,
    dist.CategoricalProbs: dist.Categorical,
    dist.GeometricProbs: dist.Geometric,
    dist.NegativeBinomialProbs: dist.NegativeBinomial,
}
BY_CLASS = {family.build: family for family in FAMILIES}
BY_CLASS |= {function: BY_CLASS[kind] for kind, function in FACTORIES.items()}


def find_family(family) -> ParametricFamily | None:
    """Return the family of this NumPyro class; None for any other callable.

    Raises:
        TypeError: a class of distributions, or a function of NumPyro's that returns one, is not known here.
    """
    if not callable(family):
        raise TypeError(f"family must be a NumPyro distribution class, or a function from parameters, not {family!r}.")
    known = BY_CLASS.get(family)
    name = getattr(family, "__name__", "")
    if known is None and (isinstance(family, type) or getattr(dist, name, None) is family):
        names = ", ".join(sorted(member.name for member in FAMILIES))
        raise TypeError(
            f"project does not know the family {name}. It knows {names}; for any other, pass a function from"
            f" parameters to a member, with init: project(p, lambda x: {name}(...), init=...)."
        )
    return known
