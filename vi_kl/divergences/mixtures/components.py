"""The components of NumPyro's two kinds of mixture, and the divergences between them."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import (
    Distribution,
    ExpandedDistribution,
    Independent,
    MixtureGeneral,
    MixtureSameFamily,
)

from vi_kl.divergences.f_divergences.exponential_family import renyi_program
from vi_kl.divergences.f_divergences.exponential_members import as_member
from vi_kl.divergences.f_divergences.power_divergence import renyi
from vi_kl.divergences.registry import evaluate

FEWEST_PAIRS = 64  # pairs evaluated together: their number is rounded up, so that few programs are compiled


@dataclasses.dataclass(frozen=True)
class Components:
    """A mixture's components that have a positive weight.

    Attributes:
        log_weights: the log weights, of shape (components,); the weights add up to 1.
        members: the component distributions, without batch dimensions.
    """

    log_weights: np.ndarray
    members: tuple[Distribution, ...]

    @property
    def weights(self) -> np.ndarray:
        return np.exp(self.log_weights)


def components_of(distribution: Distribution) -> Components:
    """Return the components of a mixture without batch dimensions; any other distribution is one component."""
    if isinstance(distribution, MixtureSameFamily):
        batched = distribution.component_distribution
        members = [component(batched, k) for k in range(distribution.mixture_size)]
    elif isinstance(distribution, MixtureGeneral):
        members = distribution.component_distributions
    else:
        return Components(np.zeros(1), (distribution,))
    mixing = distribution.mixing_distribution
    # logits are used if they are given, so that small weights keep their digits
    logits = mixing.logits if "logits" in mixing.__dict__ else jnp.log(mixing.probs)
    log_weights = np.asarray(jax.nn.log_softmax(logits))
    kept = np.flatnonzero(log_weights > -np.inf)
    return Components(log_weights[kept], tuple(members[k] for k in kept))


def component(batched: Distribution, k: int) -> Distribution:
    """Return entry k of the first batch axis, as a distribution of its own."""
    if isinstance(batched, Independent):
        return Independent(component(batched.base_dist, k), batched.reinterpreted_batch_ndims)
    if isinstance(batched, ExpandedDistribution):
        inner = batched.base_dist
        has_axis = len(inner.batch_shape) == len(batched.batch_shape)
        base = component(inner, min(k, inner.batch_shape[0] - 1)) if has_axis else inner
        return base.expand(batched.batch_shape[1:])
    fields = type(batched).gather_pytree_data_fields()
    constraints = {name: getattr(limit, "event_dim", 0) for name, limit in batched.arg_constraints.items()}
    values, settings = batched.tree_flatten()
    dims = len(batched.batch_shape)
    taken = [entry(value, k, dims, constraints.get(name, 0)) for name, value in zip(fields, values, strict=True)]
    names = type(batched).gather_pytree_aux_fields()
    changed = [batched.batch_shape[1:] if n == "_batch_shape" else s for n, s in zip(names, settings, strict=True)]
    return type(batched).tree_unflatten(tuple(changed), tuple(taken))


def entry(value, k, batch_dims, event_dims):
    """Return entry k of a parameter, or the parameter itself if it has fewer axes and so is shared by all entries."""
    if isinstance(value, Distribution):
        return component(value, k)
    if not hasattr(value, "ndim") or value.ndim < batch_dims + event_dims:
        return value
    return value[min(k, value.shape[0] - 1)]


def between(p: Components, q: Components, order: float = 1.0) -> np.ndarray:
    """Return Renyi's divergence of each component of p from each of q, KL for order 1.

    The shape is (components of p, components of q).

    Raises:
        NoClosedForm: a pair has no closed form.
    """
    left, right = ([as_member(member) for member in mixture.members] for mixture in (p, q))
    if None not in left + right and len({(m.family, m.form, m.space, int(m.copies)) for m in left + right}) == 1:
        return between_members(left, right, order)
    divergence = evaluate if order == 1 else lambda f, g: renyi(f, g, order)
    return np.array([[float(divergence(f, g)) for g in q.members] for f in p.members])


def between_members(left, right, order):
    """Return the divergences inside one family, all pairs in one call."""
    count, shape = len(left) * len(right), (len(left), len(right))
    size = max(FEWEST_PAIRS, 2 ** math.ceil(math.log2(count)))
    pairs = [np.repeat(np.arange(len(left)), len(right)), np.tile(np.arange(len(right)), len(left))]
    rows, columns = (np.pad(index, (0, size - count)) for index in pairs)
    arrays = [side[index] for members, index in ((left, rows), (right, columns)) for side in stack_components(members)]
    first = left[0]
    values = renyi_program(first.family)(order, *arrays, p_form=first.form, q_form=first.form)
    return np.asarray(values)[:count].reshape(shape) * int(first.copies)


def stack_components(members):
    """Return the parameter arrays of several members, on a new first axis."""
    return [np.stack(np.broadcast_arrays(*arrays)) for arrays in zip(*(m.arrays for m in members), strict=True)]
