"""A coupling flow in NumPy against the same flow in JAX: draws, log densities, and values far out."""

import jax
import numpy as np

from vi_kl.families import Coupling
from vi_kl.families.approximation import Approximation, log_prob_batch, push_batch
from vi_kl.targets import Target


def test_draws_and_log_densities_are_the_flows(key):
    family, target = Coupling(num_layers=3, hidden=4), Target.from_log_density(lambda z: -0.5 * (z**2).sum(), 3)
    generator = np.random.default_rng(0)
    standard = family.standard(key, target)
    params = jax.tree.map(lambda x: np.asarray(x, dtype=float) + 0.3 * generator.normal(size=x.shape), standard)
    q = Approximation(family, params, target)
    u = np.concatenate([generator.normal(size=(300, 3)), np.zeros((1, 3)), 1e-9 * np.ones((1, 3))])
    z, log_q = family.in_numpy(params).push(u)
    with jax.enable_x64(True):
        true_z, true_log_q = map(np.asarray, push_batch(q, u))
        true_density = np.asarray(log_prob_batch(q, z))
    np.testing.assert_allclose(z, true_z, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(log_q, true_log_q, rtol=1e-12)
    np.testing.assert_allclose(family.in_numpy(params).log_prob(z), true_density, rtol=1e-9)
    np.testing.assert_allclose(true_density, log_q, rtol=1e-9)  # the image's density is that of what goes back
