"""Information theory on its own: pure functions of p and q, usable without any model.

p is the reference, q the approximation, and both are pmf arrays (the last axis is the support) or NumPyro
distributions. Everything is in nats unless `base=2` asks for bits.

    kl_divergence(p, q)     what is lost when q stands in for p; exact, or NoClosedForm
    estimate_kl(p, q)       KL(p||q) by the best method there is, with its error: use it where kl_divergence
                            raises NoClosedForm
    estimate_entropy(p)     the entropy of p by the best method there is, with its error
    estimate_kl_from_draws(x, y)  KL from two sets of draws whose densities are unknown
    entropy(p)              the mean cost of a symbol of p in the code made for p
    cross_entropy(p, q)     the mean cost in the code made for q: entropy + kl_divergence
    code_lengths(p)         the cost of each symbol in the code made for p
    smooth(p, support)      a little probability for symbols never seen, so that no divergence is infinite
    project(p, family)      the member of a family with the smallest divergence: KL as the objective

    jensen_shannon, total_variation, hellinger, squared_hellinger, bhattacharyya, chi_squared (p, q),
    renyi(p, q, order), alpha_divergence(p, q, alpha)
                            other ways to compare p and q; exact, or NoClosedForm
    estimate_f_divergence(p, q, kind)   each of these by the best method there is, with its error
    mixture_kl_bounds(p, q)             bounds of KL(p||q) of mixtures, from their components alone

    mixture_prior_kl(p, q, key), mixture_prior_kl_bounds(p, q)
                            KL between a batch of Gaussians and one mixture, inside a loss

    discrete       the pmf arrays
    kl             exact divergences and entropies of distributions
    analytic       the closed forms, on the primitives in bregman, evaluated in float64 (float64)
    registry       the pairs that have a closed form; support finds infinite ones; validity passes NaN on
    region         where a distribution has its probability (images: through transforms); density: its density there
    estimation     the choice of a method without a closed form; estimators: the methods; entropy_estimation
    labelled       labels and masks of arguments; given_parameters: the parameters as they were given
    compatibility  what two distributions must have in common to be compared
    projection     the nearest member of a family
    f_divergences  the divergences beside KL
    mixtures       bounds for mixtures
"""

from vi_kl.divergences.discrete import code_lengths, smooth
from vi_kl.divergences.entropy_estimation import estimate_entropy
from vi_kl.divergences.estimation import estimate_kl
from vi_kl.divergences.estimators.nearest_neighbours import estimate_kl_from_draws
from vi_kl.divergences.f_divergences.estimation import estimate_f_divergence
from vi_kl.divergences.f_divergences.f_divergence import (
    alpha_divergence,
    bhattacharyya,
    chi_squared,
    hellinger,
    jensen_shannon,
    renyi,
    squared_hellinger,
    total_variation,
)
from vi_kl.divergences.kl import cross_entropy, entropy, kl_divergence
from vi_kl.divergences.mixtures.bounds import MixtureBounds, mixture_kl_bounds
from vi_kl.divergences.mixtures.priors import mixture_prior_kl, mixture_prior_kl_bounds
from vi_kl.divergences.projection.project import Projection, project
from vi_kl.divergences.registry import NoClosedForm

__all__ = [
    "MixtureBounds",
    "NoClosedForm",
    "Projection",
    "alpha_divergence",
    "bhattacharyya",
    "chi_squared",
    "code_lengths",
    "cross_entropy",
    "entropy",
    "estimate_entropy",
    "estimate_f_divergence",
    "estimate_kl",
    "estimate_kl_from_draws",
    "hellinger",
    "jensen_shannon",
    "kl_divergence",
    "mixture_kl_bounds",
    "mixture_prior_kl",
    "mixture_prior_kl_bounds",
    "project",
    "renyi",
    "smooth",
    "squared_hellinger",
    "total_variation",
]
