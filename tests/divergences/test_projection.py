"""KL as the objective: the article's minima, the two directions, known projections, and refusals."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats
from numpyro.distributions import constraints

from vi_kl.core.compilation import compile_clock
from vi_kl.demo.worms.data import TEETH, observed
from vi_kl.divergences import kl_divergence, project

UNIT = constraints.unit_interval


def binomial(p):
    return jnp.exp(dist.Binomial(10, p).log_prob(TEETH))


def block(p):
    """The article's ad hoc model: mass p spread over 6..10 teeth, the rest over 0..5."""
    return jnp.where(TEETH >= 6, p / 5, (1 - p) / 6)


@pytest.mark.divergences
def test_the_articles_binomial():
    nearest = project(observed(), binomial, init=0.3, support=UNIT, base=2)
    assert f"{nearest.params:.2f}" == "0.57"
    assert f"{nearest.divergence:.3f}" == "0.477"
    assert nearest.params == pytest.approx(observed() @ TEETH / 10, rel=1e-9)  # maximum likelihood
    assert (nearest.unit, nearest.direction, nearest.converged) == ("bits", "forward", True)
    assert nearest.status.startswith("converged in")
    np.testing.assert_allclose(nearest.q, scipy.stats.binom.pmf(TEETH, 10, nearest.params), rtol=1e-10)


@pytest.mark.divergences
def test_the_articles_block_model():
    nearest = project(observed(), block, init=0.3, support=UNIT, base=2)
    assert f"{nearest.params:.2f}" == "0.47"
    assert f"{nearest.divergence:.3f}" == "0.338"
    assert nearest.params == pytest.approx(observed()[6:].sum(), rel=1e-9)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_the_minimum_is_lowest_on_a_grid(direction):
    nearest = project(observed(), binomial, init=0.3, support=UNIT, direction=direction)
    grid = scipy.stats.binom.pmf(TEETH, 10, np.linspace(0.01, 0.99, 981)[:, None])
    pairs = (observed(), grid) if direction == "forward" else (grid, observed())
    divergences = kl_divergence(*pairs, normalize=True)
    assert nearest.divergence <= divergences.min() + 1e-12
    assert nearest.params == pytest.approx(0.01 + 0.001 * divergences.argmin(), abs=2e-3)


@pytest.mark.divergences
def test_the_two_directions_differ_on_two_modes():
    """Forward covers both modes; reverse keeps to one of them and pays about log 2 for the other."""
    points = jnp.linspace(-8, 8, 161)

    def normal(params):
        weights = jnp.exp(dist.Normal(params["loc"], params["scale"]).log_prob(points))
        return weights / weights.sum()

    p = 0.5 * np.asarray(normal({"loc": -3.0, "scale": 0.7})) + 0.5 * np.asarray(normal({"loc": 3.0, "scale": 0.7}))
    p = p / p.sum()
    arguments = {"init": {"loc": 1.0, "scale": 1.0}, "support": {"scale": constraints.positive}}
    forward = project(p, normal, direction="forward", **arguments)
    reverse = project(p, normal, direction="reverse", **arguments)
    assert forward.converged
    assert reverse.converged
    assert forward.params["loc"] == pytest.approx(0, abs=1e-6)
    assert forward.params["scale"] > 3
    assert reverse.params["loc"] == pytest.approx(3, abs=0.05)
    assert reverse.params["scale"] == pytest.approx(0.7, abs=0.05)
    assert reverse.divergence == pytest.approx(np.log(2), abs=0.01)


@pytest.mark.exhaustive
def test_many_parameters_of_a_known_projection():
    """The nearest independent Normal: the marginals forward, the conditional scales in reverse."""
    covariance = np.array([[2.0, 1.2], [1.2, 1.0]])
    p = dist.MultivariateNormal(np.array([1.0, -2.0]), covariance)

    def independent(params):
        return dist.Normal(params["loc"], params["scale"]).to_event(1)

    arguments = {"init": {"loc": np.zeros(2), "scale": np.ones(2)}, "support": {"scale": constraints.positive}}
    forward = project(p, independent, **arguments)
    reverse = project(p, independent, direction="reverse", **arguments)
    for nearest in (forward, reverse):
        np.testing.assert_allclose(nearest.params["loc"], [1, -2], rtol=1e-6)
        assert isinstance(nearest.params["loc"], np.ndarray)
    np.testing.assert_allclose(forward.params["scale"], np.sqrt(np.diag(covariance)), rtol=1e-6)
    np.testing.assert_allclose(reverse.params["scale"], 1 / np.sqrt(np.diag(np.linalg.inv(covariance))), rtol=1e-6)


def test_real_parameters_may_be_large():
    """A flat minimum far from the origin is no edge."""
    p = dist.Normal(5000.0, 2000.0)
    nearest = project(p, lambda loc: dist.Normal(loc, 3000.0), init=0.0)
    assert nearest.converged
    assert nearest.params == pytest.approx(5000.0, rel=1e-6)


def test_a_minimum_on_the_edge_is_reported():
    nearest = project(np.array([0.0, 1.0]), lambda p: jnp.stack([1 - p, p]), init=0.5, support=UNIT)
    assert not nearest.converged
    assert "towards the edge" in nearest.status
    assert nearest.params == pytest.approx(1, abs=1e-5)


@pytest.mark.divergences
def test_too_few_steps_are_reported():
    target = {"concentration": 50.0, "rate": 7.0}

    def gamma(params):
        return dist.Gamma(params["concentration"], params["rate"])

    support = dict.fromkeys(target, constraints.positive)
    hurried = project(gamma(target), gamma, init=dict.fromkeys(target, 1.0), support=support, max_steps=0)
    # the Newton steps that follow may not save it, and if they do it must say so truly
    slow = project(gamma(target), gamma, init=dict.fromkeys(target, 1.0), support=support)
    assert slow.converged
    assert slow.params == pytest.approx(target, rel=1e-6)
    assert hurried.converged == (abs(hurried.divergence) < 1e-9)
    assert hurried.converged or "raise max_steps" in hurried.status


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"init": 1.5, "support": UNIT}, "lies outside its support"),
        ({"init": {"p": 0.5}, "support": {"P": UNIT}}, "support has 'P', which is no parameter of init: these are 'p'"),
        ({"init": 0.0, "support": UNIT}, "edge of its support|outside its support"),
        ({"init": np.nan}, "init is not finite"),
        ({"init": {}}, "no parameters"),
        ({"init": 0.5, "direction": "sideways"}, r"direction must be 'forward' \(KL\(p\|\|q\)\)"),
        ({"init": 0.5, "base": 10}, "base must be 2"),
        ({"init": 0.5, "support": {"p": UNIT}}, "init must be a dict"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, message):
    with pytest.raises(ValueError, match=message):
        project(observed(), binomial, **arguments)


def test_a_divergence_that_is_infinite_at_the_start():
    def one_tooth(p):
        return jnp.where(TEETH == 1, 1.0, 0.0) + 0 * p

    with pytest.raises(ValueError, match=r"KL\(p\|\|q\) is inf at init = 0.5.*p has probability and q has none"):
        project(observed(), one_tooth, init=0.5)
    with pytest.raises(ValueError, match=r"KL\(q\|\|p\) is inf.*q has probability and p has none"):
        project(one_tooth(0.5), binomial, init=0.5, direction="reverse", support=UNIT)


def test_families_that_are_no_families():
    with pytest.raises(ValueError, match="q sums to"):
        project(observed(), lambda p: binomial(p) * p, init=0.5, support=UNIT)
    with pytest.raises(ValueError, match="p has 11 entries and q has 2"):
        project(observed(), lambda p: jnp.stack([1 - p, p]), init=0.5, support=UNIT)
    with pytest.raises(TypeError, match="cannot be differentiated by JAX"):
        project(observed(), lambda p: scipy.stats.binom.pmf(TEETH, 10, p), init=0.5, support=UNIT)
    with pytest.raises(TypeError, match="q is a distribution"):
        project(observed(), lambda p: dist.Binomial(10, p), init=0.5, support=UNIT)
    with pytest.raises(ValueError, match="batch shape"):
        project(observed(), lambda p: jnp.stack([binomial(p)] * 2), init=0.5, support=UNIT)
    with pytest.raises(ValueError, match="p sums to"):
        project(observed() * 2, binomial, init=0.5, support=UNIT)


scales = np.array([1.0, 0.0])


def test_what_a_family_closes_over_is_read_anew_and_compiles_nothing():
    """Onto N(m * sum of scales, 1), the nearest to N(6, 1) has m = 6 / the sum."""
    for i, new in enumerate((2.0, 3.0)):
        globals()["scales"] = np.array([new, 0.0])
        with compile_clock() as clock:
            found = project(dist.Normal(6.0, 1.0), lambda m: dist.Normal(m * jnp.sum(scales), 1.0), init=1.0)
        assert found.params == pytest.approx(6.0 / new, rel=1e-6)
        assert (clock.programs == 0) == (i == 1)
