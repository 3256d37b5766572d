"""KL divergence, entropy and cross-entropy of pmf arrays or of NumPyro distributions.

`kl_divergence` and the entropies are exact or raise; `estimate_kl` always answers, and says how and how surely.
"""

import dataclasses

import jax
import numpy as np
from numpyro.distributions import Distribution

from vi_kl.divergences import analytic, discrete
from vi_kl.divergences.discrete import in_base
from vi_kl.divergences.monte_carlo import monte_carlo_kl
from vi_kl.divergences.numerical import NotApplicable, NotConverged, enumerate_kl, quadrature_kl
from vi_kl.divergences.registry import NoClosedForm, describe, evaluate, evaluate_entropy
from vi_kl.estimate import Estimate
from vi_kl.precision import as_float64, in_float64

__all__ = ["analytic", "cross_entropy", "entropy", "estimate_kl", "kl_divergence"]  # analytic: registers forms


def kl_divergence(p, q, *, base=None, axis=None, normalize=None):
    """KL(p||q): the information lost, in nats, when q stands in for p.

    Args:
        p, q: NumPyro distributions over the same space, or pmf arrays over the same support.
        base: 2 for bits, None for nats, or any other base of the logarithm.
        axis: for pmf arrays, the axis of the support; the last by default.
        normalize: for pmf arrays, True to divide counts or weights by their sums first.

    Returns:
        Array of the broadcast batch shape; +inf where p reaches beyond q's support. Never negative, and exact
        to the dtype's last digits also where p and q almost agree. Differentiable; works under jit and vmap.

    Raises:
        NoClosedForm: no exact expression is known for this pair; `estimate_kl` gives one with an error bar.
        ValueError: an array that is no pmf, supports or event shapes that differ, or batch shapes that do not
            broadcast.
        TypeError: a distribution and an array.

    Reference: Kullback & Leibler (1951), eq. 2.4.
    """
    if are_distributions(p=p, q=q):
        reject_array_options(axis=axis, normalize=normalize)
        return in_base(evaluate(p, q), base)
    return discrete.kl_divergence(p, q, base=base, **array_options(axis, normalize))


def entropy(p, *, base=None, axis=None, normalize=None):
    """H(p), in nats: for a pmf, the mean length of a codeword; for a density, the differential entropy.

    Args, errors: as in `kl_divergence`.
    """
    if are_distributions(p=p):
        reject_array_options(axis=axis, normalize=normalize)
        return in_base(evaluate_entropy(p), base)
    return discrete.entropy(p, base=base, **array_options(axis, normalize))


def cross_entropy(p, q, *, base=None, axis=None, normalize=None):
    """H(p, q) = H(p) + KL(p||q), in nats: the mean length of a codeword for p's symbols in the code made for q.

    Args, errors: as in `kl_divergence`.
    """
    if are_distributions(p=p, q=q):
        reject_array_options(axis=axis, normalize=normalize)
        return in_base(evaluate_entropy(p) + evaluate(p, q), base)
    return discrete.cross_entropy(p, q, base=base, **array_options(axis, normalize))


def estimate_kl(p, q, *, key=None, method="auto", num_draws=100_000, base=None) -> Estimate:
    """KL(p||q) of one pair by the best method there is, with its error and the method's name.

    In this order: the closed form, the exact sum over a finite support, quadrature for a density of one
    variable, and the Monte Carlo mean of log p - log q over draws from p. Runs in float64.

    Args:
        p, q: NumPyro distributions without batch dimensions, or one-dimensional pmf arrays.
        key: JAX random key; only Monte Carlo needs one.
        method: "auto", or one of "closed_form", "enumeration", "quadrature", "monte_carlo".
        num_draws: draws for Monte Carlo.
        base: 2 for bits, None for nats.

    Returns:
        Estimate. Its standard error is 0 for the exact methods, quadrature's own error estimate, or the Monte
        Carlo standard error.

    Raises:
        ValueError: an unknown method, batch dimensions, or Monte Carlo without a key.
        NoClosedForm, NotApplicable: the method asked for cannot give this divergence.
    """
    if method != "auto" and method not in METHODS:
        raise ValueError(f"method must be 'auto' or one of {', '.join(map(repr, METHODS))}, not {method!r}.")
    if base not in (None, 2):
        raise ValueError(f"base must be 2 for bits or None for nats, got {base!r}.")
    if not are_distributions(p=p, q=q):
        estimate = estimate_from_pmfs(p, q, method)
    else:
        estimate = estimate_from_distributions(p, q, key, method, num_draws)
    return estimate.to("nats" if base is None else "bits")


def estimate_from_pmfs(p, q, method):
    if method not in ("auto", "enumeration"):
        raise ValueError(f"method {method!r} is for distributions; pmf arrays are summed exactly.")
    value = discrete.kl_divergence(p, q)
    if value.ndim:
        raise ValueError(f"estimate_kl takes one pair at a time, but the batch shape is {value.shape}.")
    return Estimate(value, 0.0, f"exact sum over {np.shape(p)[-1]} values")


@in_float64
def estimate_from_distributions(p, q, key, method, num_draws):
    if p.batch_shape or q.batch_shape:
        raise ValueError(
            "estimate_kl takes one pair at a time, but the batch shapes of p and q are"
            f" {p.batch_shape} and {q.batch_shape}; .to_event() makes them one joint distribution."
        )
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"p and q must be distributions over the same space, but p has event shape {p.event_shape} and q"
            f" has {q.event_shape}."
        )
    if p.is_discrete != q.is_discrete:
        kinds = ["discrete" if d.is_discrete else "continuous" for d in (p, q)]
        raise ValueError(f"p is {kinds[0]} and q is {kinds[1]}: a pmf and a density cannot be compared.")
    p, q = (jax.tree.map(as_float64, distribution) for distribution in (p, q))
    if method != "auto":
        return METHODS[method](p, q, key, num_draws)
    for attempt in ("closed_form", "enumeration", "quadrature"):
        try:
            return METHODS[attempt](p, q, key, num_draws)
        except (NoClosedForm, NotApplicable) as failure:
            reason = failure
    estimate = METHODS["monte_carlo"](p, q, key, num_draws)
    if isinstance(reason, NotConverged):
        return dataclasses.replace(estimate, method=f"{estimate.method}; {reason}")
    return estimate


def by_closed_form(p, q, key, num_draws):
    return Estimate(evaluate(p, q), 0.0, "closed form")


def by_monte_carlo(p, q, key, num_draws):
    if key is None:
        raise ValueError(
            f"KL({describe(p)} || {describe(q)}) is estimated from random draws: pass key=jax.random.key(0), say."
        )
    return monte_carlo_kl(p, q, key, num_draws)


METHODS = {
    "closed_form": by_closed_form,
    "enumeration": lambda p, q, key, num_draws: enumerate_kl(p, q),
    "quadrature": lambda p, q, key, num_draws: quadrature_kl(p, q),
    "monte_carlo": by_monte_carlo,
}


def are_distributions(**named) -> bool:
    """Whether the arguments are distributions; TypeError where only one is."""
    kinds = {name: isinstance(value, Distribution) for name, value in named.items()}
    if len(set(kinds.values())) == 1:
        return all(kinds.values())
    one, other = sorted(kinds, key=kinds.get, reverse=True)
    raise TypeError(
        f"{one} is a distribution ({describe(named[one])}) and {other} is not. Give two distributions, or two pmf"
        f" arrays: of a finite distribution, jnp.exp({one}.log_prob(support))."
    )


def reject_array_options(**options):
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise TypeError(f"{' and '.join(given)} belong to pmf arrays, not to distributions.")


def array_options(axis, normalize):
    return {"axis": -1 if axis is None else axis, "normalize": bool(normalize)}
