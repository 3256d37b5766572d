"""The exact log density of a distribution: normalised, and -inf wherever it gives no probability.

NumPyro's `log_prob` may be any number beyond the support. For a mixture of components with different supports, a
transformed distribution whose base does not fill the line, or a folded one, it is wrong inside too: it adds up what
components give beyond their own supports. So these are taken apart here, and put together from the densities of their
parts.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import transforms
from numpyro.distributions.mixtures import MixtureGeneral, MixtureSameFamily

from vi_kl.divergences.images import event_dims, single_transforms
from vi_kl.divergences.region import is_discrete


def log_density(distribution, x):
    """Return the log density (or log pmf) at x, in the batch shape; -inf outside the support."""
    match distribution:
        case dist.ExpandedDistribution():
            shape = jnp.broadcast_shapes(distribution.batch_shape, batch_shape_of(distribution, x))
            return jnp.broadcast_to(log_density(distribution.base_dist, x), shape)
        case dist.Independent():
            axes = tuple(range(-distribution.reinterpreted_batch_ndims, 0))
            shape = jnp.broadcast_shapes(distribution.base_dist.batch_shape, batch_shape_of(distribution.base_dist, x))
            return jnp.broadcast_to(log_density(distribution.base_dist, x), shape).sum(axes)
        case dist.MaskedDistribution():
            return jnp.where(distribution._mask, log_density(distribution.base_dist, x), 0.0)
        case MixtureSameFamily() | MixtureGeneral():
            return of_mixture(distribution, x)
        case dist.FoldedDistribution():
            return folded(distribution.base_dist, x)
        case dist.Levy():  # it forgets its support under jit
            return where_inside(x > distribution.loc, distribution, x)
        case dist.TransformedDistribution() if type(distribution).log_prob is dist.TransformedDistribution.log_prob:
            return of_transformed(distribution, x)
    return where_inside(distribution.support(x), distribution, x)


def where_inside(inside, distribution, x):
    return jnp.where(inside, distribution.log_prob(x), -jnp.inf)


def batch_shape_of(distribution, x):
    return jnp.shape(x)[: max(jnp.ndim(x) - distribution.event_dim, 0)]


def of_mixture(mixture, x):
    """Return the log of the components' densities, each on its own support, summed by their weights."""
    if isinstance(mixture, MixtureSameFamily):
        parts = log_density(mixture.component_distribution, jnp.expand_dims(x, mixture.mixture_dim))
    else:
        each = [log_density(component, x) for component in mixture.component_distributions]
        parts = jnp.stack(jnp.broadcast_arrays(*each), axis=-1)
    log_weights = jax.nn.log_softmax(mixture.mixing_distribution.logits)
    total = jnp.where(log_weights > -jnp.inf, log_weights + parts, -jnp.inf)  # without weight it does not count
    total = jnp.where(jnp.isnan(log_weights), jnp.nan, total)
    return log_sum_exp_of(total)


def log_sum_exp_of(parts):
    """Return log sum exp, without a NaN derivative where some, or all, parts are -inf."""
    largest = jax.lax.stop_gradient(parts.max(-1, keepdims=True))
    largest = jnp.where(jnp.isfinite(largest), largest, 0.0)
    some = parts > -jnp.inf
    inside = some.any(-1) | jnp.isnan(parts).any(-1)
    shifted = jnp.where(some | jnp.isnan(parts), jnp.exp(jnp.where(parts == -jnp.inf, 0.0, parts - largest)), 0.0)
    total = shifted.sum(-1)
    return jnp.where(inside, jnp.log(jnp.where(inside, total, 1.0)) + largest[..., 0], -jnp.inf)


def folded(base, x):
    """Return the log density of |X|, from both sides; an atom at 0 is counted once."""
    from_below = log_density(base, -x)
    from_below = jnp.where(x == 0, -jnp.inf, from_below) if is_discrete(base) else from_below
    both = jnp.stack([log_density(base, x), from_below], -1)
    return jnp.where(x >= 0, log_sum_exp_of(both), -jnp.inf)


def of_transformed(distribution, x):
    """Return the log density by going backwards through the transforms, while x lies in each one's codomain."""
    discrete = is_discrete(distribution.base_dist)
    event_dim, inside, log_jacobian = distribution.event_dim, True, 0.0
    steps = single_transforms(distribution.transforms)
    for i, transform in reversed(list(enumerate(steps))):
        before, after = event_dims(transform)
        extra = event_dim - after
        if isinstance(transform, transforms.AbsTransform):
            return jnp.where(
                inside, sum_last(before_fold(distribution, steps[:i], x), event_dim) + log_jacobian, -jnp.inf
            )
        inside = inside & all_last(leads_to(transform, x), extra)
        origin = transform.inv(x)
        if before == 0:  # values without an origin are not reached
            inside = inside & all_last(~jnp.isnan(origin) | jnp.isnan(x), extra)
        if not discrete:
            log_jacobian = log_jacobian - sum_last(transform.log_abs_det_jacobian(origin, x), extra)
        x, event_dim = origin, before + extra
    base = sum_last(log_density(distribution.base_dist, x), event_dim - distribution.base_dist.event_dim)
    return jnp.where(inside & (base != -jnp.inf), base + log_jacobian, -jnp.inf)


def before_fold(distribution, steps, x):
    """Return the density of the absolute values of numbers, each of which has two origins."""
    base = distribution.base_dist
    while isinstance(base, dist.Independent):
        base = base.base_dist
    if base.event_shape:
        raise ValueError(
            f"The density of {type(base).__name__} after an AbsTransform is not known: it is not injective."
        )
    return folded(dist.TransformedDistribution(base, steps, validate_args=False) if steps else base, x)


def leads_to(transform, x):
    """Return whether x is in the codomain, in the batch shape; True if the transform does not say."""
    try:
        codomain = transform.codomain
    except NotImplementedError:
        return True
    return codomain(x)


def sum_last(values, count):
    return jnp.sum(values, tuple(range(-count, 0))) if count > 0 else values


def all_last(values, count):
    count = min(count, np.ndim(values))
    return jnp.all(values, tuple(range(-count, 0))) if count > 0 else values
