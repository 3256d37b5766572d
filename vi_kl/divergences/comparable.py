"""What two distributions must have in common before they can be compared; errors that say what is not."""

import jax.numpy as jnp

from vi_kl.divergences.support import batch_shape


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
    if p.support is None or q.support is None:  # NumPyro's Levy forgets it under jit
        return
    if p.support.is_discrete != q.support.is_discrete:
        kinds = ["discrete" if d.support.is_discrete else "continuous" for d in (p, q)]
        raise ValueError(f"p is {kinds[0]} and q is {kinds[1]}: a pmf and a density cannot be compared.")


def check_one_pair(p, q, function: str):
    """For the functions, named in the error, that do not take batches."""
    if p.batch_shape or q.batch_shape:
        raise ValueError(
            f"{function} takes one pair at a time, but the batch shapes of p and q are {p.batch_shape} and"
            f" {q.batch_shape}; .to_event() makes them one joint distribution."
        )
    check_event_shapes(p, q)
