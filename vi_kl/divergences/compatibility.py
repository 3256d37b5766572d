"""Checks of what two distributions must have in common before they can be compared; errors say what is missing."""

import jax.numpy as jnp
from numpyro.distributions import Distribution, ImproperUniform, Unit

from vi_kl.divergences.region import is_discrete
from vi_kl.divergences.support import batch_shape

IMPROPER = (ImproperUniform, Unit)


def check_event_shapes(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"p and q must be distributions over the same space, but p has event shape {p.event_shape} and q has"
            f" {q.event_shape}."
        )


def check_batch_shapes(p, q):
    try:
        jnp.broadcast_shapes(batch_shape(p), batch_shape(q))
    except ValueError:
        raise ValueError(
            f"The batch shapes of p and q do not broadcast: {p.batch_shape} and {q.batch_shape}."
        ) from None


def check_same_kind(p, q):
    reject_improper(p=p, q=q)
    discrete = [is_discrete(d) for d in (p, q)]
    if discrete[0] != discrete[1]:
        kinds = ["discrete" if it_is else "continuous" for it_is in discrete]
        raise ValueError(f"p is {kinds[0]} and q is {kinds[1]}: a pmf and a density cannot be compared.")


def reject_improper(**named):
    """Refuse what NumPyro calls a distribution although it has no finite integral."""
    for name, distribution in named.items():
        if any(isinstance(part, IMPROPER) for part in parts_of(distribution)):
            raise ValueError(
                f"{name}, {type(distribution).__name__}, is no probability distribution: it has no finite integral, so"
                " that nothing can be compared with it. Give it a proper density."
            )


def parts_of(distribution):
    """Yield the distribution and those inside it."""
    yield distribution
    inside = [getattr(distribution, name, None) for name in ("base_dist", "component_distribution")]
    for part in (*inside, *getattr(distribution, "component_distributions", ())):
        if isinstance(part, Distribution):
            yield from parts_of(part)


def check_one_pair(p, q, function: str):
    """Refuse batches, for the functions that do not take them and that the error names."""
    if p.batch_shape or q.batch_shape:
        raise ValueError(
            f"{function} takes one pair at a time, but the batch shapes of p and q are {p.batch_shape} and"
            f" {q.batch_shape}; .to_event() makes them one joint distribution."
        )
    check_event_shapes(p, q)
