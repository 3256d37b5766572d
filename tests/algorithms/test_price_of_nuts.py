"""The price of NUTS that a few trajectories tell, against NUTS."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import enable_x64

from vi_kl.algorithms.algorithm import CostCounter
from vi_kl.algorithms.price_of_nuts import LOWEST_PRICE, price_of_nuts, steps_in_all
from vi_kl.core.gaussian import Gaussian
from vi_kl.reference.mcmc.nuts import NUTS, run_nuts
from vi_kl.targets import Target

SDS = np.geomspace(0.1, 10.0, 8)
TARGET = Target.from_log_density(lambda z: -jnp.sum(jnp.sqrt(1 + (z / SDS) ** 2)), 8)


def price(target, sds, counter):
    generator = np.random.default_rng(0)
    with enable_x64(True):
        z = 1.6 * sds * generator.standard_normal((64, len(sds)))
        return price_of_nuts(target, Gaussian.of(np.zeros(len(sds)), 1.6 * sds), z, generator, counter)


@pytest.mark.exhaustive
def test_it_is_right_within_a_factor_of_one_and_a_half(key):
    run = run_nuts(TARGET, NUTS(num_chains=2, num_warmup=500, num_draws=500), key)
    counter = CostCounter()
    told = price(TARGET, SDS, counter)
    assert 1 / 1.5 < told / steps_in_all(run.num_steps.mean()) < 1.5
    assert counter.gradient_evaluations < 500


@pytest.mark.landing
def test_it_is_that_of_a_whole_run_where_the_warm_up_finds_its_way_easily(key):
    """Both chains and their warm-up, in a run of half as many steps as the price is for."""
    target = Target.from_log_density(lambda z: -jnp.sum(jnp.sqrt(1 + z**2)), 8)
    run = run_nuts(target, NUTS(num_chains=2, num_warmup=500, num_draws=500), key)
    assert 1 / 1.5 < price(target, np.ones(8), CostCounter()) / (2 * (run.warm_up + run.gradients)) < 1.5


@pytest.mark.parametrize("dim", [1, 3, 50])
def test_it_is_never_below_the_lowest(dim):
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2), dim)
    assert price(target, np.ones(dim), CostCounter()) >= LOWEST_PRICE
