"""Conjugate models: posterior and evidence are known by algebra, so that every claim about a fit can be checked.

Each entry of `TARGETS` makes a target from data and priors, and has a small data set of its own as a default, so that
`beta_binomial()` works. The reference of each is computed when it is first asked for. Priors and known scales
are data like any other: new values in the same shapes compile nothing.

    entry                            site of the posterior            posterior
    beta_binomial                    p                                Beta
    gamma_poisson                    rate                             Gamma
    dirichlet_multinomial            theta (simplex)                  Dirichlet
    dirichlet_categorical            theta (simplex)                  Dirichlet
    normal_normal                    mu                               normal
    linear_regression_known_noise    beta                             multivariate normal
    linear_regression                beta, sigma2 (dependent)         normal-inverse-gamma
    local_level                      path                             multivariate normal
    autoregression_plus_noise        path                             multivariate normal

Reference: Bernardo & Smith (1994), "Bayesian Theory", appendix A.2.
"""

from collections.abc import Callable

from vi_kl.models.conjugate.counts import beta_binomial, dirichlet_categorical, dirichlet_multinomial, gamma_poisson
from vi_kl.models.conjugate.regression import linear_regression, linear_regression_known_noise, normal_normal
from vi_kl.models.conjugate.state_space import autoregression_plus_noise, local_level
from vi_kl.targets import Target

TARGETS: dict[str, Callable[..., Target]] = {
    "beta_binomial": beta_binomial,
    "gamma_poisson": gamma_poisson,
    "dirichlet_multinomial": dirichlet_multinomial,
    "dirichlet_categorical": dirichlet_categorical,
    "normal_normal": normal_normal,
    "linear_regression_known_noise": linear_regression_known_noise,
    "linear_regression": linear_regression,
    "local_level": local_level,
    "autoregression_plus_noise": autoregression_plus_noise,
}

__all__ = [
    "TARGETS",
    "autoregression_plus_noise",
    "beta_binomial",
    "dirichlet_categorical",
    "dirichlet_multinomial",
    "gamma_poisson",
    "linear_regression",
    "linear_regression_known_noise",
    "local_level",
    "normal_normal",
]
