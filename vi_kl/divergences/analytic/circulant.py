"""Closed forms for CirculantNormal: all such covariances share their eigenvectors, the Fourier basis."""

import math

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.triangular import tril_of_square_root
from vi_kl.divergences.bregman import difference_of_products, itakura_saito
from vi_kl.divergences.registry import closed_form, closed_form_entropy
from vi_kl.divergences.wide import in_wide_precision

DENSE = 512  # up to this size a product with the matrix, as the FFT has no second derivative for a float32 caller


@closed_form(dist.CirculantNormal, dist.CirculantNormal)
def circulant(p, q):
    return circulant_kl(*circulant_parameters(p), *circulant_parameters(q))


@closed_form_entropy(dist.CirculantNormal)
def circulant_entropy(p):
    return circulant_entropy_of(*circulant_parameters(p))


def circulant_parameters(p):
    """The mean, and the eigenvalues of the covariance without their mirror images.

    A covariance given by its row is known only through them: NumPyro transforms it in the caller's precision.
    """
    return p.loc, p.covariance_rfft


def mirrored(rfft, size):
    """All eigenvalues: each frequency but the lowest, and the highest of an even size, occurs twice."""
    return jnp.concatenate([rfft, rfft[..., 1 : size - size // 2][..., ::-1]], axis=-1)


def loc_and_tril_of_circulant(loc, rfft):
    size = loc.shape[-1]
    eigenvalues = mirrored(rfft, size)
    return loc, tril_of_square_root(hartley(size) * jnp.sqrt(eigenvalues)[..., None, :])


def hartley(size):
    """The orthogonal, symmetric and real relative of the Fourier matrix."""
    index = np.arange(size)
    angles = 2 * np.pi * (np.outer(index, index) % size) / size
    return (np.cos(angles) + np.sin(angles)) / math.sqrt(size)


def squared_spectrum(vector):
    """The squared coordinates of a real vector in the Hartley basis."""
    size = vector.shape[-1]
    if size <= DENSE:
        coordinates = vector @ hartley(size)
    else:
        transform = jnp.fft.fft(vector)
        coordinates = (transform.real - transform.imag) / math.sqrt(size)
    return coordinates * coordinates


@in_wide_precision(1, 1, 1, 1)
def circulant_kl(loc_p, rfft_p, loc_q, rfft_q):
    size = loc_p.shape[-1]
    spreads = mirrored(itakura_saito(rfft_p, rfft_q), size)
    return 0.5 * (spreads + squared_spectrum(loc_p - loc_q) / mirrored(rfft_q, size)).sum(-1)


@in_wide_precision(1, 1, 1, 1)
def circulant_from_independent_kl(loc_p, rfft_p, loc_q, scale_q):
    """By way of the independent vector with p's variance, which all entries share.

    The eigenvalues' differences, not their rounded mean, say how far each is from it.
    """
    eigenvalues = mirrored(rfft_p, loc_p.shape[-1])
    lowest = eigenvalues[..., :1]
    rise, mean_rise = from_mean(eigenvalues - lowest)
    to_independent = itakura_saito(eigenvalues, lowest + mean_rise, rise)
    change = difference_of_products(lowest, 1.0, scale_q, scale_q) + mean_rise
    z = (loc_p - loc_q) / scale_q
    return 0.5 * (to_independent + itakura_saito(lowest + mean_rise, scale_q * scale_q, change) + z * z).sum(-1)


@in_wide_precision(1, 1, 1, 1)
def independent_from_circulant_kl(loc_p, scale_p, loc_q, rfft_q):
    """By way of the independent vector whose precision is the diagonal of q's, which all entries share."""
    eigenvalues = mirrored(rfft_q, loc_q.shape[-1])
    lowest = eigenvalues[..., :1]
    rise, mean_rise = from_mean((lowest - eigenvalues) / (lowest * eigenvalues))  # of the precisions
    precision, variance = 1 / lowest + mean_rise, scale_p * scale_p
    from_independent = itakura_saito(1 / eigenvalues, precision, rise)
    change = difference_of_products(scale_p, scale_p, lowest, 1.0) / (lowest * variance) + mean_rise
    shift = squared_spectrum(loc_p - loc_q) / eigenvalues
    return 0.5 * (from_independent + itakura_saito(precision, 1 / variance, change) + shift).sum(-1)


def from_mean(values):
    """Deviations from the mean over the last axis, and the mean."""
    mean = values.mean(-1, keepdims=True)
    return values - mean, mean


@in_wide_precision(1, 1)
def circulant_entropy_of(loc, rfft):
    logs = mirrored(jnp.log(rfft), loc.shape[-1])
    return 0.5 * (logs + math.log(2 * math.pi * math.e)).sum(-1)
