"""Monotone rational-quadratic splines: bijections of the line, the identity outside an interval.

Reference: Durkan et al. (2019), "Neural spline flows", after Gregory & Delbourgo (1982).
"""

import jax
import jax.numpy as jnp

SMALLEST = 1e-3  # of a bin's width, height and slope: what keeps the inverse well conditioned


def num_spline_params(num_bins: int) -> int:
    return 3 * num_bins - 1


def spline_knots(raw, bound: float):
    """Knots x and y and the slopes there, each (..., num_bins + 1), from free numbers (..., 3 num_bins - 1).

    Zeros give the identity.
    """
    num_bins = (raw.shape[-1] + 1) // 3

    def positions(free):
        shares = SMALLEST + (1 - SMALLEST * num_bins) * jax.nn.softmax(free)
        inner = jnp.cumsum(shares[..., :-1], axis=-1)
        ends = jnp.zeros_like(inner[..., :1])
        return bound * (2 * jnp.concatenate([ends, inner, ends + 1], axis=-1) - 1)

    slopes = SMALLEST + (1 - SMALLEST) * jax.nn.softplus(raw[..., 2 * num_bins :] + jnp.log(jnp.e - 1))
    ends = jnp.ones_like(slopes[..., :1])
    slopes = jnp.concatenate([ends, slopes, ends], axis=-1)
    return positions(raw[..., :num_bins]), positions(raw[..., num_bins : 2 * num_bins]), slopes


def bin_of(value, edges, *knots):
    """The left and right end of the bin that holds `value`, of each array of knots; by masks, not by indices.

    Outside the interval the first or last bin stands in.
    """
    inner = value[..., None] >= edges[..., 1:-1]
    past = jnp.concatenate([jnp.ones_like(inner[..., :1]), inner], axis=-1)
    here = past & ~jnp.concatenate([inner, jnp.zeros_like(inner[..., :1])], axis=-1)
    pick = lambda array: jnp.sum(jnp.where(here, array, 0.0), axis=-1)  # noqa: E731
    return [(pick(array[..., :-1]), pick(array[..., 1:])) for array in knots]


def spline(x, raw, bound: float):
    """The image of x and the log slope there, elementwise; raw has one more axis than x."""
    xs, ys, slopes = spline_knots(raw, bound)
    inside = jnp.abs(x) < bound
    safe = jnp.where(inside, x, 0.0)
    (x0, x1), (y0, y1), (d0, d1) = bin_of(safe, xs, xs, ys, slopes)
    t = (safe - x0) / (x1 - x0)
    image, log_slope = rational_quadratic(t, x1 - x0, y0, y1 - y0, d0, d1)
    return jnp.where(inside, image, x), jnp.where(inside, log_slope, 0.0)


def spline_inverse(y, raw, bound: float):
    """x whose image is y, and the log slope at x, elementwise."""
    xs, ys, slopes = spline_knots(raw, bound)
    inside = jnp.abs(y) < bound
    safe = jnp.where(inside, y, 0.0)
    (x0, x1), (y0, y1), (d0, d1) = bin_of(safe, ys, xs, ys, slopes)
    mean_slope = (y1 - y0) / (x1 - x0)
    rise, bend = safe - y0, d0 + d1 - 2 * mean_slope
    a = (y1 - y0) * (mean_slope - d0) + rise * bend
    b = (y1 - y0) * d0 - rise * bend
    c = -mean_slope * rise
    t = 2 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0.0)))
    log_slope = rational_quadratic(t, x1 - x0, y0, y1 - y0, d0, d1)[1]
    return jnp.where(inside, x0 + t * (x1 - x0), y), jnp.where(inside, log_slope, 0.0)


def rational_quadratic(t, width, y0, height, d0, d1):
    """Within one bin, at t from 0 to 1: image and log slope (Durkan et al., eqs. 4 and 5)."""
    mean_slope = height / width
    denominator = mean_slope + (d0 + d1 - 2 * mean_slope) * t * (1 - t)
    image = y0 + height * (mean_slope * t**2 + d0 * t * (1 - t)) / denominator
    slope = d1 * t**2 + 2 * mean_slope * t * (1 - t) + d0 * (1 - t) ** 2
    return image, 2 * jnp.log(mean_slope) + jnp.log(slope) - 2 * jnp.log(denominator)
