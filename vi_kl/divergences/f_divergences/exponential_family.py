"""Renyi divergences inside an exponential family, and through them the other power divergences.

If p and q are in one exponential family, p^a q^(1 - a) is proportional to the member m with the natural parameters
a eta_p + (1 - a) eta_q, if these belong to the family; otherwise it has no finite integral. So

    (1 - a) R_a(p||q) = a KL(m||p) + (1 - a) KL(m||q)           = -log of the integral of p^a q^(1 - a)
            R_a(p||q) = KL(p||q) + KL(p||m) / (a - 1)           for a > 1

The textbook formula, a difference of log normalisers, cancels where p and q nearly agree; a sum of KL divergences
does not, each being a sum of terms that are not negative. A `Family` declares its natural parameters' geodesic
(`mix`) and its KL; nothing else is needed. Members of different classes that a common map takes into one family
(LogNormal and Normal) are declared as members of it, and the map's name keeps the spaces apart.

Digits are lost next to the edge of the natural parameters, where m is ill-conditioned; in large orders,
about log10(a) of the sixteen; in orders a next to 1 where p and q agree to nearly all digits (with parameters equal
to d, the relative error is 1e-32 / (|a - 1| d^2)); and in categories that nearly agree, whose logs are rounded.

References: van Erven & Harremoes (2014), "Renyi divergence and Kullback-Leibler divergence", IEEE Trans. Inf.
Theory 60(7), theorem 30; Nielsen & Nock (2011), "On Renyi and Tsallis entropies and divergences for exponential
families"; Gil, Alajaji & Linder (2013), "Renyi divergence measures for commonly used univariate continuous
distributions", Information Sciences 249.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax.numpy as jnp

from vi_kl.divergences.float64 import computed_in_float64

LARGE_STEP = 1.0  # nats from m to q above which the second form is more accurate


@dataclasses.dataclass(frozen=True)
class Family:
    """An exponential family, as functions of tuples of parameter arrays.

    Attributes:
        event_dims: the number of last axes of each parameter array that belong to one distribution.
        mix: the function from (order, p, q) to the parameters of m, and whether the family contains m.
        divergence: the function from (p, q) to KL(p||q).
        largest_log_ratio: the function from (p, q) to the supremum of log p/q, Renyi's divergence of order infinity;
            None if no expression is known.
        canonical: the function from (form, *arrays as given) to the parameters; the form ("logits", say) is the
            member's.
    """

    event_dims: tuple[int, ...]
    mix: Callable
    divergence: Callable
    largest_log_ratio: Callable | None = None
    canonical: Callable = lambda form, *arrays: arrays


@functools.cache
def renyi_program(family: Family):
    """Return the compiled divergence of finite positive order, a function of the order and the arrays of p and of q."""

    @computed_in_float64(0, *family.event_dims, *family.event_dims)
    def renyi(order, *arrays, p_form, q_form):
        count = len(family.event_dims)
        p = family.canonical(p_form, *arrays[:count])
        q = family.canonical(q_form, *arrays[count:])
        m, inside = family.mix(order, p, q)
        m = tuple(jnp.where(expand_like(inside, x), x, y) for x, y in zip(m, p, strict=True))
        # one evaluation, so that one program is compiled
        pairs = [stack_members(m, m, p, p), stack_members(p, q, m, q)]
        from_m_to_p, from_m_to_q, from_p_to_m, from_p_to_q = family.divergence(*pairs)
        one = order == 1
        step = jnp.where(one, 1.0, order - 1)
        weighted = jnp.where(one, 0.0, order / step * jnp.where(one, 0.0, from_m_to_p))
        second_form = (order > 1) & ~(from_m_to_q < LARGE_STEP)
        value = jnp.where(second_form, from_p_to_q + from_p_to_m / step, from_m_to_q - weighted)
        return jnp.where(one, from_p_to_q, jnp.where(inside, value, jnp.inf))

    return renyi


@functools.cache
def largest_log_ratio_program(family: Family):
    @computed_in_float64(*family.event_dims, *family.event_dims)
    def largest_log_ratio(*arrays, p_form, q_form):
        count = len(family.event_dims)
        p = family.canonical(p_form, *arrays[:count])
        return family.largest_log_ratio(p, family.canonical(q_form, *arrays[count:]))

    return largest_log_ratio


def stack_members(*members):
    """Return the members' parameters, each on a new first axis."""
    return tuple(jnp.stack(jnp.broadcast_arrays(*arrays)) for arrays in zip(*members, strict=True))


def expand_like(condition, array):
    return condition.reshape(condition.shape + (1,) * (array.ndim - condition.ndim))


def between(order, x, y):
    """Return order x + (1 - order) y, exact to the last digits where x and y nearly agree."""
    return x + (1 - order) * (y - x)


def between_logs(order, log_x, log_y):
    """Return `between` of logarithms of probabilities.

    Where x is 0, so is x^a y^(1-a); where only y is 0, it is 0 or infinite.
    """
    both = (log_x > -jnp.inf) & (log_y > -jnp.inf)
    inner = between(order, jnp.where(both, log_x, 0.0), jnp.where(both, log_y, 0.0))
    edge = jnp.where((log_x > -jnp.inf) & (order > 1), jnp.inf, -jnp.inf)
    return jnp.where(both, inner, edge)
