"""What one step of mean-field SVI costs beside what it cannot do without.

A logistic regression of 20 coefficients and 1,000 rows. One scan of SVI steps (one draw each) is timed beside a scan of
as many value-and-gradients of the log density, each with an optax Adam update of the same parameters. Both scans are
compiled, run in turn in one process, and compared pair by pair:

    python tests/benchmarks/measure_svi_step.py

prints the median of the ratios, their quartiles, the ratio of the shortest runs, and microseconds per step.
"""

import time

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax

from vi_kl.algorithms.svi.step import Params, adam, first_state, run_and_measure
from vi_kl.core.compilation import compiled
from vi_kl.families import MeanField
from vi_kl.families.frame import Frame
from vi_kl.objectives import ELBO
from vi_kl.targets import Target
from vi_kl.targets.target import log_density

DIM, ROWS, STEPS, REPEATS = 20, 1_000, 500, 40


def logistic_regression(x, y):
    beta = numpyro.sample("beta", dist.Normal(0, 2.5).expand([x.shape[1]]).to_event(1))
    numpyro.sample("y", dist.Bernoulli(logits=x @ beta), obs=y)


def make_target() -> Target:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, DIM))
    y = generator.random(ROWS) < 1 / (1 + np.exp(-x @ generator.normal(size=DIM) / 2))
    return Target.from_numpyro(logistic_regression, x, y.astype(float))


@compiled(static=("num_steps",))
def least_work(params, target, num_steps):
    """`num_steps` value-and-gradients of the log density, each with an Adam update of all parameters."""
    optimizer = optax.adam(1e-3)

    def step(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(log_density, argnums=1)(target, params["loc"])
        gradients = {"loc": -gradient, "log_scale": -gradient}
        updates, state = optimizer.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), value

    return jax.lax.scan(step, (params, optimizer.init(params)), None, length=num_steps)


def seconds(function) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def measure(num_steps: int = STEPS, repeats: int = REPEATS) -> tuple[np.ndarray, np.ndarray]:
    """Seconds per step of SVI and of the least work, of shape (repeats,) each."""
    with jax.enable_x64(True):
        target, family, objective = make_target(), MeanField(), ELBO(num_draws=1)
        units = Params(family.units(Frame.around(np.zeros(DIM), 0.1)))
        params = family.standard(jax.random.key(0), target)
        state, key = first_state(Params(params), adam()), jax.random.key(1)

        def svi():
            return run_and_measure(key, state, target, units, -1e-3, family, objective, adam(), num_steps)

        def least():
            return least_work(params, target, num_steps)

        svi(), least()
        pairs = [(seconds(svi), seconds(least)) for _ in range(repeats)]
    return tuple(np.array(pairs).T / num_steps)


if __name__ == "__main__":
    ours, least = measure()
    low, median, high = np.quantile(ours / least, [0.25, 0.5, 0.75])
    print(f"ratio {median:.2f} ({low:.2f} to {high:.2f}); of the shortest runs {ours.min() / least.min():.2f}")
    print(f"SVI {1e6 * np.median(ours):.1f} us, least work {1e6 * np.median(least):.1f} us per step")
