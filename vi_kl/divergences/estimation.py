"""KL divergences without a closed form: the best method there is, with its error and what it cannot see."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from numpyro.distributions import Distribution

from vi_kl.core.annotations import KeyLike, PmfLike
from vi_kl.core.estimate import Estimate
from vi_kl.core.precision import in_float64
from vi_kl.core.random_keys import as_key
from vi_kl.divergences import discrete
from vi_kl.divergences.compatibility import check_one_pair, check_same_kind
from vi_kl.divergences.estimators.cubature import cubature_kl
from vi_kl.divergences.estimators.importance_sampling import importance_sampling_kl
from vi_kl.divergences.estimators.monte_carlo import monte_carlo_kl
from vi_kl.divergences.estimators.numerical import enumerate_kl, quadrature_kl
from vi_kl.divergences.estimators.quadrature import NotApplicable, NotConverged
from vi_kl.divergences.estimators.quasi_monte_carlo import quasi_monte_carlo_kl
from vi_kl.divergences.given_parameters import with_float64_parameters
from vi_kl.divergences.kl import are_distributions
from vi_kl.divergences.registry import NoClosedForm, describe, evaluate, kind, reject_invalid

ENUMERATION_CAVEAT = "It trusts the pmfs: an error in one that does not show in its sum goes unseen."
QUADRATURE_CAVEAT = (
    "It sees the densities only at its nodes: a part of p with less than 1e-8 of its mass, or a spike or dip of q"
    " between nodes, goes unseen."
)


def estimate_kl(
    p: Distribution | PmfLike,
    q: Distribution | PmfLike,
    *,
    key: KeyLike | None = None,
    method: str = "auto",
    num_draws: int = 100_000,
    base: int | None = None,
    proposal: Distribution | None = None,
) -> Estimate:
    """Estimate KL(p||q) of one pair by the best method there is, with its error and the method's name.

    It runs in float64.

    "auto" takes the first that applies: the closed form; the exact sum over a finite support; quadrature or
    cubature for a density of up to three variables; quasi-Monte Carlo where draws from p are a known function of
    uniform numbers; Monte Carlo. Importance sampling, for a p that is awkward to draw from, has to be asked for.

    Args:
        p: a NumPyro distribution without batch dimensions, or a one-dimensional pmf array. For draws without
            densities there is `estimate_kl_from_draws`.
        key: a JAX random key; the three sampling methods need one.
        method: one of "auto", "closed_form", "enumeration", "quadrature", "quasi_monte_carlo", "monte_carlo" or
            "importance_sampling".
        num_draws: the number of draws of the sampling methods.
        base: 2 for bits, None for nats.
        proposal: a distribution for importance sampling to draw from; q by default.

    Returns:
        An Estimate. Its standard error is 0 for the exact methods, quadrature's own error estimate, or the standard
        error of a mean; its caveat says what the method cannot see. The value is +inf if p is seen to reach beyond q.

    Raises:
        ValueError: the method is unknown, there are batch dimensions, a sampling method has no key, or a parameter is
            NaN or outside its range.
        NotNormalised: p or q is not a distribution: its mass is not 1, or its draws do not follow its density.
        NoClosedForm, NotApplicable: the method asked for cannot give this divergence.
        NotConverged: quadrature or importance sampling did not settle.
    """
    key = None if key is None else as_key(key)
    if method != "auto" and method not in METHODS:
        raise ValueError(f"method must be 'auto' or one of {', '.join(map(repr, METHODS))}, not {method!r}.")
    if base not in (None, 2):
        raise ValueError(f"base must be 2 for bits or None for nats, got {base!r}.")
    if proposal is not None and method != "importance_sampling":
        raise ValueError(f"a proposal is for method='importance_sampling', not for {method!r}.")
    if not are_distributions(p=p, q=q):
        estimate = estimate_from_pmfs(p, q, method)
    else:
        estimate = estimate_from_distributions(p, q, method, Sampling(key, num_draws, proposal))
    return estimate.as_divergence().to("nats" if base is None else "bits")


def estimate_from_pmfs(p, q, method):
    if method not in ("auto", "enumeration"):
        raise ValueError(f"method {method!r} is for distributions; pmf arrays are summed exactly.")
    value = discrete.kl_divergence(p, q)
    if value.ndim:
        raise ValueError(f"estimate_kl takes one pair at a time, but the batch shape is {value.shape}.")
    return Estimate(value, 0.0, f"exact sum over {np.shape(p)[-1]} values")


@dataclasses.dataclass(frozen=True)
class Sampling:
    """A description of how to draw, for the methods that draw."""

    key: jax.Array | None
    num_draws: int
    proposal: object = None


@in_float64
def estimate_from_distributions(p, q, method, sampling: Sampling):
    check_one_pair(p, q, "estimate_kl")
    reject_invalid(p=p, q=q)
    p, q = (with_float64_parameters(distribution) for distribution in (p, q))
    if method not in ("auto", "closed_form"):
        check_same_kind(p, q)
    if method != "auto":
        return METHODS[method](p, q, sampling)
    not_converged = ""
    for attempt in AUTOMATIC[:-1]:
        try:
            return with_note(METHODS[attempt](p, q, sampling), not_converged)
        except NotConverged as failure:
            not_converged = f"; {failure}"
        except (NoClosedForm, NotApplicable):
            continue
    return with_note(METHODS[AUTOMATIC[-1]](p, q, sampling), not_converged)


def with_note(estimate: Estimate, note: str) -> Estimate:
    """Return the estimate with a note that a better method did not converge: the divergence may be infinite."""
    return dataclasses.replace(estimate, method=f"{estimate.method}{note}")


def by_closed_form(p, q, sampling):
    return Estimate(evaluate(p, q), 0.0, kind(p, q))


def by_enumeration(p, q, sampling):
    return dataclasses.replace(enumerate_kl(p, q), caveat=ENUMERATION_CAVEAT)


def by_quadrature(p, q, sampling):
    """Integrate on the line by adaptive panels; in two and three variables by grids."""
    estimate = quadrature_kl(p, q) if p.event_shape == () else cubature_kl(p, q)
    return dataclasses.replace(estimate, caveat=QUADRATURE_CAVEAT)


def by_sampling(sample: Callable):
    """Return the method that `sample` gives, which requires a key."""

    def estimate(p, q, sampling):
        if sampling.key is None:
            raise ValueError(
                f"KL({describe(p)} || {describe(q)}) is estimated from random draws: pass key=jax.random.key(0), say."
            )
        return sample(p, q, sampling)

    return estimate


def by_importance_sampling(p, q, sampling):
    proposal = with_float64_parameters(sampling.proposal)
    return importance_sampling_kl(p, q, sampling.key, sampling.num_draws, proposal)


METHODS = {
    "closed_form": by_closed_form,
    "enumeration": by_enumeration,
    "quadrature": by_quadrature,
    "quasi_monte_carlo": by_sampling(lambda p, q, s: quasi_monte_carlo_kl(p, q, s.key, s.num_draws)),
    "monte_carlo": by_sampling(lambda p, q, s: monte_carlo_kl(p, q, s.key, s.num_draws)),
    "importance_sampling": by_sampling(by_importance_sampling),
}
AUTOMATIC = tuple(name for name in METHODS if name != "importance_sampling")
