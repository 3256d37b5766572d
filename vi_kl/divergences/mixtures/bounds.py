"""Bounds on the KL divergence between mixtures, which has no closed form, from the divergences of their components.

Let p = sum_a w_a f_a and q = sum_b v_b g_b. The methods need KL(f_a||g_b), and for lower bounds Renyi's divergence:

    variational   above: Hershey & Olsen's bound, the divergence of the best joint assignment of components;
                  below: Durrieu, Thiran & Kelly's, by Jensen's inequality, for Gaussian components
    pairwise      Kolchinsky & Tracey's bounds on the entropy of p, and similar ones on the cross-entropy
    best          the larger of the lower and the smaller of the upper bounds

The variational upper bound is tight where the mixtures have components in common, the pairwise bounds where
components lie far apart. No lower bound is below 0, which is one too.

References: Hershey & Olsen (2007), "Approximating the Kullback Leibler divergence between Gaussian mixture models",
sections 7 and 8; Durrieu, Thiran & Kelly (2012), "Lower and upper bounds for approximation of the Kullback-Leibler
divergence between Gaussian mixture models", ICASSP; Kolchinsky & Tracey (2017), "Estimating mixture entropy with
pairwise distances", Entropy 19(7), eqs. 9-12.
"""

import contextlib
import dataclasses
import functools
import math

import jax
import numpy as np
from numpyro.distributions import Distribution
from scipy.special import kl_div, logsumexp

from vi_kl.core.gaussian import Gaussian
from vi_kl.core.precision import in_float64
from vi_kl.core.pytrees import pytree
from vi_kl.divergences.f_divergences.exponential_families import NORMAL, VECTOR
from vi_kl.divergences.f_divergences.exponential_members import as_member
from vi_kl.divergences.given_parameters import with_float64_parameters
from vi_kl.divergences.mixtures.components import between, components_of
from vi_kl.divergences.registry import NoClosedForm, reject_invalid

ORDERS = (0.25, 0.5, 0.75)  # orders of the Chernoff coefficients tried for the pairwise lower bound
SWEEPS = 2000
SETTLED = 1e-12  # relative change of the bound from one sweep to the next


@functools.partial(pytree, eq=True)
class MixtureBounds:
    """A pair of bounds, `lower` and `upper`, of KL(p||q) of two mixtures, in nats; `method` names them.

    The bounds of a batch (priors.py) are arrays.
    """

    lower: float | jax.Array
    upper: float | jax.Array
    method: str = dataclasses.field(metadata={"static": True})


@in_float64
def mixture_kl_bounds(p: Distribution, q: Distribution, method: str = "best") -> MixtureBounds:
    """Return bounds on KL(p||q) of mixtures whose components have a closed-form KL; no draws, no quadrature.

    Args:
        p: MixtureSameFamily or MixtureGeneral without batch dimensions; anything else is a single component.
        q: likewise.
        method: one of "variational", "pairwise", and "best" for the tighter bound on either side, of those that apply.

    Returns:
        The MixtureBounds in nats.

    Raises:
        NoClosedForm: a pair of components has no closed form; "pairwise" needs Renyi's divergence too.
        ValueError: the method is unknown, there are batch dimensions, or the event shapes differ.
    """
    if method != "best" and method not in METHODS:
        raise ValueError(f"method must be 'best' or one of {', '.join(map(repr, METHODS))}, not {method!r}.")
    for name, mixture in (("p", p), ("q", q)):
        if mixture.batch_shape:
            raise ValueError(f"{name} must be one mixture, but its batch shape is {mixture.batch_shape}.")
    reject_invalid(p=p, q=q)
    p, q = (components_of(with_float64_parameters(mixture)) for mixture in (p, q))
    divergences = between(p, q), between(p, p)
    if method == "best":
        return best(p, q, divergences)
    lower, upper = METHODS[method](p, q, *divergences)
    return MixtureBounds(float(lower), float(upper), method)


def best(p, q, divergences):
    found = {"variational": variational(p, q, *divergences)}
    with contextlib.suppress(NoClosedForm):  # components that have a KL, but no known Renyi divergence
        found["pairwise"] = pairwise(p, q, *divergences)
    below = max(found, key=lambda name: found[name][0])
    above = min(found, key=lambda name: found[name][1])
    return MixtureBounds(float(found[below][0]), float(found[above][1]), f"best: {below} below, {above} above")


def variational(p, q, from_p_to_q, from_p_to_p):
    """Return Hershey & Olsen's upper bound; for Gaussian components, Durrieu, Thiran & Kelly's on both sides too."""
    lower, upper = 0.0, assignment_bound(p, q, from_p_to_q)
    gaussians = [[as_gaussian(member) for member in mixture.members] for mixture in (p, q)]
    if None in gaussians[0] + gaussians[1]:
        return lower, upper
    entropies = np.array([gaussian.entropy for gaussian in gaussians[0]])
    own = log_mean(p.log_weights, log_overlaps(gaussians[0], gaussians[0]))
    other = log_mean(q.log_weights, log_overlaps(*gaussians))
    below = log_mean(p.log_weights, -from_p_to_p) - entropies - other
    above = own - log_mean(q.log_weights, -from_p_to_q) + entropies
    return max(lower, p.weights @ below), min(upper, p.weights @ above)


def log_mean(log_weights, log_values):
    """Return the log of the weighted mean over the last axis."""
    return logsumexp(log_weights + log_values, axis=-1)


def assignment_bound(p, q, divergences) -> float:
    """Return the divergence of joint distributions of component and point, in the best assignment of components.

    A share s_ab of p's component a is matched with a share t_ab of q's component b: the chain rule gives
    KL(s||t) + sum s KL(f_a||g_b), which is convex and is minimised alternately over t and s. Every turn's value is a
    bound, so stopping early costs tightness only.
    """
    log_share = p.log_weights[:, None] + log_normalised(q.log_weights - divergences, axis=1)
    if not np.isfinite(logsumexp(log_share, axis=1)).all():
        return math.inf  # a component of p is covered by none of q's
    previous = math.inf
    for _ in range(SWEEPS):
        log_answer = q.log_weights + log_normalised(log_share, axis=0)
        share, answer = np.exp(log_share), np.exp(log_answer)
        value = (
            kl_div(share, answer).sum() + np.where(share > 0, share * np.where(share > 0, divergences, 0.0), 0.0).sum()
        )
        if previous - value <= SETTLED * value:
            break
        previous = value
        log_share = p.log_weights[:, None] + log_normalised(log_answer - divergences, axis=1)
    return value


def log_normalised(log_values, axis):
    """Return log values minus the log of their sum along the axis; -inf all along it stays -inf."""
    total = np.logaddexp.reduce(log_values, axis=axis, keepdims=True)  # for so few values fifty times faster than SciPy
    return log_values - np.where(np.isfinite(total), total, 0.0)


def as_gaussian(component):
    """Return the normal of a Normal vector or number; None for anything else."""
    member = as_member(component)
    if member is None or member.space or member.family not in (NORMAL, VECTOR):
        return None
    loc, factor = map(np.asarray, member.family.canonical(member.form, *member.arrays))
    return Gaussian.of(np.atleast_1d(loc), np.atleast_2d(factor))


def log_overlaps(left, right):
    """Return log of the integral of f_a g_b: the density of one mean around the other, with covariances added."""
    return np.array([[log_overlap(f, g) for g in right] for f in left])


def log_overlap(f: Gaussian, g: Gaussian) -> float:
    return Gaussian.of(g.loc, np.linalg.cholesky(f.covariance + g.covariance)).log_prob(f.loc)


def pairwise(p, q, from_p_to_q, from_p_to_p):
    """Return the pairwise bounds.

    KL(p||q) is cross-entropy minus entropy; the components' own entropies drop out of the bounds on either.

    E_f log(q/f) is at least log sum_b v_b exp(-KL(f||g_b)), and at most, since (sum x)^s <= sum x^s for s <= 1 and
    by Jensen's inequality, log(sum_b v_b^s integral of f^(1-s) g_b^s) / s. For p itself Kolchinsky & Tracey's
    bound by Chernoff coefficients is the tighter one.
    """
    entropy_below, cross_above = log_mean(p.log_weights, -from_p_to_p), log_mean(q.log_weights, -from_p_to_q)
    own = min(p.weights @ log_mean(p.log_weights, -chernoff(p, p, order)) for order in ORDERS)
    powers = [log_mean((1 - order) * q.log_weights, -chernoff(p, q, order)) / (1 - order) for order in ORDERS]
    other = np.minimum(np.min(powers, axis=0), 0.0)  # 0 is the bound of s = 1
    return max(p.weights @ (entropy_below - other), 0.0), own - p.weights @ cross_above


def chernoff(p, q, order):
    """Return -log of the integral of f^order g^(1 - order), for each pair of components."""
    return (1 - order) * between(p, q, order)


METHODS = {"variational": variational, "pairwise": pairwise}
