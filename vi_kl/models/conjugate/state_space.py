"""Gaussian linear state space models: a hidden path that steps, and noisy observations of it.

The path is one site of as many entries as there are times; all variances are known. Its posterior comes from
least squares over the whole path, and the evidence from the Kalman filter, which goes through time.

Reference: Durbin & Koopman (2012), "Time Series Analysis by State Space Methods", 2nd ed., chapters 2 and 7.
"""

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import numpyro
import numpyro.distributions as dist

from vi_kl.models.conjugate.checks import numbers, positive, refuse
from vi_kl.models.conjugate.least_squares import least_squares
from vi_kl.reference import closed_form_reference
from vi_kl.targets import Target

# Invented data: a level that rises, and a deviation that comes and goes.
LEVEL = np.array([1.2, 0.7, 1.9, 1.4, 2.8, 2.1, 2.6, 3.9, 3.1, 3.4, 4.4, 3.7, 4.9, 4.6, 4.1])
DEVIATION = np.array([0.4, 0.9, 0.2, -0.3, -1.1, -0.5, -0.9, 0.3, 0.6, 1.5, 0.8, 1.2, 0.1, -0.2, 0.5])


def state_space_model(y, persistence, mean, step_sd, noise_sd, start_mean, start_sd):
    """Define the model path[t] - mean = persistence (path[t - 1] - mean) + step; y[t] = path[t] + noise."""

    def drift_and_diffusion(state, time):
        return (persistence - 1) * (state - mean), step_sd

    start = dist.Normal(start_mean, start_sd)
    path = numpyro.sample("path", dist.EulerMaruyama(jnp.arange(len(y)) * 1.0, drift_and_diffusion, start))
    with numpyro.plate("times", len(y)):
        numpyro.sample("y", dist.Normal(path, noise_sd), obs=y)


def local_level(
    y: npt.ArrayLike = LEVEL,
    step_sd: float = 0.5,
    noise_sd: float = 0.6,
    start_mean: float = 0.0,
    start_sd: float = 3.0,
) -> Target:
    """Make a target: a random walk observed with noise.

    Args:
        y: the observations at times 0, 1, ...; two at least.
        step_sd: the sds of the walk's steps and of the observations.
        noise_sd: likewise.
        start_mean: the prior mean and sd of the level at time 0.
        start_sd: likewise.
    """
    start_mean, start_sd = numbers("start_mean", start_mean, 0), positive("start_sd", start_sd, 0)
    return state_space(y, np.array(1.0), np.array(0.0), step_sd, noise_sd, start_mean, start_sd)


def autoregression_plus_noise(
    y: npt.ArrayLike = DEVIATION,
    persistence: float = 0.8,
    mean: float = 0.2,
    step_sd: float = 0.5,
    noise_sd: float = 0.4,
) -> Target:
    """Make a target: a stationary autoregression of order 1 observed with noise.

    Args:
        y: the observations at times 0, 1, ...; two at least.
        persistence: the correlation of the hidden path with itself one step later, between -1 and 1.
        mean: the mean of the path.
        step_sd: the sds of the path's innovations and of the observations.
        noise_sd: likewise.
    """
    persistence, mean = numbers("persistence", persistence, 0), numbers("mean", mean, 0)
    refuse("persistence", persistence, np.abs(persistence) >= 1, "not between -1 and 1, so nothing is stationary")
    stationary_sd = positive("step_sd", step_sd, 0) / np.sqrt(1 - persistence**2)
    return state_space(y, persistence, mean, step_sd, noise_sd, mean, np.asarray(stationary_sd))


def state_space(y, persistence, mean, step_sd, noise_sd, start_mean, start_sd) -> Target:
    """Return the target of `state_space_model`; the caller checks its other parameters."""
    y = numbers("y", y, 1)
    if len(y) < 2:
        raise ValueError("y has one entry: a path needs two times at least.")
    step_sd, noise_sd = positive("step_sd", step_sd, 0), positive("noise_sd", noise_sd, 0)
    arguments = (y, persistence, mean, step_sd, noise_sd, start_mean, start_sd)

    def reference(target):
        posterior = {"path": smoothed_path(*arguments)}
        return closed_form_reference(target, posterior, kalman_log_evidence(*arguments))

    return Target.from_numpyro(state_space_model, *arguments, reference=reference)


def kalman_log_evidence(y, persistence, mean, step_sd, noise_sd, start_mean, start_sd) -> float:
    """Return the sum of the log densities of each observation given those before it."""
    predicted, variance, total = start_mean, start_sd**2, 0.0
    for observed in y:
        error, error_variance = observed - predicted, variance + noise_sd**2
        total -= 0.5 * (np.log(2 * np.pi * error_variance) + error**2 / error_variance)
        gain = variance / error_variance
        filtered, filtered_variance = predicted + gain * error, gain * noise_sd**2
        predicted = mean + persistence * (filtered - mean)
        variance = persistence**2 * filtered_variance + step_sd**2
    return float(total)


def smoothed_path(y, persistence, mean, step_sd, noise_sd, start_mean, start_sd) -> dist.MultivariateNormal:
    """Return the path given all observations.

    Every observation, every step and the start is a row of least squares.
    """
    n = len(y)
    steps = (np.eye(n) - persistence * np.eye(n, k=-1))[1:] / step_sd
    start = np.eye(1, n) / start_sd
    drift = np.full(n - 1, (1 - persistence) * mean / step_sd)
    design = np.concatenate([np.eye(n) / noise_sd, steps, start])
    centre, scale_tril, _ = least_squares(design, np.concatenate([y / noise_sd, drift, [start_mean / start_sd]]))
    return dist.MultivariateNormal(centre, scale_tril=scale_tril)
