"""Closed forms of structure: independent parts, masks, shared transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import transforms

from vi_kl.divergences.registry import (
    closed_form,
    closed_form_entropy,
    evaluate,
    evaluate_entropy,
    known,
    no_closed_form,
)

NOT_INJECTIVE = (transforms.AbsTransform, transforms.L1BallTransform)


@closed_form(dist.Independent, dist.Independent, delegates=True)
def independent(p, q):
    """Return the sum over the event dimensions that both declare independent."""
    shared = min(p.reinterpreted_batch_ndims, q.reinterpreted_batch_ndims)
    return sum_last(evaluate(with_fewer_event_dims(p, shared), with_fewer_event_dims(q, shared)), shared)


@closed_form_entropy(dist.Independent)
def independent_entropy(p):
    dims = p.reinterpreted_batch_ndims
    return sum_last(evaluate_entropy(with_fewer_event_dims(p, dims)), dims)


def with_fewer_event_dims(independent, count):
    left = independent.reinterpreted_batch_ndims - count
    return dist.Independent(independent.base_dist, left) if left else independent.base_dist


def sum_last(values, count):
    return values.sum(tuple(range(-count, 0))) if count else values


@closed_form(dist.MaskedDistribution, dist.MaskedDistribution, delegates=True)
@closed_form(dist.MaskedDistribution, dist.Distribution, delegates=True)
@closed_form(dist.Distribution, dist.MaskedDistribution, delegates=True)
@closed_form(dist.Delta, dist.MaskedDistribution, delegates=True)
def masked(p, q):
    """Return KL where neither of them is masked, and 0 elsewhere."""
    (base_p, mask_p), (base_q, mask_q) = unmasked(p), unmasked(q)
    divergence = evaluate(base_p, base_q)
    return jnp.where(jnp.logical_and(mask_p, mask_q), divergence, jnp.zeros_like(divergence))


def unmasked(distribution):
    if isinstance(distribution, dist.MaskedDistribution):
        return distribution.base_dist, distribution._mask
    return distribution, True


@closed_form(dist.TransformedDistribution, dist.TransformedDistribution)
def transformed(p, q):
    """Return KL before the transforms that both end with: an injective transform of both changes nothing."""
    shared = common_transforms(p.transforms, q.transforms)
    if not shared:
        raise no_closed_form(p, q, "no injective transform is the last of both")
    return evaluate(*(before(d, shared) for d in (p, q)))


def common_transforms(left, right):
    """Return how many of the last transforms are injective and the same."""
    count = 0
    for a, b in zip(reversed(left), reversed(right), strict=False):
        if not (is_injective(a) and is_same(a, b)):
            break
        count += 1
    return count


def before(distribution, count):
    """Return the distribution before the last `count` transforms, over an event that those transforms take."""
    kept, dropped = distribution.transforms[:-count], distribution.transforms[-count:]
    base = distribution.base_dist
    rest = dist.TransformedDistribution(base, list(kept), validate_args=False) if kept else base
    grown = sum(t.codomain.event_dim - t.domain.event_dim for t in dropped)
    missing = distribution.event_dim - grown - rest.event_dim
    return rest.to_event(missing) if missing > 0 else rest


def is_injective(transform):
    parts = getattr(transform, "parts", None) or [
        getattr(transform, name) for name in ("base_transform", "_inv") if getattr(transform, name, None) is not None
    ]
    return not isinstance(transform, NOT_INJECTIVE) and all(map(is_injective, parts))


def is_same(left, right):
    """Return whether two transforms are known to be the same; traced parameters are if they are the same object."""
    (a, structure_a), (b, structure_b) = jax.tree.flatten(left), jax.tree.flatten(right)
    if type(left) is not type(right) or structure_a != structure_b:
        return False
    return all(x is y or (known(x, y) and np.array_equal(x, y)) for x, y in zip(a, b, strict=True))
