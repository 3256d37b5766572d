"""Entropies without a closed form: the best method there is, with its error and what it cannot see."""

import functools
import math

import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution, biject_to

from vi_kl.core.annotations import KeyLike, PmfLike
from vi_kl.core.compilation import compiled
from vi_kl.core.estimate import Estimate, error_of_mean
from vi_kl.core.precision import in_float64
from vi_kl.divergences import discrete
from vi_kl.divergences.density import log_density
from vi_kl.divergences.estimation import ENUMERATION_CAVEAT, QUADRATURE_CAVEAT, with_note
from vi_kl.divergences.estimators.monte_carlo import at_own_draws, in_chunks, reject_piled_up, tail_warning
from vi_kl.divergences.estimators.normalisation import check_normalised
from vi_kl.divergences.estimators.numerical import (
    MISSED,
    UNSETTLED,
    pmf_on_support,
    reject_wrong_mass,
    require_density_on_the_line,
)
from vi_kl.divergences.estimators.quadrature import NotApplicable, NotConverged, integrate, line_of, panel_edges
from vi_kl.divergences.estimators.quasi_monte_carlo import RANDOMISATIONS, mean_of_sequences, sequences
from vi_kl.divergences.estimators.transport import from_uniforms, num_uniforms
from vi_kl.divergences.given_parameters import with_float64_parameters
from vi_kl.divergences.registry import NoClosedForm, describe, evaluate_entropy, reject_invalid

compiled_log_density = compiled(log_density)

SAMPLING_CAVEAT = "Regions that p reaches too rarely to be drawn go unseen; they count where its density is smallest."
HEAVY = " -log p has so heavy a tail (k-hat {:.2f}) that its variance, or the entropy itself, may be infinite."


def estimate_entropy(
    p: Distribution | PmfLike,
    *,
    key: KeyLike | None = None,
    method: str = "auto",
    num_draws: int = 100_000,
    base: int | None = None,
) -> Estimate:
    """Estimate H(p) by the best method there is, with its error and the method's name; it runs in float64.

    "auto" takes the first that applies, as in `estimate_kl`: the closed form; the exact sum over a finite support;
    quadrature for a density of one variable; quasi-Monte Carlo where draws are a known function of uniform numbers;
    Monte Carlo.

    Args:
        p: a NumPyro distribution without batch dimensions, or a one-dimensional pmf array. For a density the result is
            the differential entropy, which may be negative.
        key: a JAX random key; the two sampling methods need one.
        method: one of "auto", "closed_form", "enumeration", "quadrature", "quasi_monte_carlo" or "monte_carlo".
        num_draws: the number of draws of the sampling methods.
        base: 2 for bits, None for nats.

    Returns:
        An Estimate; standard errors and caveats are as in `estimate_kl`.

    Raises:
        ValueError: the method is unknown, p has batch dimensions, a sampling method has no key, or log densities are
            NaN.
        NoClosedForm, NotApplicable, NotConverged: the method asked for cannot give this entropy.
    """
    if method != "auto" and method not in METHODS:
        raise ValueError(f"method must be 'auto' or one of {', '.join(map(repr, METHODS))}, not {method!r}.")
    if base not in (None, 2):
        raise ValueError(f"base must be 2 for bits or None for nats, got {base!r}.")
    estimate = of_distribution(p, method, key, num_draws) if isinstance(p, Distribution) else of_pmf(p, method)
    return estimate.to("nats" if base is None else "bits")


def of_pmf(p, method):
    if method not in ("auto", "enumeration"):
        raise ValueError(f"method {method!r} is for distributions; pmf arrays are summed exactly.")
    value = discrete.entropy(p)
    if np.ndim(value):
        raise ValueError(f"estimate_entropy takes one p at a time, but the batch shape is {np.shape(value)}.")
    return Estimate(value, 0.0, f"exact sum over {np.shape(p)[-1]} values")


@in_float64
def of_distribution(p, method, key, num_draws):
    if p.batch_shape:
        raise ValueError(
            f"estimate_entropy takes one p at a time, but its batch shape is {p.batch_shape}; .to_event() makes it one"
            " joint distribution."
        )
    reject_invalid(p=p)
    p, note = with_float64_parameters(p), ""
    if method != "auto":
        return METHODS[method](p, key, num_draws)
    for name in list(METHODS)[:-1]:
        try:
            return with_note(METHODS[name](p, key, num_draws), note)
        except NotConverged as failure:
            note = f"; {failure}"
        except (NoClosedForm, NotApplicable):
            continue
    return with_note(by_monte_carlo(p, key, num_draws), note)


def by_closed_form(p, key, num_draws):
    return Estimate(evaluate_entropy(p), 0.0, "closed form")


def by_enumeration(p, key, num_draws):
    log_p, _, held = pmf_on_support(p, p)
    log_p = np.asarray(log_p)
    some = log_p > -np.inf
    value = -(np.exp(log_p[some]) * log_p[some]).sum()
    error = abs(held - 1) * (1 + value)
    return Estimate(
        value, error if error > 1e-12 else 0.0, f"exact sum over {log_p.size} values", caveat=ENUMERATION_CAVEAT
    )


def by_quadrature(p, key, num_draws):
    """Integrate over the unconstrained line of p's support.

    There the density has the Jacobian, and the entropy has not.
    """
    require_density_on_the_line(p)
    densities = functools.partial(density_and_stretch, p, line_of(p))
    (mass, value), (mass_error, error), nodes = integrate(densities, entropy_integrands, panel_edges(p), smallest=1.0)
    reject_wrong_mass("p", p, mass, mass_error)
    missed = abs(1 - mass)
    if not (missed <= MISSED and error <= UNSETTLED * (1 + abs(value))):
        raise NotConverged(
            f"quadrature did not converge ({mass:.8g} of p's mass, {value:.6g} with an error of {error:.1g})"
        )
    error = error + (missed + 1e-15) * (1 + abs(value))
    return Estimate(value, error, f"quadrature with {nodes:,} nodes", caveat=QUADRATURE_CAVEAT)


@compiled
def density_and_stretch(p, line, z):
    """Return the log density on the line, and the log of how much the support's own scale stretches there."""
    bijection = biject_to(line)
    x = bijection(z)
    log_jacobian = jnp.where(jnp.isfinite(x), bijection.log_abs_det_jacobian(z, x), -jnp.inf)
    x = jnp.where(jnp.isfinite(x), x, bijection(jnp.zeros_like(z)))
    return log_density(p, x) + log_jacobian, log_jacobian


def entropy_integrands(log_p, log_jacobian):
    mass = np.exp(log_p)
    held = mass > 0
    return np.stack([mass, mass * np.where(held, log_jacobian - np.where(held, log_p, 0.0), 0.0)])


def by_quasi_monte_carlo(p, key, num_draws):
    dim = num_uniforms(p)
    require_key(p, key)
    if num_draws < 2 * RANDOMISATIONS:
        raise ValueError(f"num_draws must be at least {2 * RANDOMISATIONS} for quasi-Monte Carlo, got {num_draws}.")
    check_normalised(p=p)
    length = 2 ** int(math.log2(num_draws // RANDOMISATIONS))
    surprises = np.stack([surprise_at(p, from_uniforms(p, uniforms)) for uniforms in sequences(key, dim, length)])
    value, error, freedom = mean_of_sequences(surprises.mean(1), np.array([]))
    kind = "stratified" if dim == 1 else "Sobol"
    method = f"quasi-Monte Carlo, {RANDOMISATIONS} {kind} sequences of {length:,} draws"
    caveat = SAMPLING_CAVEAT + tail_warning(surprises.ravel(), HEAVY)
    return Estimate(value, error, method, num_draws=surprises.size, caveat=caveat, degrees_of_freedom=freedom)


def by_monte_carlo(p, key, num_draws):
    require_key(p, key)
    if num_draws < 2:
        raise ValueError(f"num_draws must be at least 2, got {num_draws}.")
    check_normalised(p=p)
    draws, log_p = map(np.asarray, in_chunks(draws_of, (p,), key, num_draws))
    surprises = checked(p, draws, -log_p)
    caveat = SAMPLING_CAVEAT + tail_warning(surprises, HEAVY)
    method = f"Monte Carlo, {num_draws:,} draws"
    return Estimate(surprises.mean(), error_of_mean(surprises), method, num_draws=num_draws, caveat=caveat)


def draws_of(distributions, key, num_draws):
    (p,) = distributions
    draws = p.sample(key, (num_draws,))
    return draws, log_density(p, draws)


def surprise_at(p, draws):
    return checked(p, np.asarray(draws), -np.asarray(compiled_log_density(p, draws)))


def checked(p, draws, surprises):
    reject_piled_up(p, draws)
    if np.isnan(surprises).any():
        bad = int(np.isnan(surprises).sum())
        raise ValueError(f"The log density of p, {describe(p)}, is NaN at {bad} of its own draws.")
    return -at_own_draws("p", p, draws, -surprises)


def require_key(p, key):
    if key is None:
        raise ValueError(
            f"The entropy of {describe(p)} is estimated from random draws: pass key=jax.random.key(0), say."
        )


METHODS = {
    "closed_form": by_closed_form,
    "enumeration": by_enumeration,
    "quadrature": by_quadrature,
    "quasi_monte_carlo": by_quasi_monte_carlo,
    "monte_carlo": by_monte_carlo,
}
