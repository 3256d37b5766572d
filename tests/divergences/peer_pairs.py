"""Which KL divergences the peers know: the pairs of distributions in their registries, in their own names.

Read from torch 2.14.1, TensorFlow Probability (April 2026), distrax (September 2025), Distributions.jl (June 2026)
and NumPyro 0.22. A pair is an ordered pair (p, q) of concrete distributions with a form of its own. Not counted:
forms of structure (STRUCTURAL), pairs that exist by inheritance only (TFP's Exponential is a Gamma), a second
registration of the same pair for another library's class, and Distributions.jl's fall-back to quadrature.
"""

import itertools


def with_itself(names: str) -> list[tuple[str, str]]:
    return [(name, name) for name in names.split()]


def against(p: str, names: str) -> list[tuple[str, str]]:
    return [(p, q) for q in names.split()]


FINITE: dict[str, list[tuple[str, str]]] = {
    "torch": [
        *with_itself(
            "Bernoulli Beta Binomial Categorical Cauchy ContinuousBernoulli Dirichlet Exponential Gamma Geometric"
            " Gumbel HalfNormal Laplace LowRankMultivariateNormal MultivariateNormal Normal OneHotCategorical"
            " Pareto Poisson Uniform"
        ),
        ("LowRankMultivariateNormal", "MultivariateNormal"),
        ("MultivariateNormal", "LowRankMultivariateNormal"),
        ("Bernoulli", "Poisson"),
        *against("Beta", "ContinuousBernoulli Exponential Gamma Normal Uniform"),
        *against("ContinuousBernoulli", "Exponential Normal Uniform"),
        *against("Exponential", "Gamma Gumbel Normal"),
        *against("Gamma", "Exponential Gumbel Normal"),
        ("Gumbel", "Normal"),
        ("Laplace", "Normal"),
        *against("Normal", "Gumbel Laplace"),
        *against("Pareto", "Exponential Gamma Normal"),
        *against("Uniform", "Beta ContinuousBernoulli Exponential Gamma Gumbel Normal Pareto"),
    ],
    "TensorFlow Probability": [
        *with_itself(
            "Bernoulli Beta Categorical Cauchy Chi Chi2 ContinuousBernoulli Dirichlet ExpGamma ExpInverseGamma Gamma"
            " Gumbel HalfNormal Laplace LogNormal LogitNormal MatrixNormalLinearOperator Moyal"
            " MultivariateNormalLinearOperator Normal OneHotCategorical OrderedLogistic Pareto ProbitBernoulli"
            " StoppingRatioLogistic Uniform VonMises Weibull"
        ),
        ("Chi2", "Gamma"),
        ("Gamma", "Chi2"),
        ("GaussianProcess", "MultivariateNormalLinearOperator"),
        ("MultivariateNormalLinearOperator", "GaussianProcess"),
        *against("PowerSpherical", "SphericalUniform VonMisesFisher"),
        ("VonMisesFisher", "SphericalUniform"),
        ("Weibull", "Gamma"),
    ],
    "distrax": [
        *with_itself(
            "Bernoulli Beta Categorical Dirichlet Gamma Gumbel Laplace LogStddevNormal MultivariateNormalFromBijector"
            " Normal Uniform VonMises"
        ),
        ("Beta", "Dirichlet"),
        ("Dirichlet", "Beta"),
    ],
    "Distributions.jl": with_itself(
        "AbstractMvNormal Beta Binomial Chi Chisq Exponential Gamma Geometric InverseGamma Laplace Lindley LogNormal"
        " LogUniform LogitNormal MvLogitNormal NegativeBinomial Normal NormalCanon Poisson"
    ),
    "NumPyro": [
        *with_itself("Beta CategoricalProbs Dirichlet Gamma MultivariateNormal Normal"),
        ("IndependentNormal", "CirculantNormal"),
        ("Kumaraswamy", "Beta"),
        ("Weibull", "Gamma"),
    ],
}

# only torch registers pairs whose divergence is infinite whatever the parameters
INFINITE: dict[str, list[tuple[str, str]]] = {
    "torch": [
        *against("Beta", "Pareto"),
        *against("ContinuousBernoulli", "Pareto"),
        *against("Exponential", "Beta ContinuousBernoulli Pareto Uniform"),
        *against("Gamma", "Beta ContinuousBernoulli Pareto Uniform"),
        *against("Gumbel", "Beta ContinuousBernoulli Exponential Gamma Pareto Uniform"),
        *against("Laplace", "Beta ContinuousBernoulli Exponential Gamma Pareto Uniform"),
        *against("Normal", "Beta ContinuousBernoulli Exponential Gamma Pareto Uniform"),
        *against("Pareto", "Beta ContinuousBernoulli Uniform"),
        *against("Poisson", "Bernoulli Binomial"),
    ],
}

STRUCTURAL: dict[str, list[tuple[str, str]]] = {
    "torch": with_itself("ExponentialFamily Independent TransformedDistribution"),
    "TensorFlow Probability": [
        *with_itself("Blockwise Independent JointDistributionSequential Masked Sample TransformedDistribution"),
        ("Deterministic", "Distribution"),
    ],
    "distrax": with_itself("Deterministic Independent Joint Transformed"),
    "Distributions.jl": with_itself("ProductNamedTupleDistribution"),
    "NumPyro": [
        *with_itself("ExpandedDistribution Independent MaskedDistribution"),
        ("Delta", "Distribution"),
        ("Delta", "ExpandedDistribution"),
        ("Distribution", "ExpandedDistribution"),
        ("ExpandedDistribution", "Distribution"),
    ],
}

# The peers' names whose distribution is one of NumPyro's classes under another name, or in several
# parametrisations; a name that is missing here is NumPyro's own. `Base by transform` is a TransformedDistribution.
IN_NUMPYRO: dict[str, tuple[str, ...]] = {
    "AbstractMvNormal": ("MultivariateNormal",),
    "Bernoulli": ("BernoulliProbs", "BernoulliLogits"),
    "Binomial": ("BinomialProbs", "BinomialLogits"),
    "Categorical": ("CategoricalProbs", "CategoricalLogits"),
    "Chi": ("Chi2 by root",),
    "Chisq": ("Chi2",),
    "ExpGamma": ("Gamma by log",),
    "ExpInverseGamma": ("InverseGamma by log",),
    "GaussianProcess": ("MultivariateNormal",),  # at the index points that the divergence is taken at
    "Geometric": ("GeometricProbs", "GeometricLogits"),
    "LogStddevNormal": ("Normal",),
    "LogitNormal": ("Normal by sigmoid",),
    "MatrixNormalLinearOperator": ("MatrixNormal",),
    "MultivariateNormalFromBijector": ("MultivariateNormal",),
    "MultivariateNormalLinearOperator": ("MultivariateNormal",),
    "NegativeBinomial": ("NegativeBinomialProbs", "NegativeBinomialLogits"),
    "NormalCanon": ("Normal",),
    "OneHotCategorical": ("MultinomialProbs", "MultinomialLogits"),  # of one trial
    "ProbitBernoulli": ("BernoulliProbs",),
}

INEXPRESSIBLE: dict[str, str] = {
    "ContinuousBernoulli": "no class; below lambda = 1/2 it is TwoSidedTruncatedGamma(1, rate, 0, 1), above it none",
    "Lindley": "only as a mixture of two gammas, MixtureGeneral, and mixtures have no closed form",
    "Moyal": "-log of a Chi2(1), shifted and scaled by its parameters: unequal ones are unequal transforms",
    "MvLogitNormal": "NumPyro has no additive logistic transform, only stick breaking",
    "PowerSpherical": "no class",
    "SphericalUniform": "it is ProjectedNormal of zeros, but its partners in these pairs have no class",
    "StoppingRatioLogistic": "no class, only as the Categorical of its probabilities",
    "VonMisesFisher": "no class but VonMises, on the circle",
}

INEXPRESSIBLE_PAIRS: dict[tuple[str, str], str] = {
    ("Beta", "Dirichlet"): "event shapes () and (2,): NumPyro's Beta is on the interval, not on the simplex",
    ("Dirichlet", "Beta"): "event shapes (2,) and ()",
}


def union(pairs_of_library: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str]]:
    return sorted(set(itertools.chain.from_iterable(pairs_of_library.values())))


def reason_against(p: str, q: str) -> str | None:
    """Why NumPyro's classes cannot express a pair; None where they can."""
    return INEXPRESSIBLE.get(p) or INEXPRESSIBLE.get(q) or INEXPRESSIBLE_PAIRS.get((p, q))


def in_numpyro(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs of NumPyro's classes, in every parametrisation, that the expressible ones are."""
    expressible = [pair for pair in pairs if reason_against(*pair) is None]
    classes = [itertools.product(IN_NUMPYRO.get(p, (p,)), IN_NUMPYRO.get(q, (q,))) for p, q in expressible]
    return sorted(set(itertools.chain.from_iterable(classes)))
