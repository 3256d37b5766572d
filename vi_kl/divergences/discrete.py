"""Information in probability mass functions given as arrays.

The last axis (or `axis`) is the support; leading axes are batches and broadcast. NumPy arrays and lists are
computed in float64 by NumPy. JAX arrays are computed in their own dtype, those of 16 bits in float32 and rounded
once, inside jit, grad and vmap too; their values are checked where they are known, which while tracing they are
not. pandas Series, DataFrames and xarray DataArrays are compared label by label (labelled.py).

    entropy(p)              the bits (or nats) a symbol of p takes when coded by p
    cross_entropy(p, q)     the bits (or nats) a symbol of p takes when coded by q
    kl_divergence(p, q)     the difference: what using q in place of p costs
    code_lengths(p)         the length of each symbol's codeword
    smooth(p, support)      a little probability for the symbols p has never seen

Conventions: 0 log 0 = 0, and a symbol with p > 0 = q costs +inf. Nothing is normalised or clipped behind the
caller's back; only the rounding in sums that are 1 to the dtype's precision is divided out.

Derivatives are those of the plain sums, sum p log(p/q) and so on: -p/q by q and log(p/q) + 1 by p. By a p
that is 0 the true derivative is infinite, and 0 is returned: an entry that is zero stays zero.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vi_kl.core.annotations import PmfLike, Values
from vi_kl.divergences.bregman import log_ratio, log_sum_exp, namespace
from vi_kl.divergences.labelled import labelled, plain_arrays

# a sum further from 1 is a mistake; by the bytes of a number: the error of careless rounding of a few entries
SUM_TOLERANCE = {8: 1e-8, 4: 1e-5, 2: 1e-2}


def entropy(p, *, base=None, axis=-1, normalize=False):
    """Return H(p) = -sum p log p: the mean length of a codeword when the code is made for p.

    Args:
        p: the pmf array; `axis` runs over the support.
        base: 2 for bits, None for nats, or any other base of the logarithm.
        axis: the axis of the support.
        normalize: whether to divide counts or weights by their sum first.

    Returns:
        An array of the shape of p without `axis`.

    Raises:
        ValueError: p is empty, negative, not finite, or does not sum to 1.

    Reference: Shannon (1948).
    """
    given, (p,) = (p,), as_pmfs(axis, normalize, p=p)
    return in_base(narrowed(entropy_jax(p) if isinstance(p, jax.Array) else entropy_value(p, np), *given), base)


def cross_entropy(p, q, *, base=None, axis=-1, normalize=False):
    """Return H(p, q) = -sum p log q: the mean length of a codeword for symbols from p in the code made for q.

    Arguments and errors are those of `kl_divergence`; the result is +inf where p reaches beyond q's support.
    """
    given, (p, q) = (p, q), as_pmfs(axis, normalize, p=p, q=q)
    jax_input = isinstance(p, jax.Array)
    nats = cross_entropy_jax(p, q) if jax_input else cross_entropy_value(p, q, np)
    return in_base(narrowed(nats, *given), base)


def kl_divergence(p, q, *, base=None, axis=-1, normalize=False):
    """Return KL(p||q) = sum p log(p/q): the cost per symbol of using the code for q on symbols from p.

    The result is never negative, and exact to nearly the last digit also where p and q almost agree.

    Args:
        p: pmf arrays over the same support, which runs along `axis`; the other axes broadcast.
        q: likewise.
        base: 2 for bits, None for nats, or any other base of the logarithm.
        axis: the axis of the support.
        normalize: whether to divide counts or weights by their sums first.

    Returns:
        An array of the broadcast batch shape; +inf where p reaches beyond q's support.

    Raises:
        ValueError: an argument, which the message names, is empty, negative, not finite, does not sum to 1, or does not
            match the other in length.

    Reference: Kullback & Leibler (1951), eq. 2.4.
    """
    given, (p, q) = (p, q), as_pmfs(axis, normalize, p=p, q=q)
    jax_input = isinstance(p, jax.Array)
    nats = kl_divergence_jax(p, q) if jax_input else kl_divergence_value(p, q, np)
    return in_base(narrowed(nats, *given), base)


def code_lengths(p: PmfLike, *, base: float | None = 2, axis: int = -1, normalize: bool = False) -> Values:
    """Return -log p per symbol: the length of its codeword in the best code for p, in bits by default.

    A symbol of probability 1/8 takes 3 bits, one of probability 0 an infinitely long word. The expected
    length under p is `entropy(p)`, under another distribution r it is `cross_entropy(r, p)`. Real codewords
    have whole lengths; rounded up, these lengths are those of Shannon's code, which needs at most one bit more.
    """
    given, (p,) = (p,), as_pmfs(axis, normalize, p=p)
    lengths = in_base(narrowed(-safe_log(p, namespace(p)) + 0.0, *given), base)  # + 0.0 turns -0.0 into 0.0
    return namespace(p).moveaxis(lengths, -1, axis)


def smooth(p: Mapping[Any, float] | PmfLike, support: Iterable | None = None, epsilon: float = 1e-3) -> Any:
    """Give `epsilon` to every symbol that p lacks, taken in equal parts from those it has.

    Without smoothing, one symbol that q has never seen makes KL(p||q) infinite. Smoothing is a modelling
    decision, so it is never done implicitly.

    Args:
        p: {symbol: probability}, or a pmf array, whose zeros are then the symbols it lacks.
        support: all symbols, such as the union of two dictionaries' keys; None to smooth zeros only. Arrays
            have their support already and take none.
        epsilon: the probability of each missing symbol.

    Returns:
        A value of p's kind, that is a dict (p's own symbols first, then the missing ones), or an array.

    Raises:
        ValueError: p is not a pmf, its symbols are not all in `support`, or its probabilities are too small to give
            any.

    Example:
        >>> smooth({"a": 0.6, "b": 0.2, "c": 0.2}, support="abcd", epsilon=0.003)
        {'a': 0.599, 'b': 0.199, 'c': 0.199, 'd': 0.003}
    """
    if not 0 < epsilon < 1:
        raise ValueError(f"epsilon must lie between 0 and 1, got {epsilon}.")
    if isinstance(p, Mapping):
        symbols = symbols_of(p, support)
        probabilities = smooth_array(np.array([float(p.get(symbol, 0.0)) for symbol in symbols]), epsilon)
        return dict(zip(symbols, probabilities.tolist(), strict=True))
    if labelled(p) is not None and hasattr(p, "index"):  # a pandas object
        return smooth_series(p, support, epsilon)
    if support is not None:
        raise ValueError(
            "support belongs to a dict p: an array p has its support already, with zeros for what it lacks."
        )
    return narrowed(smooth_array(p, epsilon), p)


def smooth_series(p, support, epsilon):
    """Return a Series smoothed as a dict of its labels, and a DataFrame by rows, as an array."""
    if p.ndim == 1:
        return type(p)(smooth(p.to_dict(), support, epsilon), name=p.name)
    if support is not None:
        raise ValueError("support belongs to a dict or a Series p: the columns of a DataFrame p are its support.")
    return type(p)(smooth_array(p, epsilon), index=p.index, columns=p.columns)


def symbols_of(p, support):
    """Return p's symbols, then those of `support` that it lacks."""
    if support is None:
        return list(p)
    if not isinstance(support, Iterable):
        raise ValueError(f"support must be a collection of symbols, got {support!r}.")
    support = list(dict.fromkeys(support))
    unknown = [symbol for symbol in p if symbol not in support]
    if unknown:
        raise ValueError(f"p has symbols that support lacks: {unknown}. Give the union of both supports.")
    return list(p) + [symbol for symbol in support if symbol not in p]


def smooth_array(p, epsilon):
    (p,) = as_pmfs(-1, False, p=p)
    xp = namespace(p)
    missing = p == 0
    share = epsilon * missing.sum(-1, keepdims=True) / xp.maximum((~missing).sum(-1, keepdims=True), 1)
    smoothed = xp.where(missing, epsilon, p - share)
    if not isinstance(p, jax.core.Tracer) and np.any(np.asarray(smoothed) <= 0):
        raise ValueError(
            f"p has too little to give: {epsilon} for each missing symbol, in equal parts from the others,"
            f" takes {float(np.max(share)):.3g} from a symbol of probability {float(np.min(p[~missing])):.3g}."
            " Use a smaller epsilon."
        )
    return smoothed


def entropy_value(p, xp):
    p = p / p.sum(-1, keepdims=True)
    return -(p * safe_log(p, xp, at_zero=0.0)).sum(-1) + 0.0


def cross_entropy_value(p, q, xp):
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    return -xp.where(p > 0, p * xp.where(p > 0, safe_log(q, xp), 0.0), 0.0).sum(-1) + 0.0


def kl_divergence_value(p, q, xp):
    """Return KL over the last axis as log1p(sum p em(x)), plus the cost of q's probability outside p's support."""
    p, q = xp.broadcast_arrays(p, q)
    positive = p > 0
    both = positive & (q > 0)
    beyond = (positive & (q == 0)).any(-1)
    delta = xp.where(both, log_ratio(xp.where(both, q, 1.0), xp.where(both, p, 1.0)), 0.0)
    weights = xp.where(positive, p, 0.0)
    weights = weights / weights.sum(-1, keepdims=True)
    divergence = log_sum_exp(weights, safe_log(weights, xp), delta)
    outside = xp.where(positive, 0.0, q).sum(-1)
    inside = xp.where(beyond, 1.0, xp.where(positive, q, 0.0).sum(-1))
    return xp.where(beyond, xp.inf, divergence + xp.log1p(outside / inside))


def nan_of_rows(*pmfs):
    """Return 0 for each row of pmfs, or NaN if one of them has a NaN, which comparisons take for a zero."""
    return sum(jnp.where(jnp.isnan(pmf).any(-1), jnp.nan, 0.0).astype(pmf.dtype) for pmf in pmfs)


def safe_log(p, xp, at_zero=-math.inf):
    """Return log p without a warning or a NaN derivative at 0; NaN for NaN."""
    return xp.where(p == 0, at_zero, xp.log(xp.where(p == 0, 1.0, p)))


@jax.custom_jvp
@jax.jit
def entropy_jax(p):
    return entropy_value(p, jnp) + nan_of_rows(p)


@entropy_jax.defjvp
def entropy_jvp(primals, tangents):
    (p,), (p_dot,) = primals, tangents
    slope = jnp.where(p > 0, safe_log(p, jnp, at_zero=0.0) + 1, 0.0)
    return entropy_jax(p), -((slope + nan_of_rows(p)[..., None]) * p_dot).sum(-1)


@jax.custom_jvp
@jax.jit
def cross_entropy_jax(p, q):
    return cross_entropy_value(p, q, jnp) + nan_of_rows(p, q)


@cross_entropy_jax.defjvp
def cross_entropy_jvp(primals, tangents):
    (p, q), (p_dot, q_dot) = primals, tangents
    by_p = jnp.where(p > 0, safe_log(q, jnp), safe_log(q, jnp, at_zero=0.0))
    missing = nan_of_rows(p, q)[..., None]
    return cross_entropy_jax(p, q), -((by_p + missing) * p_dot).sum(-1) - ((ratio(p, q) + missing) * q_dot).sum(-1)


@jax.custom_jvp
@jax.jit
def kl_divergence_jax(p, q):
    return kl_divergence_value(p, q, jnp) + nan_of_rows(p, q)


@kl_divergence_jax.defjvp
def kl_divergence_jvp(primals, tangents):
    (p, q), (p_dot, q_dot) = primals, tangents
    both = (p > 0) & (q > 0)
    by_p = jnp.where(both, log_ratio(jnp.where(both, p, 1.0), jnp.where(both, q, 1.0)) + 1, 0.0)
    by_p = jnp.where((p > 0) & (q == 0), jnp.inf, by_p)
    missing = nan_of_rows(p, q)[..., None]
    return kl_divergence_jax(p, q), ((by_p + missing) * p_dot).sum(-1) - ((ratio(p, q) + missing) * q_dot).sum(-1)


def ratio(p, q):
    """Return p/q with 0/0 = 0, and a derivative without NaN."""
    return jnp.where(p > 0, p / jnp.where(p > 0, q, 1.0), 0.0)


def in_base(nats, base):
    """Convert nats to another base of the logarithm."""
    if base is None:
        return nats
    if not base > 0 or base == 1:
        raise ValueError(f"base must be positive and not 1 (2 for bits, None for nats), got {base!r}.")
    return nats / math.log(base)


def as_pmfs(axis, normalize, **named):
    """Return the named arguments as checked pmf arrays of one kind, with the support last."""
    named = plain_arrays(axis, named)
    in_jax = any(isinstance(value, jax.Array) for value in named.values())
    pmfs = {}
    for name, value in named.items():
        array = support_last(name, as_array(name, value, in_jax), axis)
        check_values(name, as_given(value, array, axis), value, normalize)
        array = array if is_there(array) else nan_unless_pmf(array, value, normalize)
        pmfs[name] = array / array.sum(-1, keepdims=True) if normalize else array
    if len(pmfs) == 2:
        check_shapes(*pmfs.values())
    return list(pmfs.values())


def as_array(name, value, in_jax):
    if isinstance(value, Mapping):
        raise TypeError(
            f"{name} is a mapping; give the probabilities in one order for both arguments, such as"
            " [p[symbol] for symbol in support]."
        )
    try:
        array = jnp.asarray(value) if in_jax else np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} is not an array of probabilities: {error}") from error
    if array.dtype.kind not in "fiub" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}.")
    if not in_jax:
        return array.astype(np.float64)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(jnp.result_type(float))
    return array.astype(jnp.float32) if array.dtype.itemsize < 4 else array


def as_given(value, array, axis):
    """Return the values of `array` before they were rounded to the other argument's precision."""
    if isinstance(value, jax.Array) or not isinstance(array, jax.Array):
        return array
    return np.moveaxis(np.asarray(value, dtype=np.float64), axis, -1)


def narrowed(result, *given):
    """Return a result of 16-bit JAX arrays in their own dtype."""
    if all(isinstance(value, jax.Array) and is_narrow(value.dtype) for value in given):
        return result.astype(jnp.result_type(*given))
    return result


def is_narrow(dtype) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.floating)) and dtype.itemsize < 4


def sum_tolerance(given, values) -> float:
    """Return how far the sum of a pmf may be from 1 by rounding, in the precision that its entries came in.

    This is the precision of its dtype, or float32's if all entries are float32 numbers, whatever type holds them now.
    """
    dtype = getattr(given, "dtype", np.dtype(np.float64))
    if np.array_equal(values.astype(np.float32), values) and not is_narrow(dtype):
        dtype = np.dtype(np.float32)
    return rounding_of_sum(dtype, values.shape[-1])


def rounding_of_sum(dtype, size: int) -> float:
    """Return the tolerance of a sum of rounded entries.

    Each is off by half a step, relatively, and so is their sum; the sum they were divided by is off by some sqrt(size)
    steps.
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = np.dtype(np.float64)
    precision = jnp.finfo(dtype)
    rounding = float(precision.eps) * (4 + math.sqrt(size)) + size * float(precision.smallest_subnormal)
    return max(SUM_TOLERANCE.get(dtype.itemsize, 1e-8), rounding)


def support_last(name, array, axis):
    if array.ndim == 0:
        raise ValueError(f"{name} is a single number; a pmf is an array with one entry per point of the support.")
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(f"{name} has shape {array.shape} and no axis {axis}.")
    array = namespace(array).moveaxis(array, axis, -1)
    if array.shape[-1] == 0:
        raise ValueError(f"{name} is empty: shape {array.shape} has no point of support on axis {axis}.")
    return array


def check_shapes(p, q):
    if p.shape[-1] != q.shape[-1]:
        raise ValueError(
            f"p and q must have the same support, but p has {p.shape[-1]} entries and q has {q.shape[-1]}."
            " Give both every point of the joint support, with zeros where one has none."
        )
    try:
        jnp.broadcast_shapes(p.shape, q.shape)  # JAX's, for symbolic sizes too
    except ValueError:
        raise ValueError(
            f"The batch shapes of p and q do not broadcast: {p.shape[:-1]} and {q.shape[:-1]} (support last)."
        ) from None


def is_there(array) -> bool:
    return not isinstance(array, jax.core.Tracer)


def nan_unless_pmf(array, given, normalize):
    """Return the array with NaN in each row that `check_values` would refuse; for values that are being traced."""
    valid = (array >= 0).all(-1) & (array < jnp.inf).all(-1)
    if not normalize:
        valid = valid & (abs(array.sum(-1) - 1) <= tolerance_while_traced(given, array))
    return array * jnp.where(valid, 1.0, jnp.nan).astype(array.dtype)[..., None]  # a product: its slopes are NaN too


def tolerance_while_traced(given, array):
    """Return `sum_tolerance` of each row, of values that are not known yet."""
    dtype, size = getattr(given, "dtype", array.dtype), array.shape[-1]
    if dtype.itemsize <= 4 and jnp.issubdtype(dtype, jnp.floating):
        return rounding_of_sum(dtype, size)
    fit_in_float32 = (array.astype(jnp.float32) == array).all(-1)
    return jnp.where(fit_in_float32, rounding_of_sum(np.dtype(np.float32), size), rounding_of_sum(dtype, size))


def check_values(name, array, given, normalize):
    """Refuse what is not a pmf; values that are being traced are not checked."""
    if isinstance(array, jax.core.Tracer):
        return
    values = np.asarray(array, dtype=np.float64)
    for wrong, what in ((~np.isfinite(values), "be finite"), (values < 0, "not be negative")):
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            index = ", ".join(map(str, where))
            raise ValueError(f"{name}[{index}] is {values[where]}: a probability must {what}.")
    sums = values.sum(-1)
    if normalize:
        if (sums == 0).any():
            raise ValueError(f"{name} sums to 0 and cannot be normalised.")
        return
    off = np.abs(sums - 1)
    if (off > sum_tolerance(given, values)).any():
        where = np.unravel_index(np.argmax(off), off.shape)
        place = f" in batch entry {tuple(int(i) for i in where)}" if where else ""
        raise ValueError(
            f"{name} sums to {sums[where]:.10g}{place}, not 1. If these are counts or weights, pass normalize=True."
        )
