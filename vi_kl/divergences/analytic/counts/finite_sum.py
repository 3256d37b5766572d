"""Divergences and entropies as sums over single counts.

p's support is listed: up to its end, or to where almost no probability is left (grid_length.py); q may reach beyond
it, also without a limit. The divergence is that of log-sum-exp over p's support, plus the cost of the probability that
q has elsewhere.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.divergences.analytic.categorical import logits_kl, masked_log_sum_exp
from vi_kl.divergences.analytic.counts.gates import log_pmf_behind_gate, log_ratio_behind_gates
from vi_kl.divergences.analytic.counts.grid_length import (
    HAVE_LIGHT_TAILS,
    last_count,
    reach,
)
from vi_kl.divergences.analytic.counts.members import Member, member_of
from vi_kl.divergences.analytic.counts.pmf_grid import (
    added_up,
    log_step_ratios,
    log_steps,
    most_likely,
    steps_of,
)
from vi_kl.divergences.analytic.counts.running_sum import running_entropy, running_kl
from vi_kl.divergences.analytic.counts.tails import with_tail
from vi_kl.divergences.discrete import safe_log
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import NeedsKnownValues, NoClosedForm, describe, known, no_closed_form

MOST_COUNTS = 2_000_000
SMALLEST_GRID = 16
TRACED = (
    "the counts of Categorical, zero-inflated and hurdle distributions are listed, but where they end is being traced"
    " (total_count, low, high, or a rate): build the distributions inside the compiled function, from numbers"
)
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
    """Return KL(p||q) as a sum over p's support, or as much of it as counts.

    If the last count is being traced and turns out larger than the longest sum, the result is NaN.

    Raises:
        NoClosedForm: p's support has no end and too heavy a tail to be cut off, or is too large to be listed; or one
            of the two is of a family whose probabilities are not known here.
    """
    left, right = member_of(p), member_of(q)
    if left is None or right is None or not (left.is_finite or left.tail in HAVE_LIGHT_TAILS):
        raise no_closed_form(p, q, "only p of finite support, or with a light tail, has a sum")
    if not ends_are_known(left, right):
        if not (is_plain(left) and is_plain(right)):
            raise no_closed_form(p, q, TRACED, NeedsKnownValues)
        kinds = {"kind_p": kind_of(left), "kind_q": kind_of(right)}
        return traced_kl(*plain_arrays_of(left), *plain_arrays_of(right), **kinds)
    left = cut_off(left)
    grid = grid_for(left, right, lambda why: no_closed_form(p, q, why))
    arrays = (*arrays_of(left, grid), *arrays_of(right, grid))
    gates = left.is_zero_modified or right.is_zero_modified
    return finite_kl(grid, *arrays, kind_p=kind_of(left), kind_q=kind_of(right), gates=gates)


def finite_entropy(p):
    """Return the entropy of p, by a sum over its support.

    Raises:
        NoClosedForm: see `finite_sum`.
    """
    member = member_of(p)
    if member is None or not (member.is_finite or member.tail in HAVE_LIGHT_TAILS):
        raise NoClosedForm(f"No closed form is known for the entropy of {describe(p)}: its support has no end.")
    if not ends_are_known(member):
        if not is_plain(member):
            raise NoClosedForm(f"The entropy of {describe(p)} is not known here: {TRACED}.")
        return traced_entropy_of(*plain_arrays_of(member), kind=kind_of(member))
    member = cut_off(member)
    grid = grid_for(member, member, lambda why: NoClosedForm(f"The entropy of {describe(p)} is not summed: {why}."))
    return finite_entropy_of(grid, *arrays_of(member, grid), kind=kind_of(member), gates=member.is_zero_modified)


def is_plain(member: Member) -> bool:
    return member.table is None and not member.is_zero_modified


def ends_are_known(p: Member, q: Member | None = None) -> bool:
    """Return whether the counts that a sum takes can be listed now, and not only when the program runs."""
    ends = [p.low, p.high, *((q.low, q.high) if q else ()), *(() if p.is_finite else (p.parameter, p.a))]
    return known(*ends)


def cut_off(member: Member) -> Member:
    """Return p with a last count, beyond which it has no probability that counts."""
    if member.is_finite:
        return member
    numbers = {
        name: np.asarray(value, np.float64) for name, value in (("parameter", member.parameter), ("a", member.a))
    }
    return member._replace(high=np.nan_to_num(reach(member._replace(**numbers), member.tail), posinf=np.inf), tail="")


def grid_for(p: Member, q: Member, error):
    """Return all counts that p and q may have, and enough further ones for a tail to settle.

    If q has no last count, p's decides.
    """
    low = min(np.min(p.low), np.min(q.low), 0 if p.is_zero_modified or q.is_zero_modified else np.inf)
    high = last_count(np.max(p.high), np.max(q.high), q.is_finite)
    size = high - low + 1
    if size > MOST_COUNTS:
        raise error(f"the sum would have {size:,.0f} terms")
    size = max(SMALLEST_GRID, 1 << (int(size) - 1).bit_length())  # few sizes, so that there are few programs
    return int(low) + np.arange(size)


def kind_of(member: Member) -> str:
    return member.tail or ("factors" if member.table is None else f"table of {member.table_kind}")


def arrays_of(member: Member, grid):
    values = member._asdict()
    values["table"] = np.zeros(1) if member.table is None else padded(member, grid)
    return [values[name] for name in ARRAYS]


def plain_arrays_of(member: Member):
    """Return the arrays of a member without a table, which needs no grid."""
    values = {**member._asdict(), "table": np.zeros(1)}
    return [values[name] for name in ARRAYS]


def padded(member: Member, grid):
    """Return the table padded with entries of no probability for the rest of the grid."""
    before = -int(grid[0])
    widths = [(0, 0)] * (np.ndim(member.table) - 1) + [(before, len(grid) - before - np.shape(member.table)[-1])]
    xp = jnp if isinstance(member.table, jax.Array) else np
    return xp.pad(member.table, widths, constant_values=-np.inf if member.table_kind == "logits" else 0.0)


def as_member(arrays):
    return SimpleNamespace(**dict(zip(ARRAYS, arrays, strict=True)))


@computed_in_float64(1, *ARRAYS.values(), *ARRAYS.values())
def finite_kl(grid, *arrays, kind_p, kind_q, gates):
    p, q = as_member(arrays[: len(ARRAYS)]), as_member(arrays[len(ARRAYS) :])
    return sum_over(grid, p, q, kind_p, kind_q, gates)


@computed_in_float64(*ARRAYS.values(), *ARRAYS.values(), forward=True)
def traced_kl(*arrays, kind_p, kind_q):
    """Return KL(p||q) by a sum whose range is known only when the program runs."""
    p, q = whole(as_member(arrays[: len(ARRAYS)])), whole(as_member(arrays[len(ARRAYS) :]))
    p.high = last_of(p, kind_p)
    q_last = last_of(q, kind_q) if kind_q in ("factors", *HAVE_LIGHT_TAILS) else jnp.inf
    q_tail = "" if kind_q == "factors" else kind_q
    q_ends = (q_last <= last_count(p.high, 0, False, jnp)) if q_tail else True
    last = jnp.where(q_ends, jnp.maximum(p.high, q_last), p.high)
    return within_reach(running_kl(p, q, jnp.minimum(p.low, q.low), within(last), q_tail, q_ends), last)


@computed_in_float64(*ARRAYS.values(), forward=True)
def traced_entropy_of(*arrays, kind):
    p = whole(as_member(arrays))
    p.high = last_of(p, kind)
    return within_reach(running_entropy(p, p.low, within(p.high)), p.high)


def whole(member):
    """Return the member with its counts as constants, since counts are not differentiated by."""
    for name in ("n", "low", "high"):
        setattr(member, name, jax.lax.stop_gradient(getattr(member, name)))
    return member


def last_of(member, kind: str):
    """Return the last count that matters."""
    return member.high if kind == "factors" else jax.lax.stop_gradient(reach(member, kind, jnp))


def within(last):
    """Return the last count, or 0 if it is NaN or the sum would be too long: then the sum ends at once."""
    return jnp.where(last <= MOST_COUNTS, last, 0.0)


def within_reach(value, last):
    return jnp.where(last <= MOST_COUNTS, value, jnp.nan)


def sum_over(grid, p, q, kind_p, kind_q, gates):
    log_p, log_q, delta = log_pmfs(p, q, grid, kind_p, kind_q)
    if gates:
        zero = jnp.pad(grid == 0, [(0, 0)] * (grid.ndim - 1) + [(0, 1)])
        delta = None if delta is None else log_ratio_behind_gates(p, q, log_p, log_q, delta, zero)
        log_p, log_q = log_pmf_behind_gate(p, log_p, zero), log_pmf_behind_gate(q, log_q, zero)
    return logits_kl(log_p, log_q, delta)


@computed_in_float64(1, *ARRAYS.values())
def finite_entropy_of(grid, *arrays, kind, gates):
    return entropy_over(grid, as_member(arrays), kind, gates)


def entropy_over(grid, p, kind, gates):
    log_p, _, _ = log_pmfs(p, p, grid, kind, kind)
    if gates:
        log_p = log_pmf_behind_gate(p, log_p, jnp.pad(grid == 0, [(0, 0)] * (grid.ndim - 1) + [(0, 1)]))
    return -(jnp.exp(log_p) * jnp.where(log_p > -jnp.inf, log_p, 0.0)).sum(-1)


def log_pmfs(p, q, grid, kind_p, kind_q):
    """Return log p and log q on the grid, with the rest beyond it as the last entry, and their difference if known.

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
