"""KL from a batch of Gaussians to one mixture of Gaussians, for use in a loss: batched, jittable, differentiable.

A VampPrior and similar priors are such mixtures, and each q(z|x) is one Gaussian of the batch. If p is a single
component f, the two bounds on E_f log f/q are, from the divergences KL(f||g_b) and the overlaps of f and g_b,

    above    -log sum_b v_b exp(-KL(f||g_b))              Hershey & Olsen's, whose best assignment is known here
    below    -H(f) - log sum_b v_b integral of f g_b      Jensen's inequality; and 0

References: see `bounds`; Tomczak & Welling (2018), "VAE with a VampPrior".
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from numpyro.distributions import (
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from vi_kl.core.annotations import KeyLike
from vi_kl.divergences.analytic.gaussian.vector import loc_and_scale
from vi_kl.divergences.mixtures.bounds import MixtureBounds
from vi_kl.divergences.registry import evaluate, evaluate_entropy, no_closed_form, unexpanded


class BatchEstimate(NamedTuple):
    """A batch of means over draws and their standard errors, in nats, one per batch entry."""

    value: jax.Array
    standard_error: jax.Array


def mixture_prior_kl_bounds(p: Distribution, q: MixtureSameFamily) -> MixtureBounds:
    """Return bounds of KL(p||q) for each of a batch of Gaussians p and one mixture of Gaussians q, in nats.

    Args:
        p: Normal, Normal(...).to_event(1) or MultivariateNormal, with any batch shape.
        q: MixtureSameFamily of the same kind of components, without batch dimensions.

    Returns:
        A MixtureBounds whose `lower` and `upper` are arrays of p's batch shape; it works under jit, vmap and grad too.

    Raises:
        NoClosedForm: p and q are of other kinds.
        ValueError: q has batch dimensions, or another event shape.
    """
    check(p, q)
    weights = log_weights(q)
    each = with_new_axis(p)
    divergences = evaluate(each, q.component_distribution)
    upper = -jax.nn.logsumexp(weights - divergences, axis=-1)
    overlap = jax.nn.logsumexp(weights + log_overlaps(each, q.component_distribution), axis=-1)
    lower = jnp.maximum(-evaluate_entropy(p) - overlap, 0.0)
    return MixtureBounds(lower, upper, "variational")


def mixture_prior_kl(p: Distribution, q: MixtureSameFamily, key: KeyLike, num_draws: int = 64) -> BatchEstimate:
    """Estimate KL(p||q) for each of a batch, as a mean over draws of p.

    The mean is differentiable by the parameters of both.

    Arguments and errors are those of `mixture_prior_kl_bounds`. The value is unbiased; the error is the mean's own.
    """
    check(p, q)
    if num_draws < 2:
        raise ValueError(f"num_draws must be at least 2, got {num_draws}.")
    draws = p.sample(key, (num_draws,))
    log_ratio = p.log_prob(draws) - q.log_prob(draws)
    return BatchEstimate(log_ratio.mean(0), log_ratio.std(0, ddof=1) / math.sqrt(num_draws))


def check(p, q) -> None:
    if not isinstance(q, MixtureSameFamily) or kind_of(p) is None or kind_of(q.component_distribution) != kind_of(p):
        why = "p must be Normal, Normal(...).to_event(1) or MultivariateNormal, and q a MixtureSameFamily of such"
        raise no_closed_form(p, q, why)
    if q.batch_shape:
        raise ValueError(f"q must be one mixture, but its batch shape is {q.batch_shape}.")
    if p.event_shape != q.event_shape:
        raise ValueError(f"p has event shape {p.event_shape} and q has {q.event_shape}.")


def kind_of(distribution) -> type | None:
    """Return the kind of Gaussian: Normal also for independent ones; None for anything that is not Gaussian here."""
    inner = unexpanded(distribution)
    if isinstance(inner, Independent):
        return Independent if type(unexpanded(inner.base_dist)) is Normal and inner.event_dim == 1 else None
    return next((kind for kind in (Normal, MultivariateNormal) if type(inner) is kind), None)


def log_weights(q):
    mixing = q.mixing_distribution
    if "logits" in mixing.__dict__:
        return jax.nn.log_softmax(mixing.logits)
    return jnp.log(mixing.probs) - jnp.log(mixing.probs.sum(-1, keepdims=True))


def with_new_axis(p):
    """Return the batch of p with a last axis of size one, along which the components of q lie."""
    inner = unexpanded(p)
    if isinstance(inner, Independent):
        loc, scale = loc_and_scale(p)
        return Normal(loc[..., None, :], scale[..., None, :]).to_event(1)
    if isinstance(inner, Normal):
        return Normal(*(jnp.broadcast_to(x, p.batch_shape)[..., None] for x in (inner.loc, inner.scale)))
    loc = jnp.broadcast_to(inner.loc, (*p.batch_shape, *p.event_shape))
    tril = jnp.broadcast_to(inner.scale_tril, (*p.batch_shape, *p.event_shape, *p.event_shape))
    return MultivariateNormal(loc[..., None, :], scale_tril=tril[..., None, :, :])


def log_overlaps(each, components):
    """Return log of the integral of f g: the density of one mean around the other, with the covariances added."""
    if kind_of(each) is MultivariateNormal:
        inner = unexpanded(components)
        square = lambda tril: tril @ jnp.swapaxes(tril, -1, -2)  # noqa: E731
        covariance = square(each.scale_tril) + square(inner.scale_tril)
        return MultivariateNormal(inner.loc, covariance_matrix=covariance).log_prob(each.loc)
    if kind_of(each) is Independent:
        (loc, scale), (other_loc, other_scale) = loc_and_scale(each), loc_and_scale(components)
        return Normal(other_loc, jnp.hypot(scale, other_scale)).log_prob(loc).sum(-1)
    inner = unexpanded(components)
    return Normal(inner.loc, jnp.hypot(each.scale, inner.scale)).log_prob(each.loc)
