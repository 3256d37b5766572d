"""The ELBO as a loss: value and gradient against closed forms and quadrature, for every gradient estimator."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from expectations import (
    LOG_EVIDENCE,
    PLACES,
    TARGETS,
    assert_means,
    estimates,
    evaluate,
    exact,
    normal_log_density,
    reverse_kl_loss,
)
from tiers import exhaustive_after

from vi_kl.families import Flow, FullRank, Guide, MeanField
from vi_kl.families.family import Family
from vi_kl.objectives import ELBO, ObjectiveError
from vi_kl.targets import Target

pytestmark = pytest.mark.usefixtures("compiled_quickly")

GRADIENTS = ["sticking_the_landing", "total", "closed_form_entropy", "score"]
N = 20_000  # evaluations, the same in all tests, so that each gradient is compiled once
EXACT = {"loc": np.array([1.0]), "log_scale": np.log([0.7])}  # the posterior "normal"
NARROW = {"loc": np.array([1.0]), "log_scale": np.log([0.1])}


@dataclasses.dataclass(frozen=True)
class Blocked(MeanField):
    """Mean field without a gradient through its draws, as a sampler by rejection would be."""

    def sample_and_log_prob(self, params, target, key, n):
        return jax.lax.stop_gradient(super().sample_and_log_prob(params, target, key, n))


def found(gradient, name, params=None):
    """The score is given a family without the gradient that it claims not to need."""
    return estimates(ELBO(4, gradient), name, N, Blocked() if gradient == "score" else MeanField(), params)


def test_the_quadrature_is_the_formula():
    """KL of two normals, less the log evidence: what the other tests compare with."""
    loc, scale = PLACES["normal"]
    kl = np.log(0.7 / scale) + 0.5 * (scale**2 + (loc - 1.0) ** 2) / 0.7**2 - 0.5
    value, slopes = exact(reverse_kl_loss, "normal")
    np.testing.assert_allclose(value, kl - LOG_EVIDENCE["normal"], rtol=1e-12)
    np.testing.assert_allclose(slopes["loc"], [(loc - 1.0) / 0.7**2], rtol=1e-12)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_value_and_gradient_are_unbiased(gradient):
    """For a normal, a skewed and a two-mode posterior."""
    for name in ("normal", "log_gamma", "two_modes"):
        assert_means(found(gradient, name), exact(reverse_kl_loss, name), at_most=0.07)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_only_sticking_the_landing_and_the_score_have_no_noise_at_the_answer(gradient):
    """log q - log p is a constant there, of which one takes the derivative and the other the differences."""
    _, slopes = found(gradient, "normal", EXACT)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(slopes))
    assert largest < 1e-12 if gradient in ("sticking_the_landing", "score") else largest > 0.1


def test_variances_are_in_the_known_order():
    """At a q wider than a normal posterior: the path gradient has the least, the score by far the most."""
    sd = {g: found(g, "normal")[1]["log_scale"].std() for g in GRADIENTS}
    assert 1.5 * sd["sticking_the_landing"] < sd["total"] < sd["score"] / 1.2
    assert abs(sd["closed_form_entropy"] / sd["total"] - 1) < 1e-9  # the entropy of pushed noise has exact slopes


def test_the_loss_with_a_closed_form_entropy_has_less_noise():
    """Far from the posterior, where log p varies less than log q does."""
    sd = [found(g, "normal", NARROW)[0].std() for g in ("total", "closed_form_entropy")]
    assert sd[1] < 0.1 * sd[0]


@dataclasses.dataclass(frozen=True)
class TwoNormals(Family):
    """A mixture by NumPyro: the component is drawn first, and no gradient reaches its probabilities."""

    name = "two_normals"

    def standard(self, key, target):
        return {"logit": jnp.zeros(()), "loc": jnp.array([-1.0, 1.0])}

    def place(self, params, units):
        return {**params, "loc": units.loc + params["loc"]}

    def distribution(self, params, target):
        logits = jnp.stack([params["logit"], 0.0 * params["logit"]])
        normals = dist.Normal(params["loc"][:, None], jnp.array([0.7, 1.0])[:, None]).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), normals)


def squared(y):
    """Two modes: y says theta^2."""
    theta = numpyro.sample("theta", dist.Normal(0.5, 2.0))
    numpyro.sample("y", dist.Normal(theta**2, 1.5), obs=y)


def choosing(y):
    """A guide with a discrete choice in it."""
    logit, loc = numpyro.param("logit", 0.0), numpyro.param("loc", np.array([-1.0, 1.0]))
    choice = dist.Categorical(logits=jnp.stack([logit, 0.0 * logit]))
    numpyro.sample("theta", dist.MixtureSameFamily(choice, dist.Normal(loc, np.array([0.7, 1.0]))))


def choosing_loss(params, y):
    """On a grid of theta, which is z."""
    z = np.linspace(-12.0, 12.0, 6001)
    share = jax.nn.sigmoid(params["logit"])
    parts = [share, 1 - share], params["loc"], (0.7, 1.0)
    log_q = jnp.logaddexp(*(jnp.log(w) + normal_log_density(z, m, s) for w, m, s in zip(*parts, strict=True)))
    log_p = normal_log_density(z, 0.5, 2.0) + normal_log_density(y, z**2, 1.5)
    return jnp.sum(jnp.exp(log_q) * (log_q - log_p)) * (z[1] - z[0])


@pytest.mark.landing
def test_a_guide_with_a_discrete_choice_is_followed_by_the_score_without_being_asked():
    y, params = np.array(2.0), {"logit": np.array(0.3), "loc": np.array([-1.4, 1.1])}
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, params)
        keys = jax.random.split(jax.random.key(3), N)
        values_and_slopes = evaluate(keys, params, Target.from_numpyro(squared, y), Guide(choosing), ELBO(8))
        expected = jax.jit(jax.value_and_grad(choosing_loss))(params, y)
    assert_means(jax.tree.map(np.asarray, values_and_slopes), expected, at_most=0.03)


MIXTURE = {"logit": np.array(0.3), "loc": np.array([-1.4, 1.1])}


@pytest.mark.parametrize("gradient", ["total", "sticking_the_landing"])
def test_gradients_through_draws_that_have_none_are_refused(gradient):
    with pytest.raises(ObjectiveError, match=r"draws of 'two_normals' are not differentiable.*score"):
        ELBO(8, gradient)(jax.random.key(0), MIXTURE, TwoNormals(), TARGETS["two_modes"])


def test_what_a_family_lacks_is_said_before_a_fit():
    target = Target.from_log_density(lambda z: -0.5 * jnp.sum(z**2), 2)
    with pytest.raises(ObjectiveError, match="'iaf' knows it cheaply at its own draws only"):
        ELBO(gradient="score").require(Flow(), target)
    with pytest.raises(ObjectiveError, match=r"entropy of 'iaf'.*gradient='auto'"):
        ELBO(gradient="closed_form_entropy").require(Flow(), target)
    for gradient in GRADIENTS:
        ELBO(gradient=gradient).require(FullRank(), target)


@pytest.mark.parametrize("bad", [{"num_draws": 0}, {"gradient": "reinforce"}, {"num_draws": 1, "gradient": "score"}])
def test_nonsense_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ELBO(**bad)


def rows_of_a_normal(y, batch=None):
    loc = numpyro.sample("loc", dist.Normal(0, 10))
    with numpyro.plate("rows", len(y), subsample_size=batch):
        numpyro.sample("y", dist.Normal(loc, 2.0), obs=numpyro.subsample(y, event_dim=0))


@pytest.mark.parametrize("gradient", exhaustive_after(1, ["sticking_the_landing", "total", "score"]))
def test_a_minibatch_leaves_the_loss_and_its_gradient_unbiased(gradient, key):
    """Over many minibatches of a plate that subsamples, against the same objective on all rows."""
    y = np.random.default_rng(0).normal(3, 2, 60)
    full, some = (Target.from_numpyro(rows_of_a_normal, y, batch) for batch in (None, 6))
    params = {"loc": jnp.array([2.5]), "log_scale": jnp.array([-1.0])}
    family, objective = MeanField(), ELBO(8, gradient)

    def mean_and_error(target):
        run = jax.vmap(jax.value_and_grad(lambda p, k: objective(k, p, family, target)), (None, 0))
        value, slope = jax.jit(run)(params, jax.random.split(key, 3000))
        columns = np.stack([value, slope["loc"][:, 0], slope["log_scale"][:, 0]], axis=1)
        return columns.mean(axis=0), columns.std(axis=0) / np.sqrt(len(columns))

    with jax.enable_x64(True):
        (a, a_error), (b, b_error) = map(mean_and_error, (full, some))
    assert (np.abs(a - b) < 4.5 * np.hypot(a_error, b_error)).all()
    assert (b_error[:2] > 1.5 * a_error[:2]).all()  # it did look at some rows only
