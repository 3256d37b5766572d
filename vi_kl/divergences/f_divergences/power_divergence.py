"""Closed forms of Renyi's divergence between distributions, and of its functions.

Let A be the integral of p^a q^(1 - a). Renyi's divergence is log A / (a - 1), so it gives the alpha divergences, the
Bhattacharyya and Hellinger distances (a = 1/2) and the chi-squared divergence (a = 2).
"""

import math

import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Independent

from vi_kl.divergences.analytic.counts.count import known
from vi_kl.divergences.analytic.structure import sum_last, with_fewer_event_dims
from vi_kl.divergences.compatibility import check_batch_shapes
from vi_kl.divergences.f_divergences.exponential_family import largest_log_ratio_program, renyi_program
from vi_kl.divergences.f_divergences.exponential_members import as_member
from vi_kl.divergences.registry import NoClosedForm, describe, expanded_shapes


def renyi(p, q, order: float):
    """Return Renyi's divergence of any order, in nats.

    NoClosedForm is raised unless p and q are of one exponential family.
    """
    if order < 0:
        weight = -1.0 if math.isinf(order) else order / (1 - order)
        return weight * renyi(q, p, 1 - order)
    if isinstance(p, Independent) and isinstance(q, Independent):
        return independent_renyi(p, q, order)
    left, right = comparable_members(p, q)
    if math.isinf(order) and left.family.largest_log_ratio is None:
        raise no_closed_form("the Renyi divergence of infinite order", p, q)
    forms = {"p_form": left.form, "q_form": right.form}
    try:
        if math.isinf(order):
            value = largest_log_ratio_program(left.family)(*left.arrays, *right.arrays, **forms)
        else:
            value = renyi_program(left.family)(float(order), *left.arrays, *right.arrays, **forms)
        value = times_copies(value, left.copies)
        return jnp.broadcast_to(value, jnp.broadcast_shapes(value.shape, *expanded_shapes(p, q)))
    except (ValueError, TypeError):
        check_batch_shapes(p, q)
        raise


def independent_renyi(p, q, order):
    """Return the sum over the event dimensions that both declare independent."""
    shared = min(p.reinterpreted_batch_ndims, q.reinterpreted_batch_ndims)
    return sum_last(renyi(with_fewer_event_dims(p, shared), with_fewer_event_dims(q, shared), order), shared)


def comparable_members(p, q, what="a power divergence (Renyi, alpha, Hellinger, chi-squared)"):
    """Return p and q as members of one family over one space, representing equally many draws.

    Raises:
        NoClosedForm: p and q are not such members.
    """
    left, right = as_member(p), as_member(q)
    if left is None or right is None or (left.family, left.space) != (right.family, right.space):
        raise no_closed_form(what, p, q)
    if known(left.copies, right.copies):
        if np.any(np.asarray(left.copies) != np.asarray(right.copies)):
            raise no_closed_form(what, p, q, "their numbers of trials differ")
    elif left.copies is not right.copies:
        raise no_closed_form(what, p, q, "whether their numbers of trials agree is unknown under jit")
    return left, right


def times_copies(value, copies):
    """Return the value times the copies; zero copies give 0, even of an infinite value."""
    if known(copies) and np.ndim(copies) == 0:
        return value if copies == 1 else (copies * value if copies > 0 else 0.0 * value)
    return jnp.where(copies > 0, copies * value, 0.0)


def no_closed_form(what, p, q, why="") -> NoClosedForm:
    reason = f" ({why})" if why else ""
    return NoClosedForm(
        f"No closed form is known for {what} between {describe(p)} and {describe(q)}{reason}."
        " estimate_f_divergence(p, q, kind, key=...) gives the value with its error."
    )


def alpha_of_renyi(divergence, alpha: float):
    """Return (A - 1) / (alpha (alpha - 1)), for alpha of at least 1/2."""
    b = alpha - 1
    return (divergence if b == 0 else jnp.expm1(b * divergence) / b) / alpha


def alpha(p, q, alpha: float):
    if alpha < 0.5:
        p, q, alpha = q, p, 1 - alpha
    return alpha_of_renyi(renyi(p, q, alpha), alpha)


def bhattacharyya(p, q):
    return renyi(p, q, 0.5) / 2


def squared_hellinger(p, q):
    return -jnp.expm1(-bhattacharyya(p, q))


def hellinger(p, q):
    square = squared_hellinger(p, q)
    zero = square == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, square)))  # no NaN derivative at 0


def chi_squared(p, q):
    return jnp.expm1(renyi(p, q, 2.0))
