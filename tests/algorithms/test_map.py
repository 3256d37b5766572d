"""MAP: textbook modes in both spaces, of the higher of two modes, and refusals where there is none."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from oracles import hard_gaussian, two_bumps
from programs import exponential_rate

from vi_kl.algorithms import MAP, FitError, fit
from vi_kl.targets import Target

WAITS = np.array([0.4, 1.3, 0.9])
RATE = Target.from_numpyro(exponential_rate, WAITS)


def spike(y):
    rate = numpyro.sample("rate", dist.Gamma(0.5, 1.0))
    numpyro.sample("y", dist.Normal(rate, 10.0), obs=y)


def steep(z):
    return -jnp.sum(jnp.cosh(3 * z))


@pytest.mark.parametrize(("space", "shape"), [("constrained", 5.0), ("unconstrained", 6.0)])
def test_a_gamma_posteriors_mode(space, shape, key):
    """Gamma(6, b) has its mode at 5 / b; its logarithm has it at log(6 / b)."""
    found = MAP(space).fit(key, RATE)
    rate = found.approximation.sample(key, 3)["rate"]
    np.testing.assert_allclose(rate, shape / (2 + WAITS.sum()), rtol=1e-7)
    assert found.status.converged
    assert found.cost.gradient_evaluations > 0


def test_the_mode_of_a_badly_scaled_gaussian(key):
    target, mean, precision = hard_gaussian(5)
    found = fit(target, "map", key=key)
    shift = np.asarray(found.approximation.params["loc"]) - mean
    assert shift @ precision @ shift < 1e-8


def test_start_chooses_the_hill(key):
    found = MAP().fit(key, two_bumps(), start=np.full(2, 3.5))
    np.testing.assert_allclose(found.approximation.params["loc"], 4, atol=1e-4)


def test_a_point_has_an_infinite_density(key):
    q = MAP().fit(key, RATE).approximation
    z, log_q = q.sample_and_log_prob(key, 4)
    assert (log_q == np.inf).all()
    assert q.log_prob(z[0] + 0.1) == -np.inf


def test_same_key_same_point_and_stopping_early_is_told(key):
    first, second = (MAP().fit(key, RATE) for _ in range(2))
    np.testing.assert_array_equal(first.approximation.params["loc"], second.approximation.params["loc"])
    early = MAP(max_steps=1).fit(key, Target.from_log_density(steep, 2), start=np.array([4.0, 4.0]))
    assert not early.status.converged
    assert "max_steps" in str(early.status)


def test_a_density_that_is_highest_at_a_boundary_has_no_mode(key):
    target = Target.from_numpyro(spike, np.array(0.0))
    with pytest.raises(FitError, match=r"No mode of the constrained density.*'rate' has run to its boundary"):
        MAP().fit(key, target)
    assert MAP("unconstrained").fit(key, target).status.converged
    with pytest.raises(ValueError, match="space"):
        MAP("z")
