"""Total variation and Jensen-Shannon divergences between distributions, where they have simple forms.

Neither is a function of an integral that exponential families know. Total variation is the excess of p over q in
the region where p is the larger: on the line that region lies between points where the densities cross.
"""

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import erf, ndtr

from vi_kl.divergences.compatibility import check_batch_shapes
from vi_kl.divergences.f_divergences import finite
from vi_kl.divergences.f_divergences.exponential_families import CATEGORIES, GAMMA, NORMAL, TRIALS
from vi_kl.divergences.f_divergences.generators import FIXED
from vi_kl.divergences.f_divergences.power_divergence import comparable_members, no_closed_form
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import expanded_shapes, unexpanded


def total_variation(p, q):
    """Return TV between two Normals, LogNormals, Exponentials, Categoricals or Bernoullis.

    Other pairs raise NoClosedForm.
    """
    left, right = comparable_members(p, q, "the total variation")
    if left.family is NORMAL and left.space in ("", "log"):
        return in_batch(p, q, normal_total_variation, *left.arrays, *right.arrays)
    if left.family is GAMMA and all(isinstance(unexpanded(d), dist.Exponential) for d in (p, q)):
        return in_batch(p, q, exponential_total_variation, left.arrays[1], right.arrays[1])
    return finite_divergence("total_variation", p, q)


def jensen_shannon(p, q):
    """Return JS between two Categoricals or Bernoullis; others raise NoClosedForm."""
    return finite_divergence("jensen_shannon", p, q)


def finite_divergence(kind, p, q):
    left, right = comparable_members(p, q, f"the {FIXED[kind].name}")
    single = isinstance(left.copies, int) and left.copies == 1
    program = {TRIALS: trial_divergence, CATEGORIES: categories_divergence}.get(left.family)
    if program is None or not single:
        raise no_closed_form(f"the {FIXED[kind].name}", p, q)
    return in_batch(p, q, program, *left.arrays, *right.arrays, kind=kind, p_form=left.form, q_form=right.form)


def in_batch(p, q, program, *arrays, **static):
    try:
        value = program(*arrays, **static)
        return jnp.broadcast_to(value, jnp.broadcast_shapes(value.shape, *expanded_shapes(p, q)))
    except (ValueError, TypeError):
        check_batch_shapes(p, q)
        raise


@computed_in_float64(0, 0)
def trial_divergence(p, q, *, kind, p_form, q_form):
    return between_logits(TRIALS, p, q, kind, p_form, q_form)


@computed_in_float64(1, 1)
def categories_divergence(p, q, *, kind, p_form, q_form):
    return between_logits(CATEGORIES, p, q, kind, p_form, q_form)


def between_logits(family, p, q, kind, p_form, q_form):
    (log_p,), (log_q,) = family.canonical(p_form, p), family.canonical(q_form, q)
    return finite.f_divergence(FIXED[kind], jnp.exp(log_p), jnp.exp(log_q))


@computed_in_float64(0, 0, 0, 0)
def normal_total_variation(loc_p, scale_p, loc_q, scale_q):
    """Return TV from the two points where the densities cross.

    The unit is the narrower scale, and the wider one lies to its right.

    It is absolutely exact to 1e-16; for nearly equal, but not equal, scales a small value loses digits relatively.
    """
    narrow, wide = jnp.minimum(scale_p, scale_q), jnp.maximum(scale_p, scale_q)
    shift, ratio = abs(loc_p - loc_q) / narrow, wide / narrow
    excess = (wide - narrow) / narrow * (1 + ratio)  # ratio^2 - 1
    differ = excess > 0
    # the roots of excess y^2 + 2 shift y = rest
    rest = shift**2 + 2 * ratio**2 * jnp.log(ratio)
    root = jnp.where(differ, shift**2 + excess * rest, 1.0) ** 0.5
    upper, lower = rest / (shift + root), -(shift + root) / jnp.where(differ, excess, 1.0)
    more = ndtr(upper) - ndtr((upper - shift) / ratio) + ndtr((lower - shift) / ratio) - ndtr(lower)
    return jnp.where(differ, more, erf(shift / 8**0.5))


@computed_in_float64(0, 0)
def exponential_total_variation(rate_p, rate_q):
    """Return TV; the densities cross once, at log(r/s)/(r - s)."""
    larger, smaller = jnp.maximum(rate_p, rate_q), jnp.minimum(rate_p, rate_q)
    d = (larger - smaller) / smaller
    differ = d > 0
    d = jnp.where(differ, d, 1.0)
    return jnp.where(differ, jnp.exp(-jnp.log1p(d) / d) * d / (1 + d), 0.0)
