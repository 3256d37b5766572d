"""Closed forms for CirculantNormal: all such covariances share their eigenvectors, the Fourier basis."""

import math

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from vi_kl.divergences.analytic.gaussian.triangular import first_entry, tril_of_square_root
from vi_kl.divergences.bregman import difference_of_products, itakura_saito
from vi_kl.divergences.float64 import computed_in_float64
from vi_kl.divergences.registry import closed_form, closed_form_entropy, known

DENSE = 512  # up to this size a product with the matrix is used: the FFT has no second derivative for a float32 caller


@closed_form(dist.CirculantNormal, dist.CirculantNormal)
def circulant(p, q):
    return circulant_kl(*circulant_parameters(p), *circulant_parameters(q))


@closed_form_entropy(dist.CirculantNormal)
def circulant_entropy(p):
    return circulant_entropy_of(*circulant_parameters(p))


def circulant_parameters(p):
    """Return the mean, and the eigenvalues of the covariance without their mirror images.

    If the covariance was given by its row, which the distribution holds, they are computed from the row in float64:
    NumPyro's have been rounded relative to the largest.
    """
    names = list(p.__dict__)
    by_row = "covariance_row" in names[: names.index("covariance_rfft")]
    return p.loc, (spectrum_of_row(p.covariance_row) if by_row else p.covariance_rfft)


def spectrum_of_row(row):
    """Return the eigenvalues of a circulant covariance from its first row; in float64 if the row is known."""
    if known(row):
        return np.fft.rfft(np.asarray(row, dtype=np.float64)).real
    return jnp.fft.rfft(row).real


def multiplicities(size):
    """Return how often each frequency's eigenvalue occurs.

    It is twice, but for the lowest frequency, and the highest of an even size.
    """
    counts = np.full(size // 2 + 1, 2.0)
    counts[0] = 1
    counts[size // 2] = 1 if size % 2 == 0 else counts[size // 2]
    return counts


def fourier_basis(size):
    """Return orthonormal eigenvectors as columns: a cosine and a sine per frequency, where some sines vanish."""
    angles = 2 * np.pi * (np.outer(np.arange(size), np.arange(size // 2 + 1)) % size) / size
    norms = np.sqrt(multiplicities(size) / size)
    return np.cos(angles) * norms, np.where(multiplicities(size) == 2, np.sin(angles) * norms, 0.0)


def loc_and_tril_of_circulant(loc, rfft):
    scales = jnp.sqrt(rfft)[..., None, :]
    cosines, sines = fourier_basis(loc.shape[-1])
    return loc, tril_of_square_root(jnp.concatenate([cosines * scales, sines * scales], axis=-1))


def squared_spectrum(vector):
    """Return the squared coordinates of a real vector in the Fourier basis, those of one frequency together."""
    size = vector.shape[-1]
    if size > DENSE:
        transform = jnp.fft.rfft(vector)
        return multiplicities(size) / size * (transform.real**2 + transform.imag**2)
    cosines, sines = ((vector @ part) ** 2 for part in fourier_basis(size))
    return cosines + sines


@computed_in_float64(1, 1, 1, 1)
def circulant_kl(loc_p, rfft_p, loc_q, rfft_q):
    spreads = multiplicities(loc_p.shape[-1]) * itakura_saito(rfft_p, rfft_q)
    return 0.5 * (spreads + squared_spectrum(loc_p - loc_q) / rfft_q).sum(-1)


@computed_in_float64(1, 1, 1, 1)
def circulant_from_independent_kl(loc_p, rfft_p, loc_q, scale_q):
    """Return KL through the independent vector with p's variance, which all entries share.

    The eigenvalues' differences, not their rounded mean, show how far each is from it.
    """
    counts, lowest = multiplicities(loc_p.shape[-1]), first_entry(rfft_p, (-1,))
    rise, mean_rise = from_mean(rfft_p - lowest, counts)
    variance, variances_q = lowest + mean_rise, scale_q * scale_q
    to_independent = counts * itakura_saito(rfft_p, variance, rise)
    change = difference_of_products(lowest, 1.0, scale_q, scale_q) + mean_rise
    z = (loc_p - loc_q) / scale_q
    return 0.5 * (to_independent.sum(-1) + (itakura_saito(variance, variances_q, change) + z * z).sum(-1))


@computed_in_float64(1, 1, 1, 1)
def independent_from_circulant_kl(loc_p, scale_p, loc_q, rfft_q):
    """Return KL through the independent vector whose precision is the diagonal of q's, which all entries share."""
    counts, lowest = multiplicities(loc_q.shape[-1]), first_entry(rfft_q, (-1,))
    rise, mean_rise = from_mean((lowest - rfft_q) / (lowest * rfft_q), counts)  # mean and rise of the precisions
    precision, variances_p = 1 / lowest + mean_rise, scale_p * scale_p
    from_independent = counts * itakura_saito(1 / rfft_q, precision, rise) + squared_spectrum(loc_p - loc_q) / rfft_q
    change = difference_of_products(scale_p, scale_p, lowest, 1.0) / (lowest * variances_p) + mean_rise
    return 0.5 * (from_independent.sum(-1) + itakura_saito(precision, 1 / variances_p, change).sum(-1))


def from_mean(values, counts):
    """Return deviations from the mean over the last axis, each value taken `counts` times, and the mean."""
    mean = (counts * values).sum(-1, keepdims=True) / counts.sum()
    return values - mean, mean


@computed_in_float64(1, 1)
def circulant_entropy_of(loc, rfft):
    return 0.5 * (multiplicities(loc.shape[-1]) * (jnp.log(rfft) + math.log(2 * math.pi * math.e))).sum(-1)
