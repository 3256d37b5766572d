"""Closed forms of structure: Independent, whose divergences add up."""

import numpyro.distributions as dist

from vi_kl.divergences.registry import closed_form, closed_form_entropy, evaluate, evaluate_entropy


@closed_form(dist.Independent, dist.Independent)
def independent(p, q):
    """The sum over the event dimensions that both declare independent."""
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
