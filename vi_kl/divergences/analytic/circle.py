"""Closed forms on the circle: VonMises.

The von Mises distributions of one location are an exponential family with F = log I0, so their divergence is D_F.
Up to TRAPEZOID_LIMIT it is that of a finite family: the trapezoid rule over ANGLES points of the circle gives I0
with a relative error of I_ANGLES / I0, which is far below float64's resolution. Above ASYMPTOTIC_FROM it is that of
log I0(k) = k - log(2 pi k)/2 + sum_m c_m k^-m, with only positive terms.
"""

import math

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.bregman import itakura_saito, log_sum_exp, polynomial
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy

ANGLES = 80
TRAPEZOID_LIMIT = 60.0
ASYMPTOTIC_FROM = 30.0
TERMS = 16


def half_circle():
    """Return cosines and weights of the angles in [0, pi]; those strictly between represent their mirror images too."""
    cosines = np.cos(2 * np.pi * np.arange(ANGLES // 2 + 1) / ANGLES)
    weights = np.full(ANGLES // 2 + 1, 2.0 / ANGLES)
    weights[[0, -1]] = 1.0 / ANGLES
    return cosines, weights


def log_series():
    """Return c_1, c_2, ... of log(1 + a_1/k + a_2/k^2 + ...).

    Here a_m = (1 3 ... (2m - 1))^2 / (m! 8^m) (DLMF 10.40.1).
    """
    series = [1.0]
    for m in range(1, TERMS + 1):
        series.append(series[-1] * (2 * m - 1) ** 2 / (8 * m))
    logs = [0.0]
    for m in range(1, TERMS + 1):
        logs.append(series[m] - sum(j * logs[j] * series[m - j] for j in range(1, m)) / m)
    return logs[1:]


COSINES, WEIGHTS = half_circle()
LOG_SERIES = log_series()


@closed_form(dist.VonMises, dist.VonMises)
def von_mises(p, q):
    return von_mises_kl(p.loc, p.concentration, q.loc, q.concentration)


@closed_form_entropy(dist.VonMises)
def von_mises_entropy(p):
    return von_mises_entropy_of(p.concentration)


@computed_in_float64(0, 0, 0, 0)
def von_mises_kl(loc_p, concentration_p, loc_q, concentration_q):
    """Return the divergence of the concentrations plus that of the locations, k_q E[cos] (1 - cos(angle))."""
    half_sine = jnp.sin(0.5 * (loc_p - loc_q))
    turned = 2 * concentration_q * half_sine * half_sine * mean_resultant(concentration_p)
    return log_bessel_divergence(concentration_q, concentration_p) + turned


@computed_in_float64(0)
def von_mises_entropy_of(concentration):
    return math.log(2 * math.pi) + log_scaled_bessel(concentration) + concentration * mean_deficit(concentration)


def log_bessel_divergence(x, y):
    """Return D_F(x, y) of F = log I0.

    If one is small and one is large, the definition loses no digits.
    """
    low, high = jnp.minimum(x, y), jnp.maximum(x, y)
    small, large = high <= TRAPEZOID_LIMIT, low >= ASYMPTOTIC_FROM
    apart = log_scaled_bessel(x) - log_scaled_bessel(y) + mean_deficit(y) * (x - y)
    near_x, near_y = jnp.where(small, x, 1.0), jnp.where(small, y, 1.0)
    far_x, far_y = jnp.where(large, x, ASYMPTOTIC_FROM), jnp.where(large, y, ASYMPTOTIC_FROM)
    return jnp.where(small, divergence_of_angles(near_x, near_y), jnp.where(large, asymptotic(far_x, far_y), apart))


def divergence_of_angles(x, y):
    log_weights = log_probabilities(y)
    return log_sum_exp(jnp.exp(log_weights), log_weights, (x - y)[..., None] * COSINES)


def log_probabilities(concentration):
    logs = concentration[..., None] * (COSINES - 1) + np.log(WEIGHTS)
    return logs - jnp.log(jnp.exp(logs).sum(-1, keepdims=True))


def asymptotic(x, y):
    """Return D_F(x, y) from the asymptotic series, by the recursion of `bregman.stirling`.

    The divergence of k^-m is S_m = (S_(m-1) + m delta^2 / y^(m+1)) / x, with S_0 = 0.
    """
    delta = x - y
    total, s, power = 0.5 * itakura_saito(x, y), 0.0, delta * delta / y
    for m, coefficient in enumerate(LOG_SERIES, start=1):
        power = power / y
        s = (s + m * power) / x
        total = total + coefficient * s
    return total


def by_size(concentration, small, large):
    """Return `small` up to the trapezoid's limit and `large` above, neither evaluated outside its domain."""
    is_small = concentration <= TRAPEZOID_LIMIT
    low, high = jnp.where(is_small, concentration, 1.0), jnp.where(is_small, TRAPEZOID_LIMIT, concentration)
    return jnp.where(is_small, small(low), large(high))


def log_scaled_bessel(concentration):
    """Return log(I0(k) exp(-k))."""

    def large(k):
        return polynomial(1 / k, [0.0, *LOG_SERIES]) - 0.5 * jnp.log(2 * math.pi * k)

    return by_size(concentration, lambda k: jnp.log((WEIGHTS * jnp.exp(k[..., None] * (COSINES - 1))).sum(-1)), large)


def mean_deficit(concentration):
    """Return 1 - E[cos] at the location 0, relatively exact also where E[cos] is nearly 1."""
    slopes = [0.0, 0.5, *(m * coefficient for m, coefficient in enumerate(LOG_SERIES, start=1))]

    def small(k):
        return (jnp.exp(log_probabilities(k)) * (1 - COSINES)).sum(-1)

    return by_size(concentration, small, lambda k: polynomial(1 / k, slopes))


def mean_resultant(concentration):
    """Return E[cos] at the location 0, relatively exact also where it is nearly 0."""

    def small(k):
        """Return sum cos sinh(k cos) / sum cosh(k cos), opposite angles together, so that no terms cancel."""
        opposite = jnp.exp(-2 * k[..., None] * abs(COSINES))
        scale = WEIGHTS * jnp.exp(k[..., None] * (abs(COSINES) - 1))
        excess = -jnp.expm1(-2 * k[..., None] * abs(COSINES))
        return (scale * abs(COSINES) * excess).sum(-1) / (scale * (1 + opposite)).sum(-1)

    return by_size(concentration, small, lambda k: 1 - mean_deficit(k))
