"""NumPyro's autoguides, as people fit them: Adam, a step size that decays exponentially, the best of three.

All of it is NumPyro's own, in float32, its default. The seconds are those of the three runs together, as somebody who
does not know the step size beforehand has to pay for them; those of the best one alone stand beside them.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from numpyro.optim import optax_to_numpyro

from .case import Case
from .memory import peak_mib

GUIDES = {"autonormal": AutoNormal, "automultivariatenormal": AutoMultivariateNormal}
STEP_SIZES = (0.1, 0.01, 0.001)
STEPS, LAST_SHARE = 10_000, 0.01  # steps, and the share of the step size at the last of them
DRAWS, OF_ELBO = 4_000, 1_000


def measure(case: Case, guide_class, seed: int) -> tuple[dict, dict]:
    """Fit a guide with three step sizes; return the figures of the best, and draws of its sites."""
    args, cpu, wall = case.data(), time.process_time(), time.perf_counter()
    fits = []
    for step_size in STEP_SIZES:
        begun = time.process_time()
        fits.append((*fit(case.model, args, guide_class, step_size, seed), time.process_time() - begun, step_size))
    elbo, guide, params, seconds, step_size = max(fits, key=lambda each: each[0])
    figures = {
        "gradients": STEPS * len(STEP_SIZES),
        "densities": OF_ELBO * len(STEP_SIZES),
        "cpu_seconds": time.process_time() - cpu,
        "cpu_seconds_of_best": seconds,
        "wall_seconds": time.perf_counter() - wall,
        "peak_mib": peak_mib(),
        "elbo": elbo,
        "converged": bool(np.isfinite(elbo)),
        "status": f"Step size {step_size}, of {', '.join(map(str, STEP_SIZES))}: ELBO "
        + ", ".join(f"{each[0]:.2f}" for each in fits),
    }
    return figures, guide.sample_posterior(jax.random.key(seed + 1), params, sample_shape=(DRAWS,))


def fit(model, args, guide_class, step_size: float, seed: int):
    """Run SVI; return the ELBO at the end (minus infinity for NaN), the guide and its parameters."""
    guide = guide_class(model)
    optimizer = optax_to_numpyro(optax.adam(optax.exponential_decay(step_size, STEPS, LAST_SHARE)))
    found = SVI(model, guide, optimizer, Trace_ELBO()).run(jax.random.key(seed), STEPS, *args, progress_bar=False)

    @jax.jit
    def loss(key, params):
        return Trace_ELBO(num_particles=10).loss(key, params, model, guide, *args)

    keys = jax.random.split(jax.random.key(seed + 2), OF_ELBO // 10)
    elbo = -float(np.mean([loss(key, found.params) for key in keys]))
    return (elbo if jnp.isfinite(elbo) else -np.inf), guide, found.params
