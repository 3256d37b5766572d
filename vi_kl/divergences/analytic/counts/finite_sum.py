"""Divergences and entropies as exact sums over a finite support of single counts.

p's support is listed, so its ends must be known; q may reach beyond it, without a limit too. The divergence is that
of log-sum-exp over p's support, and the cost of the probability that q has elsewhere.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.divergences.analytic.categorical import logits_kl, masked_log_sum_exp
from vi_kl.divergences.analytic.counts.gates import gated, gated_ratio
from vi_kl.divergences.analytic.counts.members import Member, TracedSupport, member_of
from vi_kl.divergences.analytic.counts.pmf_grid import (
    added_up,
    log_step_ratios,
    log_steps,
    most_likely,
    steps_of,
)
from vi_kl.divergences.analytic.counts.tails import EXTENSION, with_tail
from vi_kl.divergences.discrete import safe_log
from vi_kl.divergences.registry import NeedsKnownValues, NoClosedForm, describe, no_closed_form
from vi_kl.divergences.wide import in_wide_precision

MOST_COUNTS = 2_000_000
SMALLEST_GRID = 16
# the arrays of a member in the order in which the program takes them, with their event dimensions
ARRAYS = {
    "parameter": 0,
    "odds": 1,
    "a": 0,
    "b": 0,
    "n": 0,
    "factors": 2,
    "low": 0,
    "high": 0,
    "gate": 0,
    "gate_form": 1,
    "table": 1,
}


def finite_sum(p, q):
    """KL(p||q) for p of finite support.

    Raises:
        NoClosedForm: p's support has no end, its ends are being traced, or it is too large to be listed; or one of
            the two is of no family whose probabilities are known here.
    """
    try:
        left, right = member_of(p), member_of(q)
    except TracedSupport:
        why = "it is a sum over p's support, but total_count, low or high is being traced"
        raise no_closed_form(p, q, why, NeedsKnownValues) from None
    if left is None or right is None or not left.is_finite:
        raise no_closed_form(p, q, "only p of finite support has an exact sum")
    grid = grid_for(left, right, lambda why: no_closed_form(p, q, why))
    arrays = (*arrays_of(left, grid), *arrays_of(right, grid))
    kinds = {"kind_p": kind_of(left), "kind_q": kind_of(right), "gates": left.is_gated or right.is_gated}
    return finite_kl(grid, *arrays, **kinds)


def finite_entropy(p):
    """The entropy of p of finite support.

    Raises:
        NoClosedForm: as for `finite_sum`.
    """
    try:
        member = member_of(p)
    except TracedSupport:
        raise NoClosedForm(
            f"The entropy of {describe(p)} is a sum over its support, but total_count, low or high is being traced."
        ) from None
    if member is None or not member.is_finite:
        raise NoClosedForm(f"No closed form is known for the entropy of {describe(p)}: its support has no end.")
    grid = grid_for(member, member, lambda why: NoClosedForm(f"The entropy of {describe(p)} is not summed: {why}."))
    return finite_entropy_of(grid, *arrays_of(member, grid), kind=kind_of(member), gates=member.is_gated)


def grid_for(p: Member, q: Member, error):
    """All counts that p or, where it has a last one, q may have; and so many more that a tail has settled."""
    low = int(min(np.min(p.low), np.min(q.low), 0 if p.is_gated or q.is_gated else np.inf))
    high = int(np.max(p.high))
    high = max(high, int(np.max(q.high))) if q.is_finite else EXTENSION * max(high, 0) + 2 * EXTENSION**2
    size = high - low + 1
    if size > MOST_COUNTS:
        raise error(f"the sum would have {size:,} terms")
    return low + np.arange(max(SMALLEST_GRID, 1 << (size - 1).bit_length()))  # few sizes, so few programs


def kind_of(member: Member) -> str:
    return member.tail or ("factors" if member.table is None else f"table of {member.table_kind}")


def arrays_of(member: Member, grid):
    values = member._asdict()
    values["table"] = np.zeros(1) if member.table is None else padded(member, grid)
    return [values[name] for name in ARRAYS]


def padded(member: Member, grid):
    """The table with entries of no probability for the rest of the grid."""
    before = -int(grid[0])
    widths = [(0, 0)] * (np.ndim(member.table) - 1) + [(before, len(grid) - before - np.shape(member.table)[-1])]
    xp = jnp if isinstance(member.table, jax.Array) else np
    return xp.pad(member.table, widths, constant_values=-np.inf if member.table_kind == "logits" else 0.0)


def as_member(arrays):
    return SimpleNamespace(**dict(zip(ARRAYS, arrays, strict=True)))


@in_wide_precision(1, *ARRAYS.values(), *ARRAYS.values())
def finite_kl(grid, *arrays, kind_p, kind_q, gates):
    p, q = as_member(arrays[: len(ARRAYS)]), as_member(arrays[len(ARRAYS) :])
    log_p, log_q, delta = log_pmfs(p, q, grid, kind_p, kind_q)
    if gates:
        zero = jnp.pad(grid == 0, [(0, 0)] * (grid.ndim - 1) + [(0, 1)])
        delta = None if delta is None else gated_ratio(p, q, log_p, log_q, delta, zero)
        log_p, log_q = gated(p, log_p, zero), gated(q, log_q, zero)
    return logits_kl(log_p, log_q, delta)


@in_wide_precision(1, *ARRAYS.values())
def finite_entropy_of(grid, *arrays, kind, gates):
    p = as_member(arrays)
    log_p, _, _ = log_pmfs(p, p, grid, kind, kind)
    if gates:
        log_p = gated(p, log_p, jnp.pad(grid == 0, [(0, 0)] * (grid.ndim - 1) + [(0, 1)]))
    return -(jnp.exp(log_p) * jnp.where(log_p > -jnp.inf, log_p, 0.0)).sum(-1)


def log_pmfs(p, q, grid, kind_p, kind_q):
    """log p and log q on the grid, with what lies beyond it as the last entry; and their difference if it is known.

    The difference, up to a constant, is more exact than its parts for two members by factors.
    """
    if "table" in kind_p + kind_q:
        return pmf_alone(p, grid, kind_p, p), pmf_alone(q, grid, kind_q, p), None
    left, right = steps_of(p, grid), steps_of(q, grid)
    steps = jnp.stack([log_steps(left), log_steps(right), log_step_ratios(p, q, left, right, grid)])
    starts = most_likely(steps[:2], jnp.stack([left.support, right.support]))
    log_p, log_q, delta = added_up(steps, jnp.stack([starts[0], starts[1], starts[0]]))
    log_p = normalised(jnp.where(left.support, log_p, -jnp.inf))
    log_q = jnp.where(right.support, log_q, -jnp.inf)
    if kind_q == "factors":
        return log_p, normalised(log_q), with_nothing_beyond(delta, 0.0)
    return log_p, with_tail(q, log_q, steps[1], grid, p.high, kind_q), with_nothing_beyond(delta, 0.0)


def pmf_alone(member, grid, kind, p):
    if "table" in kind:
        return normalised(member.table if "logits" in kind else safe_log(member.table, jnp))
    steps = steps_of(member, grid)
    rows = log_steps(steps)
    log_pmf = jnp.where(steps.support, added_up(rows, most_likely(rows, steps.support)), -jnp.inf)
    return normalised(log_pmf) if kind == "factors" else with_tail(member, log_pmf, rows, grid, p.high, kind)


def normalised(log_pmf):
    total = masked_log_sum_exp(log_pmf, log_pmf > -jnp.inf)[..., None]
    return with_nothing_beyond(jnp.where(log_pmf > -jnp.inf, log_pmf - total, -jnp.inf), -jnp.inf)


def with_nothing_beyond(row, entry):
    return jnp.concatenate([row, jnp.full_like(row[..., :1], entry)], -1)
