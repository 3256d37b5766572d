"""The exact posterior of discrete models: against Bayes' rule written out, and KL against its definition."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats

from vi_kl.reference import enumerate_posterior
from vi_kl.targets.numpyro.model import ModelError


def two_causes(y):
    """A noisy sum of a fair coin and a die of three sides."""
    coin = numpyro.sample("coin", dist.Bernoulli(0.5))
    die = numpyro.sample("die", dist.Categorical(jnp.array([0.5, 0.3, 0.2])))
    numpyro.sample("y", dist.Normal(coin + 2.0 * die, 1.0), obs=y)


Y = np.array([1.3, 2.2])
PRIOR = np.array([0.5, 0.3, 0.2])
JOINT = np.array([[0.5 * PRIOR[d] * stats.norm.pdf(Y, c + 2 * d, 1).prod() for d in range(3)] for c in range(2)])
POSTERIOR = JOINT / JOINT.sum()
Q = {"coin": dist.Bernoulli(0.4), "die": dist.Categorical(jnp.array([0.2, 0.7, 0.1]))}
Q_JOINT = np.outer([0.6, 0.4], [0.2, 0.7, 0.1])


@pytest.fixture(scope="module")
def posterior():
    return enumerate_posterior(two_causes, Y)


def test_evidence_and_marginals_are_bayes_rule(posterior):
    np.testing.assert_allclose(posterior.log_evidence.value, np.log(JOINT.sum()), rtol=1e-12)
    assert posterior.log_evidence.standard_error == 0.0
    assert "6 configurations" in posterior.log_evidence.method
    np.testing.assert_allclose(posterior.probs, POSTERIOR.ravel(), rtol=1e-10)
    np.testing.assert_allclose(posterior.marginals("coin"), POSTERIOR.sum(axis=1), rtol=1e-10)
    np.testing.assert_allclose(posterior.marginals("die"), POSTERIOR.sum(axis=0), rtol=1e-10)
    assert posterior.configurations["die"].tolist() == [0, 1, 2, 0, 1, 2]
    assert posterior.support("die").tolist() == [0, 1, 2]


def test_both_directions_of_kl_are_their_sums(posterior):
    reverse, forward = posterior.reverse_kl(Q), posterior.forward_kl(Q)
    np.testing.assert_allclose(reverse.value, np.sum(Q_JOINT * np.log(Q_JOINT / POSTERIOR)), rtol=1e-6)
    np.testing.assert_allclose(forward.value, np.sum(POSTERIOR * np.log(POSTERIOR / Q_JOINT)), rtol=1e-6)
    # the parameters of Q were rounded to float32 by the caller; a pmf given as numbers is not
    np.testing.assert_allclose(
        posterior.reverse_kl(Q_JOINT.ravel()).value, np.sum(Q_JOINT * np.log(Q_JOINT / POSTERIOR)), rtol=1e-12
    )
    assert posterior.reverse_kl(posterior.probs).value == pytest.approx(0.0, abs=1e-15)


def test_the_gap_is_the_reverse_kl(posterior):
    elbo = np.sum(Q_JOINT * (np.log(JOINT) - np.log(Q_JOINT)))
    gap = posterior.log_evidence.value - elbo
    np.testing.assert_allclose(posterior.reverse_kl(Q_JOINT.ravel()).value, gap, rtol=1e-10)


def test_reaching_beyond_the_support_costs_infinitely_much(posterior):
    wide = {**Q, "die": dist.Categorical(jnp.array([0.2, 0.6, 0.1, 0.1]))}
    assert posterior.reverse_kl({**Q, "die": dist.Poisson(1.0)}).value == np.inf
    assert np.isfinite(posterior.forward_kl({**Q, "die": dist.Poisson(1.0)}).value)
    assert posterior.reverse_kl(wide).value == np.inf
    assert posterior.forward_kl([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]).value == np.inf


def test_a_plate_of_coins_has_every_joint_configuration():
    def model(y):
        with numpyro.plate("coins", 3):
            coins = numpyro.sample("coins_up", dist.Bernoulli(0.3))
        numpyro.sample("y", dist.Normal(coins.sum(), 0.5), obs=y)

    posterior = enumerate_posterior(model, 2.0)
    weights = np.array([stats.binom.pmf(k, 3, 0.3) * stats.norm.pdf(2.0, k, 0.5) for k in range(4)])
    assert posterior.configurations["coins_up"].shape == (8, 3)
    np.testing.assert_allclose(posterior.log_evidence.value, np.log(weights.sum()), rtol=1e-6)  # 0.3 in float32
    expected_up = (weights * np.arange(4)).sum() / weights.sum() / 3
    np.testing.assert_allclose(posterior.marginals("coins_up")[:, 1], expected_up, rtol=1e-6)


def test_refusals(posterior):
    def continuous(y):
        x = numpyro.sample("x", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(x, 1), obs=y)

    def impossible(y):
        k = numpyro.sample("k", dist.Bernoulli(0.5))
        numpyro.sample("y", dist.Uniform(0.0, 1.0 + k), obs=y)

    with pytest.raises(ModelError, match=r"'x' is continuous.*Target"):
        enumerate_posterior(continuous, 0.3)
    with pytest.raises(ValueError, match="No configuration"):
        enumerate_posterior(impossible, np.array(3.0))
    with pytest.raises(ValueError, match="names the sites"):
        posterior.reverse_kl({"coin": dist.Bernoulli(0.5)})
    with pytest.raises(ValueError, match="shape"):
        posterior.reverse_kl({**Q, "coin": dist.Bernoulli(jnp.array([0.5, 0.5]))})
    with pytest.raises(ValueError, match="No discrete site 'dice'"):
        posterior.marginals("dice")
