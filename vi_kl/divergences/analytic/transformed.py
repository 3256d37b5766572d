"""Entropies of TransformedDistribution: that of the base, and the mean log volume by which the transforms stretch it.

    H(T(X)) = H(X) + E log |det T'(X)|

The mean is known for affine transforms and permutations, where it is a constant, and for the exponential, whose log
stretch is X itself: the mean of the base, taken through the affine transforms before it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import transforms

from vi_kl.divergences.registry import NoClosedForm, closed_form_entropy, describe, evaluate_entropy, known

KEEP_VOLUMES = (transforms.PermuteTransform, transforms.ReshapeTransform, transforms.IdentityTransform)


@closed_form_entropy(dist.TransformedDistribution)
def transformed_entropy(p):
    steps = [part for transform in p.transforms for part in parts_of(transform)]
    entropy, mean, event_shape = evaluate_entropy(p.base_dist), Mean(p.base_dist), p.base_dist.event_shape
    for step in steps:
        entropy = entropy + mean_log_stretch(step, mean, event_shape, p)
        mean = mean.after(step)
        event_shape = step.forward_shape(event_shape)
    return entropy


def parts_of(transform):
    """Return the transforms that a transform is a chain of; one on several dimensions at once is the same on each."""
    if isinstance(transform, transforms.ComposeTransform):
        return [inner for part in transform.parts for inner in parts_of(part)]
    if isinstance(transform, transforms.IndependentTransform):
        return parts_of(transform.base_transform)
    return [transform]


class Mean:
    """A mean of the base, taken through affine transforms; it is computed only if it is needed."""

    def __init__(self, base, steps=()):
        self.base, self.steps = base, steps

    def after(self, step):
        return Mean(self.base, (*self.steps, step))

    def value(self, p):
        if not all(isinstance(step, transforms.AffineTransform) for step in self.steps):
            raise no_entropy(p, "the mean before its last exponential is not known")
        try:
            mean = self.base.mean
        except NotImplementedError:
            raise no_entropy(p, f"the mean of {describe(self.base)} is not known") from None
        if known(mean) and not np.all(np.isfinite(mean)):
            raise no_entropy(p, f"{describe(self.base)} has no finite mean")
        for step in self.steps:
            mean = step.loc + step.scale * mean
        return mean


def mean_log_stretch(step, mean: Mean, event_shape, p):
    if isinstance(step, transforms.AffineTransform):
        return summed(jnp.log(jnp.abs(step.scale)), event_shape)
    if isinstance(step, transforms.LowerCholeskyAffine):
        diagonal = jnp.diagonal(step.scale_tril, axis1=-2, axis2=-1)
        return summed(jnp.log(jnp.abs(diagonal)), event_shape)
    if isinstance(step, KEEP_VOLUMES):
        return 0.0
    if isinstance(step, transforms.ExpTransform) and step.domain.event_dim == 0:
        return summed(mean.value(p), event_shape)
    raise no_entropy(p, f"the mean log volume of its {type(step).__name__} is not known")


def summed(values, event_shape):
    """Return the sum over the axes of an event, along which one value may serve every entry."""
    dims = len(event_shape)
    if not dims:
        return values
    shape = jnp.broadcast_shapes(jnp.shape(values), event_shape)
    xp = jnp if isinstance(values, jax.Array) else np
    return xp.broadcast_to(values, shape).sum(tuple(range(-dims, 0)))


def no_entropy(p, why: str) -> NoClosedForm:
    name = f"{type(p).__name__}({describe(p.base_dist)})"
    return NoClosedForm(
        f"No closed form is known for the entropy of {name} ({why}). estimate_entropy(p, key=...) has an estimate."
    )
