"""The compiled chunk of SVI: what it draws, and when."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_kl.algorithms.svi import step as module
from vi_kl.algorithms.svi.step import Params, adam, first_state, scan_steps
from vi_kl.core.precision import in_float64
from vi_kl.families import FullRank, LowRank, MeanField, Mixture
from vi_kl.families.frame import Frame
from vi_kl.objectives import ELBO, Renyi
from vi_kl.targets import Target


def skewed(z):
    return jnp.sum(2 * z - 3 * jnp.exp(z)) - 0.3 * z[0] * z[1]


TARGET = Target.from_log_density(skewed, 3)


def a_chunk(key, family, objective, num_steps=5):
    """The program of a chunk, not compiled, and its arguments."""
    units = Params(family.units(Frame.around(np.zeros(3), 0.5), TARGET))
    state = first_state(Params(family.standard(jax.random.key(0), TARGET)), adam())
    static = {"family": family, "objective": objective, "optimizer": adam(), "num_steps": num_steps, "careful": False}
    return functools.partial(scan_steps, **static), (key, state, TARGET, units, -0.1)


def operations_of_a_step(program, args) -> set[str]:
    """Names of the primitives inside the loop, at any depth."""
    loops = [eqn for eqn in jax.make_jaxpr(program)(*args).eqns if eqn.primitive.name == "scan"]
    return set(names_in(loops[-1].params["jaxpr"].jaxpr))


def names_in(jaxpr):
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for inner in jax.tree.leaves(tuple(equation.params.values()), is_leaf=lambda x: hasattr(x, "jaxpr")):
            if hasattr(inner, "jaxpr"):
                yield from names_in(inner.jaxpr)


@in_float64
@pytest.mark.parametrize("family", [MeanField(), FullRank(), LowRank()])
def test_a_step_makes_no_random_numbers(family, key, monkeypatch):
    """Of a normal: they are made for all steps at once, unless they are many."""
    program, args = a_chunk(key, family, ELBO(num_draws=2))
    assert not {"random_bits", "erf_inv"} & operations_of_a_step(program, args)
    monkeypatch.setattr(module, "MOST_NOISE", 0)
    program, args = a_chunk(key, family, ELBO(num_draws=2))
    assert {"random_bits", "erf_inv"} <= operations_of_a_step(program, args)


@pytest.mark.parametrize(
    ("family", "objective"),
    [
        (MeanField(), ELBO(num_draws=2)),
        pytest.param(LowRank(), ELBO(num_draws=2, gradient="total"), marks=pytest.mark.exhaustive),
        pytest.param(FullRank(), ELBO(num_draws=2, gradient="score"), marks=pytest.mark.exhaustive),
        pytest.param(FullRank(), ELBO(num_draws=2, gradient="closed_form_entropy"), marks=pytest.mark.exhaustive),
        pytest.param(Mixture(), ELBO(num_draws=6), marks=pytest.mark.exhaustive),
        pytest.param(FullRank(), Renyi(), marks=pytest.mark.exhaustive),
    ],
)
@in_float64
def test_noise_made_ahead_is_that_of_the_steps_own_keys(family, objective, key, monkeypatch):
    def steps():
        program, args = a_chunk(key, family, objective)
        return jax.jit(program)(*args)

    ahead = steps()
    monkeypatch.setattr(module, "MOST_NOISE", 0)
    for one, other in zip(jax.tree.leaves(ahead), jax.tree.leaves(steps()), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


class Reversed(MeanField):
    """A family with a sampler of its own, which knows of keys only."""

    name = "reversed"

    def sample_and_log_prob(self, params, target, key, n):
        z, log_q = super().sample_and_log_prob(params, target, jax.random.fold_in(key, 1), n)
        return z[::-1], log_q[::-1]


@in_float64
def test_a_family_with_its_own_sampler_gets_keys(key):
    family = Reversed()
    params = family.standard(key, TARGET)
    assert ELBO(num_draws=2).randomness(key, params, family, TARGET) is key
    assert ELBO(num_draws=2).randomness(key, params, MeanField(), TARGET).shape == (2, 3)
